"""A mirrored repository: a bare full copy in the home, kept in step with its server (ports.Repository).

A mirror is a cache: whatever a killed process leaves of one is mended or made anew at the next `sync`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.config import Home, MirrorSettings
from appliance.errors import Conflict, FactoryError, NotFound, Unavailable, UsageError
from appliance.mirror import keys
from appliance.mirror.address import Address, ca_file, checked_branch, checked_commit, redact
from appliance.mirror.export import exactly, export
from appliance.mirror.git import Git
from appliance.mirror.workspace import Clone
from appliance.private import replace_private

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

LANDED, REVERTED = "Factory-Item", "Factory-Revert-Of"
"""The trailers of the box's commits (see appliance/line/ship.py and monitor.py)."""

BRANCHES = "+refs/heads/*:refs/heads/*"
"""What is mirrored: branches. A forge's own refs (merge requests, keep-around) can outnumber them a thousand times."""
TAGS = "+refs/tags/*:refs/tags/*"

TIDY = ("gc.auto=2000", "gc.autoPackLimit=50", "gc.autoDetach=false", "gc.pruneExpire=never", "gc.packRefs=true")
"""Pack what has come in, and drop nothing: clones borrow objects, and a plan may stand on a commit that a forced push
has taken off its branch."""


class Mirror:
    """One repository. `branch` is the one changes go to; "" is replaced by the server's default.

    `url` is the address without a name and password; these are kept in `secrets/git-NAME`, for this user alone.
    """

    def __init__(self, home: Home, name: str, url: str, branch: str, settings: MirrorSettings) -> None:
        if not NAME.fullmatch(name) or name.endswith(".git") or ".." in name:
            raise UsageError(f"{name!r} cannot be a repository's name", "use a-z, 0-9, '.', '_' and '-', at most 64")
        given = Address.read(url)
        self.name = name
        self.url = given.url
        self.folder = home.mirrors / f"{name}.git"
        self._secrets = home.secrets
        self._login = home.secrets / f"git-{name}"
        self._address = Address(given.url, given.credentials or self._kept_login())
        self._scratch = home.computers
        self._settings = settings
        self._git = Git(home.secrets, name, settings.timeout_seconds, self._address)
        self._given = checked_branch(branch) if branch else ""
        self.branch = self._given or (self._default() if self.folder.exists() else "")

    def create(self) -> str:
        """Clone it, whole or not at all; returns the branch's commit. A mirror that is there already is fetched, or
        made anew when it is another address's: who may have which name is the ledger's to say.

        Raises:
            NotFound: nothing is there, it is empty, or the branch is missing.
            Unavailable: the server does not answer or does not let the box in.
        """
        with self._alone():
            if self.folder.exists() and not self._same_address():
                self._drop()
            head = self._refresh()
            self._keep_login()
            return head

    def sync(self) -> str:
        """See ports.Repository. A mirror that is gone, or broken beyond fetching, is cloned again."""
        with self._alone():
            return self._refresh()

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
        self._scratch.mkdir(exist_ok=True)
        return Clone(self._git, self._settings, self.folder, self._address, commit, self._scratch)

    def landed(self, item: str) -> str:
        """See ports.Repository. A commit that was taken back since does not count."""
        kind, commit = self._newest(item)
        return commit if kind == LANDED else ""

    def reverted(self, item: str) -> str:
        """See ports.Repository. A revert after which the item landed again does not count."""
        kind, commit = self._newest(item)
        return commit if kind == REVERTED else ""

    def changed_between(self, old: str, new: str) -> tuple[str, ...]:
        """See ports.Repository."""
        commits = (checked_commit(old), checked_commit(new))
        names = self._run("diff-tree", "-r", "--no-renames", "--name-only", "-z", *commits, "--")
        return tuple(name for name in names.split("\0") if name)

    def remove(self) -> None:
        """Delete the mirror, its login, key and CA; the server's repository stays."""
        with self._alone():
            self._sweep()
            if self.folder.exists():
                self._drop()
            for secret in (self._login, ca_file(self._secrets, self.name)):
                secret.unlink(missing_ok=True)
            keys.remove(self._secrets, self.name)

    def _refresh(self) -> str:
        """Fetch, or clone where there is nothing to fetch into. Needs `_alone`."""
        if not self._whole():
            return self._clone()
        try:
            self._fetch(self.folder)
        except FactoryError as error:
            if type(error) is not FactoryError:  # the server's fault, as far as is known
                raise
            return self._clone()
        return self._tip(self.folder)

    def _clone(self) -> str:
        """Make the mirror in a folder aside and put it in place at once. Needs `_alone`."""
        self._sweep()
        aside = Path(tempfile.mkdtemp(prefix=f".{self.name}.", dir=self.folder.parent))
        try:
            bare = aside / "bare"
            self._git(aside, "init", "--quiet", "--bare", "--template=", "--", str(bare))
            exactly(bare)
            self._run("config", "appliance.address", self._fingerprint(), bare=bare)
            self._fetch(bare)
            self.branch = self._given or self._server_default(bare)
            head = self._tip(bare)
            self._run("symbolic-ref", "HEAD", f"refs/heads/{self.branch}", bare=bare)
            if self.folder.exists():
                self._drop()
            bare.rename(self.folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return head

    def _newest(self, item: str) -> tuple[str, str]:
        """The newest commit on the server's branch that speaks of the item, and which trailer it does so with."""
        head = self.sync()
        shown = self._run(
            "log", "--topo-order", "--fixed-strings", f"--grep={LANDED}: {item}", f"--grep={REVERTED}: {item}",
            "--format=%H %(trailers:only,unfold,separator=%x00)", head, "--",
        )  # fmt: skip
        for line in shown.split("\n"):
            commit, _, trailers = line.partition(" ")
            for kind in (LANDED, REVERTED):
                if f"{kind}: {item}" in trailers.split("\0"):
                    return kind, commit
        return "", ""

    def _fetch(self, bare: Path) -> None:
        """Bring the copy in step. Locks and half-written files that a killed fetch left are removed first: no other
        fetch runs now. Needs `_alone`."""
        for pattern in ("*.lock", "refs/**/*.lock", "info/*.lock", "objects/**/tmp_*", "objects/info/*.lock"):
            for left in bare.glob(pattern):
                left.unlink(missing_ok=True)
        options = ("--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--no-auto-gc")
        try:
            self._run("fetch", *options, "--", self.url, BRANCHES, TAGS, bare=bare)
        except NotFound as error:
            raise NotFound(f"{redact(self.url)}: {error.message}", error.hint) from error
        except Conflict as error:
            raise Unavailable(
                f"the mirror of {self.name} could not be written: {error.message}", "try again"
            ) from error
        with contextlib.suppress(FactoryError):  # untidy is not wrong
            self._run(*(word for setting in TIDY for word in ("-c", setting)), "gc", "--auto", "--quiet", bare=bare)

    def _tip(self, bare: Path) -> str:
        if self.branch:
            here = f"refs/heads/{self.branch}"
            found = self._run("for-each-ref", "--format=%(refname) %(objectname)", here, bare=bare).splitlines()
            for line in found:
                if line.startswith(f"{here} "):
                    return line.rpartition(" ")[2]
        known = self._branches(bare)
        if not known:
            raise NotFound(f"{redact(self.url)} is empty: it has no branch", "push a first commit, then try again")
        raise NotFound(f"{self.name} has no branch {self.branch!r} on the server", f"it has: {', '.join(known[:10])}")

    def _branches(self, bare: Path) -> list[str]:
        return self._run("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", bare=bare).splitlines()

    def _server_default(self, bare: Path) -> str:
        """What the server calls its default; where that does not exist, the only branch, or a usual name."""
        said = self._run("ls-remote", "--symref", "--", self.url, "HEAD", bare=bare)
        found = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", said, re.MULTILINE)
        known = self._branches(bare)
        usual = [name for name in ("main", "master", "trunk") if name in known]
        name = found.group(1) if found else known[0] if len(known) == 1 else next(iter(usual), "main")
        return checked_branch(name)

    def _default(self) -> str:
        try:
            return checked_branch(self._run("symbolic-ref", "HEAD").removeprefix("refs/heads/"))
        except FactoryError:
            return ""  # broken; `sync` makes it anew and asks the server

    def _whole(self) -> bool:
        """Is there a mirror that git can read?"""
        if not self.folder.exists():
            return False
        try:
            return bool(self._run("rev-parse", "--git-dir")) and bool(self.branch)
        except FactoryError:
            return False

    def _run(self, *words: str, bare: Path | None = None) -> str:
        folder = bare or self.folder
        return self._git(folder, *words, env={"GIT_DIR": str(folder)})

    def _same_address(self) -> bool:
        try:
            return self._run("config", "--default", "", "--get", "appliance.address") == self._fingerprint()
        except FactoryError:
            return False

    def _fingerprint(self) -> str:
        return hashlib.sha256(self.url.encode()).hexdigest()

    def _kept_login(self) -> str:
        return self._login.read_text(encoding="utf-8") if self._login.exists() else ""

    def _keep_login(self) -> None:
        if self._address.credentials:
            replace_private(self._login, self._address.credentials.encode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process and thread at a time may write a mirror."""
        file = self.folder.with_suffix(".lock")
        while True:
            with file.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                try:
                    ours = os.fstat(lock.fileno()).st_ino == file.stat().st_ino
                except FileNotFoundError:
                    ours = False
                if not ours:  # whoever held it found no mirror to keep and removed the lock: queue at the new one
                    continue
                try:
                    yield
                finally:
                    if not self.folder.exists():
                        file.unlink()
                return

    def _drop(self) -> None:
        gone = Path(tempfile.mkdtemp(prefix=f".{self.name}.", dir=self.folder.parent))
        self.folder.rename(gone / "bare")
        shutil.rmtree(gone, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what a killed `create` or `remove` left. Needs `_alone`."""
        for left in self.folder.parent.glob(f".{self.name}.*"):
            if re.fullmatch(rf"\.{re.escape(self.name)}\.[a-z0-9_]{{8}}", left.name):
                shutil.rmtree(left, ignore_errors=True)
