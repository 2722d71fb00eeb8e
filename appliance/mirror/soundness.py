"""Whether everything a mirror holds can be read, and how what is whole gets from a broken mirror into its successor."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import FactoryError
from appliance.mirror.git import Git
from appliance.mirror.listing import MIRRORED


def damage(git: Git, bare: Path, seconds: float) -> str:
    """What is broken, in git's words; "" when nothing is. Faults that a commit was born with are none: servers keep
    such commits too. Raises Unavailable when it takes longer than `seconds`."""
    said = git.trouble(
        bare, "fsck", "--connectivity-only", "--no-dangling", "--no-reflogs", "--no-progress",
        env={"GIT_DIR": str(bare)}, seconds=seconds,
    )  # fmt: skip
    if said:
        return said
    for pack in _packs(bare):
        said = _pack_trouble(git, bare, pack, seconds)
        if said and pack.exists():  # tidying up may have folded it into another
            return said
    for file in _loose(bare):
        if not _whole(file) and file.exists():
            return f"the object {file.parent.name}{file.name} is damaged"
    return ""


def carry_over(git: Git, old: Path, new: Path, seconds: float) -> None:
    """Bring what is whole in a broken mirror and lacking in its successor: objects that running work may stand on
    although no branch leads to them, and references that the server does not have."""
    if git.trouble(old, "rev-parse", "--git-dir", env={"GIT_DIR": str(old)}):  # git reads none without a whole HEAD
        draft = old / "HEAD.new"  # at once: others read meanwhile
        draft.write_text("ref: refs/heads/main\n", encoding="ascii")
        draft.replace(old / "HEAD")
    packs = [pack for pack in _packs(old) if not _pack_trouble(git, old, pack, seconds)]
    for file in [*(pack.with_suffix(kind) for pack in packs for kind in (".pack", ".idx")), *_loose(old)]:
        there = new / file.relative_to(old)
        if not there.exists() and (file.suffix or _whole(file)):
            there.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, there)
    if (old / "shallow").exists() and (new / "shallow").exists():
        _keep_ends(git, old / "shallow", new)
    with contextlib.suppress(FactoryError):  # broken references are what it may have been given up for
        shown = git(old, "for-each-ref", "--format=%(objectname) %(refname)", env={"GIT_DIR": str(old)})
        for line in shown.splitlines():
            commit, _, name = line.partition(" ")
            if not name.startswith(MIRRORED):
                git.trouble(new, "update-ref", "--", name, commit, env={"GIT_DIR": str(new)})
    if packs:  # most of it is in the new pack too
        git.trouble(new, "repack", "-a", "-d", "-k", "-q", env={"GIT_DIR": str(new)}, seconds=seconds)


def _keep_ends(git: Git, old: Path, new: Path) -> None:
    """Where the history of commits that no branch leads to ends, when it was cut: without, git would look for more."""
    ends = sorted({*old.read_text("ascii").split()} - {*(new / "shallow").read_text("ascii").split()})
    here = {"GIT_DIR": str(new)}
    asked = "".join(f"{end}\n" for end in ends).encode()
    shown = git(new, "rev-list", "--no-walk", "--parents", "--ignore-missing", "--stdin", stdin=asked, env=here)
    parents = {one: others for one, *others in (line.split() for line in shown.splitlines())}
    asked = "".join(f"{parent}\n" for others in parents.values() for parent in others).encode()
    lacking = {line.split()[0] for line in git(new, "cat-file", "--batch-check", stdin=asked, env=here).splitlines()
               if line.endswith(" missing")}  # fmt: skip
    with (new / "shallow").open("a", encoding="ascii") as out:
        out.writelines(f"{end}\n" for end, others in parents.items() if lacking & {*others})


def _packs(bare: Path) -> list[Path]:
    return sorted(bare.glob("objects/pack/pack-*.pack"))


def _pack_trouble(git: Git, bare: Path, pack: Path, seconds: float) -> str:
    return git.trouble(bare, "verify-pack", "--", str(pack), env={"GIT_DIR": str(bare)}, seconds=seconds)


def _loose(bare: Path) -> Iterator[Path]:
    for folder in sorted(bare.glob("objects/[0-9a-f][0-9a-f]")):
        yield from (file for file in sorted(folder.iterdir()) if re.fullmatch(r"[0-9a-f]{38}|[0-9a-f]{62}", file.name))


def _whole(file: Path) -> bool:
    """Does a single object's content have the id that its name says?"""
    wanted = file.parent.name + file.name
    digest = hashlib.sha256() if len(wanted) == 64 else hashlib.sha1(usedforsecurity=False)
    inflate = zlib.decompressobj()
    try:
        with file.open("rb") as content:
            while piece := content.read(1 << 20):
                digest.update(inflate.decompress(piece))
    except (OSError, zlib.error):
        return False
    return inflate.eof and digest.hexdigest() == wanted
