"""A mirrored repository: a bare full copy in the home, kept in step with its server (ports.Repository)."""

from __future__ import annotations

import fcntl
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.config import Home, MirrorSettings
from appliance.errors import Conflict, NotFound, UsageError
from appliance.mirror.git import Git, checked_branch, checked_url, redact
from appliance.mirror.workspace import Clone, export

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

LANDED, REVERTED = "Factory-Item", "Factory-Revert-Of"
"""The trailers of the box's commits (see appliance/line/ship.py and monitor.py)."""

MIRROR = "+refs/heads/*:refs/heads/*"
"""What is mirrored: branches. A forge's own refs (merge requests, keep-around) can outnumber them a thousand times."""
TAGS = "+refs/tags/*:refs/tags/*"


class Mirror:
    """One repository. `branch` is the one changes go to; "" is replaced by the server's default."""

    def __init__(self, home: Home, name: str, url: str, branch: str, settings: MirrorSettings) -> None:
        if not NAME.fullmatch(name) or name.endswith(".git") or ".." in name:
            raise UsageError(f"{name!r} cannot be a repository's name", "use a-z, 0-9, '.', '_' and '-', at most 64")
        self.name = name
        self.url = checked_url(url)
        self.folder = home.mirrors / f"{name}.git"
        self._scratch = home.computers
        self._settings = settings
        self._git = Git(home.secrets / "known_hosts", settings.timeout_seconds)
        self.branch = checked_branch(branch) if branch else self._default() if self.folder.exists() else ""

    def create(self) -> str:
        """Clone it, whole or not at all; returns the branch's commit.

        Raises:
            Conflict: there is a mirror of this name.
            NotFound: nothing is there, it is empty, or the branch is missing.
            Unavailable: the server does not answer or does not let the box in.
        """
        if self.folder.exists():
            raise Conflict(f"there is a mirror {self.name!r} already", "choose another name, or remove it first")
        self._sweep()
        aside = Path(tempfile.mkdtemp(prefix=f".{self.name}.", dir=self.folder.parent))
        try:
            bare = aside / "bare"
            self._git(aside, "init", "--quiet", "--bare", str(bare))
            self._git(bare, "config", "remote.origin.url", self.url)
            self._fetch(bare)
            self.branch = self.branch or self._server_default()
            self._git(bare, "symbolic-ref", "HEAD", f"refs/heads/{self.branch}")
            head = self._tip(bare)
            bare.rename(self.folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return head

    def sync(self) -> str:
        """See ports.Repository. A mirror that is gone is cloned again."""
        if not self.folder.exists():
            return self.create()
        with self._alone():
            self._fetch(self.folder)
        return self._tip(self.folder)

    def head(self) -> str:
        """See ports.Repository."""
        if not self.folder.exists():
            raise NotFound(f"{self.name} is not mirrored yet", f"`appliance repo sync {self.name}`")
        return self._tip(self.folder)

    def checkout(self, commit: str, into: Path) -> Path:
        """See ports.Repository."""
        return export(self._git, self.folder, commit, into)

    def workspace(self, commit: str) -> Clone:
        """See ports.Repository."""
        return Clone(self._git, self._settings, self.folder, self.url, self.branch, commit, self._scratch)

    def landed(self, item: str) -> str:
        """See ports.Repository."""
        kind, commit = self._newest(item)
        return commit if kind == LANDED else ""

    def reverted(self, item: str) -> str:
        """See ports.Repository."""
        kind, commit = self._newest(item)
        return commit if kind == REVERTED else ""

    def changed_between(self, old: str, new: str) -> tuple[str, ...]:
        """See ports.Repository."""
        names = self._git(self.folder, "diff", "--no-ext-diff", "--name-only", "-z", old, new, "--")
        return tuple(name for name in names.split("\0") if name)

    def remove(self) -> None:
        """Delete the mirror; the server's repository stays."""
        if self.folder.exists():
            gone = self.folder.with_name(f".{self.folder.name}.removed")
            self.folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        self.folder.with_suffix(".lock").unlink(missing_ok=True)

    def _newest(self, item: str) -> tuple[str, str]:
        """The newest commit on the server's branch that speaks of the item, and which trailer it does so with."""
        head = self.sync()
        shown = self._git(
            self.folder, "log", "--topo-order", "--extended-regexp",
            f"--grep=^({LANDED}|{REVERTED}): {re.escape(item)}$", "--format=%H %(trailers:only,unfold,separator=%x00)", head, "--",
        )  # fmt: skip
        for line in shown.splitlines():
            commit, _, trailers = line.partition(" ")
            for kind in (LANDED, REVERTED):
                if f"{kind}: {item}" in trailers.split("\0"):
                    return kind, commit
        return "", ""

    def _fetch(self, bare: Path) -> None:
        try:
            self._git(bare, "fetch", "--quiet", "--prune", "--no-write-fetch-head", "--", self.url, MIRROR, TAGS)
        except NotFound as error:
            raise NotFound(f"{redact(self.url)}: {error.message}", error.hint) from error

    def _tip(self, bare: Path) -> str:
        refs = self._git(bare, "for-each-ref", "--format=%(refname:short)", "refs/heads")
        if not refs:
            raise NotFound(f"{redact(self.url)} is empty: it has no branch", "push a first commit, then try again")
        if self.branch not in refs.splitlines():
            known = ", ".join(refs.splitlines()[:10])
            raise NotFound(f"{self.name} has no branch {self.branch!r} on the server", f"it has: {known}")
        return self._git(bare, "rev-parse", "--verify", "--quiet", f"refs/heads/{self.branch}^{{commit}}")

    def _server_default(self) -> str:
        said = self._git(self.folder.parent, "ls-remote", "--symref", "--", self.url, "HEAD")
        found = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", said, re.MULTILINE)
        return checked_branch(found.group(1)) if found else "main"

    def _default(self) -> str:
        return self._git(self.folder, "symbolic-ref", "--short", "HEAD")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One fetch of a mirror at a time, over threads and processes."""
        with self.folder.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _sweep(self) -> None:
        """Remove what a killed `create` or `remove` left."""
        for left in self.folder.parent.glob(f".{self.name}.*"):
            removed = left.name == f".{self.folder.name}.removed"
            if removed or re.fullmatch(rf"\.{re.escape(self.name)}\.[a-z0-9_]{{8}}", left.name):
                shutil.rmtree(left, ignore_errors=True)
