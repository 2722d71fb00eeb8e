"""A repository that comes on media: a bare repository on the box stands in for the server that is out of reach.

Its mirror fetches from it and the line pushes to it, as with any server. A medium brings in what it holds at once or
not at all: objects are checked before any branch moves, and what the box itself put on a branch is never lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.config import Home
from appliance.errors import Conflict, FactoryError, NotFound, Unavailable, VerificationFailed
from appliance.mirror.address import Address
from appliance.mirror.bundles import check, checked_ref, existing, header, refs_of
from appliance.mirror.git import Git
from appliance.settings import MirrorSettings

INCOMING = "refs/incoming/"
"""Where a bundle's refs lie until it is decided what becomes of them; nobody is shown them."""

EARLIER = "import the bundles before it first, or bring one with everything; nothing was changed"

CHECKED = (
    "fetch.fsckObjects=true", "fetch.fsck.zeroPaddedFilemode=warn", "fetch.fsck.missingSpaceBeforeDate=warn",
    "fetch.fsck.badTimezone=warn",
)  # fmt: skip
"""Every object that comes in is checked; what old tools got wrong without harm is let through."""


@dataclass(frozen=True)
class Taken:
    """What an import changed: ref → where it stood ("" for new) and where it stands now."""

    moved: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    refs: Mapping[str, str] = field(default_factory=dict)
    """All branches and tags as they are now."""
    brought: tuple[str, ...] = ()
    """The commits that the medium's branches and tags stand at."""
    head: str = ""


class Depot:
    """One repository. The folder is the home's `media/NAME.git`."""

    def __init__(self, home: Home, name: str, settings: MirrorSettings) -> None:
        self.name = name
        self.folder = home.media / f"{name}.git"
        self.url = self.folder.as_uri()
        self._git = Git(home.secrets, name, settings.clone_seconds, Address(self.url))

    def take(self, bundle: Path, told: Mapping[str, str], head: str, force: bool) -> Taken:
        """Bring a bundle in. `told` are all refs that its receipt names: those that the bundle leaves out, because the
        commit is known, are brought in too. `head` is the default branch of a new repository.

        Raises:
            VerificationFailed: it is no bundle, damaged, or builds on commits that are not here.
            Conflict: a branch has commits that the bundle's lacks, and `force` is not given.
        """
        self.folder.parent.mkdir(mode=0o700, exist_ok=True)
        with self._alone():
            self._sweep()
            if self.folder.exists():
                taken = self._take(self.folder, bundle, told, force)
                return replace(taken, head=self._run(self.folder, "symbolic-ref", "--short", "HEAD"))
            aside = Path(tempfile.mkdtemp(prefix=f".{self.name}.", dir=self.folder.parent))
            try:
                bare = aside / "bare"
                self._git(aside, "init", "--quiet", "--bare", "--template=", "--", str(bare))
                taken = self._take(bare, bundle, told, force)
                branch = head if f"refs/heads/{head}" in taken.refs else header(bundle).default
                self._run(bare, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
                bare.rename(self.folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            return replace(taken, head=branch)

    def remove(self) -> None:
        """Delete it, with all that came on media."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.with_suffix(".lock").unlink(missing_ok=True)

    def _take(self, bare: Path, bundle: Path, told: Mapping[str, str], force: bool) -> Taken:
        said = header(bundle)
        check(bundle)
        self._fetch(bare, bundle, said.needs)
        try:
            before = refs_of(self._git, bare)
            wanted = {**self._known(bare, told), **said.heads}
            moves = decide(before, wanted, lambda old, new: self._holds(bare, old, new), force)
            lines = [f"update {name} {new} {old or '0' * 40}" for name, (old, new) in moves.items()]
            self._update(bare, lines)
        finally:
            left = self._run(bare, "for-each-ref", "--format=delete %(refname)", INCOMING.rstrip("/"))
            self._update(bare, left.splitlines())
        return Taken(moves, refs_of(self._git, bare), tuple(sorted(set(wanted.values()))))

    def _fetch(self, bare: Path, bundle: Path, needs: tuple[str, ...]) -> None:
        """Check a bundle and bring its objects in, with its refs where nobody looks."""
        missing = sorted(set(needs) - existing(self._git, bare, needs))
        if missing:
            raise VerificationFailed(
                f"{bundle.name} builds on commits that are not here: {', '.join(one[:12] for one in missing[:5])}",
                EARLIER,
            )
        settings = [word for setting in CHECKED for word in ("-c", setting)]
        options = ("--quiet", "--atomic", "--no-tags", "--no-write-fetch-head", "--no-auto-gc")
        specs = [f"+{kind}*:{INCOMING}{kind.removeprefix('refs/')}*" for kind in ("refs/heads/", "refs/tags/")]
        try:
            self._run(bare, "bundle", "verify", "--quiet", str(bundle.absolute()))
            self._run(bare, *settings, "fetch", *options, "--", str(bundle.absolute()), *specs)
        except FactoryError as error:
            if isinstance(error, Unavailable) and ("took longer" in error.message or "disk is full" in error.message):
                raise
            if "prerequisite" in error.message:
                raise VerificationFailed(f"{bundle.name}: {error.message}", EARLIER) from error
            raise VerificationFailed(
                f"{bundle.name} is damaged: {error.message}", "copy it again; nothing was changed"
            ) from error

    def _known(self, bare: Path, told: Mapping[str, str]) -> dict[str, str]:
        """What a receipt tells of that is here. Raises VerificationFailed for what is not."""
        there = existing(self._git, bare, told.values())
        lacking = [checked_ref(name) for name, commit in told.items() if commit not in there]
        if lacking:
            raise VerificationFailed(
                f"the receipt tells of {', '.join(lacking[:3])}, whose commits are not here",
                EARLIER,
            )
        return {checked_ref(name): commit for name, commit in told.items()}

    def _holds(self, bare: Path, old: str, new: str) -> bool:
        """Is everything of `old` in `new`?"""
        try:
            return self._run(bare, "rev-list", "--count", f"{new}..{old}", "--") == "0"
        except FactoryError:  # a tag of something that is no commit
            return old == new

    def _update(self, bare: Path, lines: list[str]) -> None:
        """Move refs, all or none. Raises Conflict when one of them has moved meanwhile."""
        if lines:
            text = "\n".join(["start", *lines, "commit", ""]).encode()
            self._run(bare, "update-ref", "--stdin", stdin=text)

    def _run(self, bare: Path, *words: str, stdin: bytes = b"") -> str:
        return self._git(bare, *words, stdin=stdin, env={"GIT_DIR": str(bare)})

    def _sweep(self) -> None:
        """Remove what a killed import left. Needs `_alone`."""
        for left in self.folder.parent.glob(f".{self.name}.*"):
            if re.fullmatch(rf"\.{re.escape(self.name)}\.[a-z0-9_]{{8}}", left.name):
                shutil.rmtree(left, ignore_errors=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One import at a time."""
        with self.folder.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def decide(
    before: Mapping[str, str], wanted: Mapping[str, str], holds: Callable[[str, str], bool], force: bool
) -> dict[str, tuple[str, str]]:
    """Which refs move from where to where ("" for nowhere). Branches move forward alone and tags never; those that are
    ahead of the medium stay. Raises Conflict for others, which `force` moves, and keeps what they were aside.

    >>> decide({"refs/heads/a": "1"}, {"refs/heads/a": "2", "refs/heads/b": "3"}, lambda old, new: True, False)
    {'refs/heads/a': ('1', '2'), 'refs/heads/b': ('', '3')}
    """
    moves, lost = {}, []
    for name, new in wanted.items():
        old, is_branch = before.get(name, ""), name.startswith("refs/heads/")
        if old == new or (old and is_branch and holds(new, old)):
            continue
        moves[name] = (old, new)
        if old and not (is_branch and holds(old, new)):
            lost.append(name)
    if lost and not force:
        raise Conflict(
            f"{', '.join(lost[:5])} here {'have' if len(lost) > 1 else 'has'} what the medium lacks",
            "carry the box's commits over first (`repo export`), or say --force to put them aside; nothing was changed",
        )
    for name in lost:
        old, (_, kind, short) = before[name], name.split("/", 2)
        moves[f"refs/{kind}/aside/{old[:12]}/{short}"] = ("", old)
    return moves


def depot_of(home: Home, name: str, url: str, settings: MirrorSettings) -> Depot:
    """The depot of a repository that comes on media. Raises NotFound for one that has a server."""
    depot = Depot(home, name, settings)
    if depot.url != url:
        raise NotFound(
            f"{name} comes from its server, not from media", f"`appliance repo sync {name}` fetches from there"
        )
    return depot
