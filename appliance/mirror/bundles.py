"""Bundles: branches and tags of a repository in one file, whole or as what is new since another time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import Conflict, FactoryError, NotFound, UsageError, VerificationFailed
from appliance.mirror.address import checked_branch, checked_commit
from appliance.mirror.git import Git

MAGIC = (b"# v2 git bundle\n", b"# v3 git bundle\n")
LONGEST_LINE = 4096
MOST_LINES = 1_000_000
PIECE = 1024 * 1024
SUM = 20
"""Bytes of the checksum at a pack's end."""
KINDS = ("refs/heads/", "refs/tags/")


@dataclass(frozen=True)
class Header:
    """What a bundle says of itself before its pack begins."""

    heads: dict[str, str] = field(default_factory=dict)
    """Branches and tags by their full names → where they stand."""
    default: str = ""
    """The branch that stands where its HEAD does."""
    needs: tuple[str, ...] = ()
    """Commits that must be there already."""


def is_bundle(file: Path) -> bool:
    """Does it begin as a bundle?"""
    with file.open("rb") as content:
        return content.read(len(MAGIC[0])) in MAGIC


def header(file: Path) -> Header:
    """Read what a bundle says of itself.

    Raises VerificationFailed for what is no bundle, is cut off, holds only a part of its files, or names a ref that is
    neither branch nor tag, or could be read as something else.
    """
    heads: dict[str, str] = {}
    needs: list[str] = []
    head = ""
    for line in _lines(file):
        if line.startswith("@"):
            if not line.startswith("@object-format=sha1"):
                raise VerificationFailed(
                    f"{file.name} is a bundle with {line[1:]}", "make one without filters, of a SHA-1 repository"
                )
        elif line.startswith("-"):
            needs.append(_commit(line[1:].partition(" ")[0], file))
        else:
            commit, _, name = line.partition(" ")
            if name == "HEAD":
                head = _commit(commit, file)
            else:
                heads[checked_ref(name)] = _commit(commit, file)
    if not heads:
        raise VerificationFailed(
            f"{file.name} holds no branch and no tag", "bundle a branch: `git bundle create F main`"
        )
    branches = [name.removeprefix(KINDS[0]) for name, commit in heads.items() if name.startswith(KINDS[0])]
    there = [name for name in branches if heads[f"{KINDS[0]}{name}"] == head]
    usual = [name for name in ("main", "master", "trunk") if name in (there or branches)]
    return Header(heads, next(iter([*usual, *there, *branches]), ""), tuple(needs))


def check(file: Path) -> None:
    """Is the pack of a bundle whole? Git does not look at one whose commits it has. Raises VerificationFailed."""
    with file.open("rb") as content:
        while content.readline(LONGEST_LINE) not in (b"\n", b""):
            pass
        sum_, tail = hashlib.sha1(usedforsecurity=False), b""
        while piece := content.read(PIECE):
            tail += piece
            sum_.update(tail[:-SUM])
            tail = tail[-SUM:]
    if sum_.digest() != tail:
        raise VerificationFailed(f"{file.name} is damaged or cut off", "copy it again; nothing was changed")


def make(git: Git, bare: Path, into: Path, since: Iterable[str]) -> Header:
    """Write a bundle of all branches and tags of a bare repository, whole or not at all, and return its header.

    The commits of `since` are taken to be on the other side; those that are unknown here do not count.
    Raises NotFound when there is nothing new, Conflict where the older history is missing.
    """
    if (bare / "shallow").exists():
        raise Conflict(
            "the mirror holds only the newest commits, and a bundle of them could not be read",
            "`appliance repo set NAME --depth 0` fetches the rest; or carry patches: --range, --item",
        )
    there = {"GIT_DIR": str(bare)}
    names = git(bare, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags", env=there).splitlines()
    known = existing(git, bare, since)
    wanted = "\n".join([*names, *(f"^{commit}" for commit in sorted(known)), ""])
    with _aside(into.absolute()) as draft:  # git works in another folder
        try:
            git(
                bare,
                "bundle",
                "create",
                "--quiet",
                "--version=2",
                str(draft),
                "--stdin",
                stdin=wanted.encode(),
                env=there,
            )
        except FactoryError as error:
            if "empty bundle" in error.message or not names:
                raise NotFound("there is nothing new to carry", "the other side has it all") from error
            raise
        return header(draft)


def refs_of(git: Git, bare: Path) -> dict[str, str]:
    """Branches and tags → where they stand."""
    shown = git(
        bare, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags", env={"GIT_DIR": str(bare)}
    )
    return {name: commit for commit, _, name in (line.partition(" ") for line in shown.splitlines())}


def existing(git: Git, bare: Path, commits: Iterable[str]) -> set[str]:
    """Which of these objects are there."""
    asked = "".join(f"{commit}\n" for commit in sorted(set(commits))).encode()
    said = git(bare, "cat-file", "--batch-check=%(objectname)", stdin=asked, env={"GIT_DIR": str(bare)})
    return {line for line in said.splitlines() if not line.endswith(" missing")}


def _lines(file: Path) -> Iterator[str]:
    """The lines of the header after the first. Raises VerificationFailed."""
    with file.open("rb") as content:
        if content.readline(LONGEST_LINE) not in MAGIC:
            raise VerificationFailed(
                f"{file.name} is no git bundle", "make it with `git bundle create`, or repo export"
            )
        for _ in range(MOST_LINES):
            line = content.readline(LONGEST_LINE)
            if line == b"\n":
                return
            if not line.endswith(b"\n"):
                raise VerificationFailed(f"{file.name} is cut off", "copy it again; nothing was changed")
            yield line[:-1].decode("utf-8", "replace")
    raise VerificationFailed(f"{file.name} has too many branches and tags", "bundle fewer of them")


def _commit(text: str, file: Path) -> str:
    try:
        return checked_commit(text)
    except UsageError as error:
        raise VerificationFailed(
            f"{file.name} is damaged: {error.message}", "copy it again; nothing was changed"
        ) from error


def checked_ref(name: str) -> str:
    """A branch or tag by its full name. Raises VerificationFailed for anything else, and for what git could misread."""
    kind = next((kind for kind in KINDS if name.startswith(kind)), "")
    try:
        if not kind or "\ufffd" in name or checked_branch(name.removeprefix(kind)) == "HEAD":
            raise UsageError(f"{name!r} is neither branch nor tag", "")
    except UsageError as error:
        raise VerificationFailed(
            f"the medium names {name!r}, which is refused", "bundle branches and tags alone; nothing was changed"
        ) from error
    return name


@contextmanager
def _aside(into: Path) -> Iterator[Path]:
    """A file beside `into` that takes its place once it is written and on the disk."""
    draft = into.with_name(f".{into.name}.{os.getpid()}")
    try:
        yield draft
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(into)
    finally:
        draft.unlink(missing_ok=True)
