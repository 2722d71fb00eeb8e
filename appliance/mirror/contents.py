"""What a branch's commit holds that people should know of: submodules, and files that Git LFS keeps."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import FactoryError
from appliance.mirror import lfs_trees
from appliance.mirror.address import plain, redact
from appliance.mirror.git import Git
from appliance.mirror.lfs import Pointer, Store
from appliance.mirror.lfs_server import LfsServer

TOLD, NAMED = 10, 3
"""Submodules that are told one by one, and files of LFS that are named."""


@dataclass(frozen=True)
class Contents:
    """`submodules` are (path, address) as the repository has them; none is ever fetched. `pointers` are by path."""

    submodules: Sequence[tuple[str, str]]
    pointers: Mapping[bytes, Pointer]

    @classmethod
    def of(cls, git: Git, bare: Path, commit: str) -> Contents:
        """Look into a commit. Raises FactoryError when it cannot be read."""
        listed = git.raw(bare, "ls-tree", "-r", "-z", "--full-tree", commit, env={"GIT_DIR": str(bare)})
        blobs: list[tuple[bytes, bytes]] = []
        links: list[str] = []
        for line in listed.split(b"\0")[:-1]:
            head, _, name = line.partition(b"\t")
            _, kind, oid = head.split()
            if kind == b"commit":
                links.append(name.decode(errors="replace"))
            else:
                blobs.append((oid, name))
        modules = [oid.decode() for oid, name in blobs if name == b".gitmodules"] if links else []
        return cls(
            _submodules(git, bare, modules[0] if modules else "", links),
            lfs_trees.in_commit(git, bare, commit, blobs),
        )

    def notes(self, name: str, fetched: bool, lacking: Sequence[Pointer]) -> tuple[str, ...]:
        """What of it people should know, in words. `lacking` are not here; `fetched`: they should be."""
        said = [f"submodule {path} ({url or 'no address'}) is not fetched" for path, url in self.submodules[:TOLD]]
        if len(self.submodules) > TOLD:
            said.append(f"{len(self.submodules) - TOLD} more submodules are not fetched")
        count, size = len(self.pointers), sum(pointer.size for pointer in self.pointers.values()) / (1 << 20)
        if count and not fetched:
            said.append(
                f"{count} file{'s' if count > 1 else ''} of Git LFS ({size:.1f} MiB) not fetched: trees hold pointers "
                f"(`appliance repo set {name} --lfs` fetches them)"
            )
        elif lacking:
            missing = [path for path, pointer in self.pointers.items() if pointer in lacking]
            shown = ", ".join(plain(path.decode(errors="replace")) for path in missing[:NAMED])
            more = ", …" if len(missing) > NAMED else ""
            said.append(f"{len(missing)} of {count} files of Git LFS missing, trees hold their pointers: {shown}{more}")
        return tuple(said)


def look_into(
    git: Git, bare: Path, commit: str, name: str, store: Store, server: LfsServer | None
) -> tuple[tuple[str, ...], int]:
    """Look into a commit and, with a server of LFS, bring its files into the store: what people should know, and how
    many files are missing. That they do not come is told and stops nothing. Raises FactoryError when it cannot be read.
    """
    inside = Contents.of(git, bare, commit)
    if server is None:
        return inside.notes(name, False, ()), 0
    trouble = ""
    if store.lacking(inside.pointers.values()):
        with store.alone():
            wanted = store.lacking(inside.pointers.values())
            try:
                store.make_room(wanted, inside.pointers.values())
                server.fetch(wanted, store)
            except FactoryError as error:
                trouble = f"files of Git LFS could not be fetched: {error.message} ({error.hint})"
    lacking = store.lacking(inside.pointers.values())
    notes = inside.notes(name, True, lacking)
    return ((*notes, trouble) if trouble else notes), len(lacking)


def _submodules(git: Git, bare: Path, modules: str, links: Sequence[str]) -> list[tuple[str, str]]:
    """Path and address of each submodule, the address only for people to read."""
    said = ""
    if modules:
        words = ("config", "--no-includes", "--blob", modules, "--list", "-z")
        with contextlib.suppress(FactoryError):  # a file that git cannot read names no addresses
            said = git(bare, *words, env={"GIT_DIR": str(bare)})
    named: dict[str, dict[str, str]] = {}
    for entry in said.split("\0"):
        key, _, value = entry.partition("\n")
        found = re.fullmatch(r"submodule\.(.+)\.(path|url)", key, re.DOTALL)
        if found:
            named.setdefault(found.group(1), {})[found.group(2)] = value
    urls = {one["path"]: one.get("url", "") for one in named.values() if "path" in one}
    return [(plain(path), plain(redact(urls.get(path, "")))) for path in links]
