"""Bare repositories as packs: everything at first, afterwards what came since, and every reference as it stands.

A pack is git's own format: `git index-pack` brings it back and checks every object on the way.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import Field

from appliance.backup.manifest import Part
from appliance.errors import VerificationFailed
from appliance.mirror.address import Address
from appliance.mirror.git import Git
from appliance.work import Noun

MOST_PACKS = 20
"""After so many additions everything is packed anew."""
FSCK_SECONDS = 3600.0


class Known(Noun):
    """How a repository was packed last: kept on the box, and no loss when it is gone."""

    refs: dict[str, str] = Field(default_factory=dict)
    shallow: str = ""
    packs: tuple[Part, ...] = ()


class Bare:
    """One bare repository."""

    def __init__(self, folder: Path, secrets: Path) -> None:
        self.folder = folder
        self._git = Git(secrets, folder.stem, FSCK_SECONDS, Address(folder.absolute().as_uri()))
        self._here = {"GIT_DIR": str(folder)}

    def refs(self) -> dict[str, str]:
        """Name → object id. Raises FactoryError as git does."""
        shown = self._run("for-each-ref", "--format=%(objectname) %(refname)")
        return {name: found for found, _, name in (line.partition(" ") for line in shown.splitlines())}

    @property
    def shallow(self) -> str:
        """Where a shallow history was cut; "" for a whole one."""
        file = self.folder / "shallow"
        return file.read_text("ascii") if file.is_file() else ""

    @contextmanager
    def pack(self, refs: Mapping[str, str], since: Mapping[str, str] | None) -> Iterator[IO[bytes]]:
        """A pack as it is made. `since`: the references that it builds on; None: of every object there is, those too
        that a forced push took off its branch, for plans may stand on them."""
        if since is None:
            wanted = self._git.raw(
                self.folder.parent, "cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname)",
                env=self._here,
            )  # fmt: skip
            words = ["pack-objects", "-q", "--stdout"]
        else:
            lines = [*sorted(set(refs.values())), *(f"^{one}" for one in sorted(set(since.values())))]
            wanted = "".join(f"{line}\n" for line in lines).encode("ascii")
            words = ["pack-objects", "-q", "--revs", "--stdout"]
        with self._git.talking(self.folder.parent, *words, env=self._here) as (to, out):
            to.write(wanted)
            to.close()
            yield out

    def has(self, objects: Sequence[str]) -> bool:
        """Are all these there?"""
        asked = "".join(f"{one}\n" for one in objects).encode("ascii")
        said = self._git(self.folder.parent, "cat-file", "--batch-check=%(objectname)", stdin=asked, env=self._here)
        return not any(line.endswith(" missing") for line in said.splitlines())

    def begin(self) -> None:
        """Make it, empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._git(self.folder.parent, "init", "--quiet", "--bare", "--template=", "--", str(self.folder))

    def take(self, write: Callable[[IO[bytes]], None]) -> None:
        """Bring in a pack, which `write` writes. Raises FactoryError when an object is not what its name says."""
        with self._git.talking(self.folder.parent, "index-pack", "--stdin", env=self._here) as (to, _):
            write(to)

    def set_refs(self, refs: Mapping[str, str]) -> None:
        """Let every reference stand where it stood."""
        lines = "".join(f"update {name} {found}\n" for name, found in refs.items())
        self._git(self.folder.parent, "update-ref", "--stdin", stdin=lines.encode(), env=self._here)
        self._run("pack-refs", "--all")

    def check(self, refs: Mapping[str, str]) -> None:
        """Raises VerificationFailed when git finds damage, or another reference than these."""
        if trouble := self._git.trouble(
            self.folder.parent, "fsck", "--full", "--no-dangling", "--no-progress", env=self._here, seconds=FSCK_SECONDS
        ):
            raise VerificationFailed(f"{self.folder.name}: git fsck: {trouble}", "restore an older backup")
        if self.refs() != dict(refs):
            raise VerificationFailed(f"{self.folder.name}: its branches are not those backed up", "try an older one")

    def _run(self, *words: str) -> str:
        return self._git(self.folder.parent, *words, env=self._here)


def builds_on(known: Known | None, bare: Bare, there: Callable[[str], bool]) -> Known | None:
    """What the next pack may build on; None: everything is packed anew. `there`: whether the vault has a part."""
    if known is None or not known.packs or len(known.packs) >= MOST_PACKS or known.shallow != bare.shallow:
        return None
    added = sum(one.size for one in known.packs[1:])
    if added > known.packs[0].size and added > 1 << 20:
        return None
    if not all(there(one.name) for one in known.packs) or not bare.has(list(known.refs.values())):
        return None
    return known
