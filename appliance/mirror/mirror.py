"""A mirrored repository: a bare full copy in the home, kept in step with its server (ports.Repository).

A mirror is a cache: whatever a killed process leaves of one is mended or made anew at the next `sync`.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Self

from appliance.config import Home
from appliance.errors import FactoryError, NotFound, UsageError
from appliance.mirror import keys
from appliance.mirror.address import Address, ca_file, checked_branch, checked_commit, followed, plain, redact
from appliance.mirror.contents import look_into
from appliance.mirror.export import exactly, export
from appliance.mirror.failures import UNREADABLE, fetching
from appliance.mirror.git import Git
from appliance.mirror.lfs import Store
from appliance.mirror.lfs_server import LfsServer
from appliance.mirror.listing import MIRRORED, behind, size
from appliance.mirror.place import Place
from appliance.mirror.record import Record, take_up
from appliance.mirror.soundness import carry_over, damage
from appliance.mirror.trailers import LANDED, REVERTED, newest
from appliance.mirror.workspace import Clone
from appliance.private import replace_private
from appliance.settings import MirrorSettings
from appliance.work import MirrorHealth, TrackedRepository, utcnow

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

BRANCHES = "+refs/heads/*:refs/heads/*"
"""What is mirrored: branches. A forge's own refs (merge requests, keep-around) can outnumber them a thousand times."""
TAGS = "+refs/tags/*:refs/tags/*"

TIDY = ("gc.auto=2000", "gc.autoPackLimit=50", "gc.autoDetach=false", "gc.pruneExpire=never", "gc.packRefs=true",
        "gc.cruftPacks=true")  # fmt: skip
"""Pack what has come in, and drop nothing: clones borrow objects, and a plan may stand on a commit that a forced push
has taken off its branch. Such objects go into a pack of their own; single files would be packed again each time."""


class Mirror:
    """One repository. `branch` is the one changes go to; "" is replaced by the server's default.

    `url` is the address without a name and password; these are kept in `secrets/git-NAME`, for this user alone.
    """

    def __init__(
        self, home: Home, name: str, url: str, branch: str, settings: MirrorSettings, *, depth: int = 0,
        lfs: bool = False,
    ) -> None:  # fmt: skip
        if not NAME.fullmatch(name) or name.endswith(".git") or ".." in name:
            raise UsageError(f"{name!r} cannot be a repository's name", "use a-z, 0-9, '.', '_' and '-', at most 64")
        given = Address.read(url)
        self.name = name
        self.url = given.url
        self.folder = home.mirrors / f"{name}.git"
        self._place = Place(self.folder)
        self._secrets = home.secrets
        self._login = home.secrets / f"git-{name}"
        self._address = Address(given.url, given.credentials or self._kept_login())
        self._scratch = home.computers
        self._settings = settings
        self._depth = depth
        self._store = Store(self.folder.with_suffix(".lfs"), settings.lfs_max_mb << 20)
        self._lfs = LfsServer(home.secrets, name, self._address, settings) if lfs else None
        self._git = Git(home.secrets, name, settings.timeout_seconds, self._address)
        self._given = checked_branch(branch) if branch else ""
        self.branch = self._given or (self._default() if self.folder.exists() else "")

    @classmethod
    def of(cls, home: Home, tracked: TrackedRepository, settings: MirrorSettings) -> Self:
        """The mirror of a repository the box looks after."""
        return cls(home, tracked.name, tracked.url, tracked.branch, settings, depth=tracked.depth, lfs=tracked.lfs)

    def create(self, allow_empty: bool = False) -> str:
        """Clone it, whole or not at all; returns the branch's commit. A mirror that is there already is fetched, or
        made anew when it is another address's: who may have which name is the ledger's to say.

        With `allow_empty` a repository without any branch is mirrored too, and "" returned: it waits for a first commit
        on the given branch, or on `main`.

        Raises:
            NotFound: nothing is there, it is empty, or the branch is missing.
            Unavailable: the server does not answer or does not let the box in.
        """
        with self._place.alone():
            if self.folder.exists() and not self._same_address():
                self._place.drop()
            self._refresh(allow_empty)
            refs = self._refs(self.folder)
            head = "" if allow_empty and not branches_of(refs) else self._tip(refs)
            self._keep_login()
        self._look_into(head)
        return head

    def sync(self) -> str:
        """See ports.Repository. A mirror that is gone, or broken beyond fetching, is cloned again."""
        with self._place.alone():
            self._refresh()
            head = self._tip(self._refs(self.folder))
        self._look_into(head)
        return head

    def examine(self, before: MirrorHealth) -> MirrorHealth:
        """Fetch, check now and then whether all can be read, and say how the mirror stands now, given how it stood
        before. What goes wrong is in it and never raised; `next_fetch` is left as it was."""
        now = utcnow()
        try:
            self._check_when_due()
            with self._place.alone():
                moved = self._refresh(allow_empty=True)
                self._note_default()
                refs = self._refs(self.folder)
                take_up(self.folder)
            self._look_into(refs.get(f"refs/heads/{self.branch}", ""))
        except FactoryError as failed:
            return before.with_(tried=now, failures=before.failures + 1, error=failed.message, hint=failed.hint)
        head, error, hint, notes = "", "", "", Record.of(self.folder).notes()
        try:
            head = self._tip(refs)
        except NotFound as lacking:
            if branches_of(refs):
                error, hint = lacking.message, lacking.hint
            else:
                notes = (f"it is empty: it waits for a first commit on {self.branch!r}", *notes)
        return before.with_(
            tried=now, fetched=now, failures=0, error=error, hint=hint, head=head, notes=notes,
            branches=len(branches_of(refs)),
            size_bytes=size(self.folder) + size(self._store.folder) if moved or not before.size_bytes
            else before.size_bytes,
        )  # fmt: skip

    def behind(self) -> bool:
        """Is anything on the server otherwise than here? Raises as `sync`."""
        return behind(self._git, self.folder, self.url)

    def rehearse_push(self) -> None:
        """Ask the server whether it lets the box push a branch; none is made. Raises as a push does."""
        self._run("push", "--dry-run", "--quiet", "--", self.url, f"{self.head()}:refs/heads/factory/rehearsal")

    def head(self) -> str:
        """See ports.Repository."""
        if not self.folder.exists():
            raise NotFound(f"{self.name} is not mirrored yet", f"`appliance repo sync {self.name}`")
        return self._tip(self._refs(self.folder))

    def paths(self, commit: str) -> tuple[str, ...]:
        """See ports.Repository."""
        with self._reading():
            names = self._run("ls-tree", "-r", "-z", "--name-only", "--full-tree", checked_commit(commit), "--")
        return tuple(name for name in names.split("\0") if name)

    def checkout(self, commit: str, into: Path) -> Path:
        """See ports.Repository."""
        with self._reading():
            return export(self._git, self.folder, commit, into, self._store if self._lfs else None)

    def workspace(self, commit: str) -> Clone:
        """See ports.Repository."""
        self._scratch.mkdir(exist_ok=True)
        with self._reading():
            lfs = (self._store, self._lfs) if self._lfs else None
            return Clone(self._git, self._settings, self.folder, self._address, commit, self._scratch, lfs)

    def landed(self, item: str) -> str:
        """See ports.Repository. A commit that was taken back since does not count."""
        kind, commit = newest(self._git, self.folder, self.sync(), item)
        return commit if kind == LANDED else ""

    def reverted(self, item: str) -> str:
        """See ports.Repository. A revert after which the item landed again does not count."""
        kind, commit = newest(self._git, self.folder, self.sync(), item)
        return commit if kind == REVERTED else ""

    def remove(self) -> None:
        """Delete the mirror, its login, key and CA; the server's repository stays."""
        with self._place.alone():
            self._place.sweep()
            self._place.drop()
            shutil.rmtree(self._store.folder, ignore_errors=True)
            for secret in (self._login, ca_file(self._secrets, self.name)):
                secret.unlink(missing_ok=True)
            keys.remove(self._secrets, self.name)

    def _refresh(self, allow_empty: bool = False) -> bool:
        """Fetch, or clone where there is nothing to fetch into; did anything move? Needs `Place.alone`."""
        if not self.folder.exists():
            self._clone("", allow_empty)
            return True
        before = self._readable()
        broken = (self._damage() if self._suspect.exists() else "") if before is not None else "git could not read it"
        if broken:
            self._clone(broken, allow_empty)
            return True
        self._suspect.unlink(missing_ok=True)
        cut = self._cut(self.folder)
        try:
            self._fetch(self.folder, self._settings.clone_seconds if cut else self._settings.timeout_seconds)
        except FactoryError as error:
            if type(error) is not FactoryError or not (broken := self._damage()):  # not the mirror's fault
                raise
            self._clone(broken, allow_empty)
            return True
        after = self._refs(self.folder)
        if after != before:
            self._moved(before or {}, after, bool(cut))
        return after != before

    def _readable(self) -> dict[str, str] | None:
        """The mirror's references; None when git cannot work with it at all, as after a crash while it was made."""
        try:
            refs = self._refs(self.folder)
            config = (self.folder / "config").read_text(encoding="utf-8", errors="replace")
        except (FactoryError, OSError):
            return None
        return refs if self.branch and "bare = true" in config else None

    def _moved(self, before: Mapping[str, str], after: Mapping[str, str], cut: bool) -> None:
        """Note what people should know, and tidy up. `cut`: the history is of another depth now, and cannot tell."""
        old, new = (refs.get(f"refs/heads/{self.branch}", "") for refs in (before, after))
        what = ""
        if old and not new:
            what = f"the branch {self.branch!r} is gone from the server; it was at {old[:12]}"
        elif old and not cut and (gone := self._run("rev-list", "--count", old, f"^{new}", "--")) != "0":
            what = f"{self.branch!r} was force-pushed: from {old[:12]} to {new[:12]}, commits that left it: {gone}"
        if what:
            Record.of(self.folder).noting(what).keep(self.folder)
        with contextlib.suppress(FactoryError):  # untidy is not wrong
            self._run(*(word for setting in TIDY for word in ("-c", setting)), "gc", "--auto", "--quiet")

    def _look_into(self, tip: str) -> None:
        """Note what the branch's commit holds, and bring its files of Git LFS where they are wanted: once for each
        commit, and again while some are missing. Others may read and fetch meanwhile."""
        record, looked = Record.of(self.folder), f"{tip} {'lfs' if self._lfs else ''}"
        if not tip or (record.looked == looked and not record.lacking):
            return
        try:
            with self._reading():
                notes, lacking = look_into(self._git, self.folder, tip, self.name, self._store, self._lfs)
        except FactoryError as error:
            notes, lacking, looked = (f"what {tip[:12]} holds could not be read: {error.message}",), 0, ""
        with self._place.alone():
            Record.of(self.folder).with_(looked=looked, lasting=notes, lacking=lacking).keep(self.folder)

    def _note_default(self) -> None:
        """Ask which branch is the server's own default, and note when that is another one than before."""
        record, default = Record.of(self.folder), self._server_default(self.folder)
        if record.default and plain(default) != record.default:
            record = record.noting(f"the server's default branch is {plain(default)!r} now, and was {record.default!r}")
        if plain(default) != record.default:
            record.with_(default=plain(default)).keep(self.folder)

    def _clone(self, broken: str, allow_empty: bool) -> None:
        """Make the mirror in a folder aside and put it in place at once; what is whole of the old one, which is
        `broken` somewhere, goes with it. Needs `Place.alone`."""
        limit = self._settings.clone_seconds
        with self._place.aside() as aside:
            bare = aside / "bare"
            self._copy(bare, limit)
            exactly(bare)
            self._run("config", "appliance.address", self._fingerprint(), bare=bare)
            refs, default = self._refs(bare), self._server_default(bare)
            self.branch = self._given or followed(default)
            if not allow_empty or branches_of(refs):
                self._tip(refs)
            self._run("symbolic-ref", "HEAD", f"refs/heads/{self.branch}", bare=bare)
            record = Record.of(self.folder).with_(default=plain(default), checked=utcnow(), depth=self._depth)
            (record.noting(f"cloned again: {broken}") if broken else record).keep(bare)
            if self.folder.exists():
                carry_over(self._git, self.folder, bare, limit)
            self._place.take(bare)

    def _check_when_due(self) -> None:
        """Look at all that the mirror holds, every `mirror.check_days`. Others may read and fetch meanwhile."""
        due = Record.of(self.folder).checked + timedelta(days=self._settings.check_days)
        if utcnow() < due:
            return
        broken = self._damage()
        with self._place.alone():
            if broken:  # it is looked at again when nobody else writes
                self._suspect.touch()
            Record.of(self.folder).with_(checked=utcnow()).keep(self.folder)

    def _damage(self) -> str:
        return damage(self._git, self.folder, self._settings.clone_seconds)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """When what should be there cannot be read, the next fetch looks why."""
        try:
            yield
        except FactoryError as error:
            if UNREADABLE.search(error.message) and self.folder.exists():
                self._suspect.touch()
            raise

    @property
    def _suspect(self) -> Path:
        """There when the mirror may be damaged; see `_refresh`."""
        return self.folder / "appliance.suspect"

    def _fetch(self, bare: Path, seconds: float) -> None:
        """Bring the copy in step. Needs `Place.alone`."""
        self._place.clear_locks(bare)
        cut = self._cut(bare)
        options = ("--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", *cut)
        with fetching(self.name, self.url):
            self._run("fetch", *options, "--", self.url, BRANCHES, TAGS, bare=bare, seconds=seconds)
        if cut:
            Record.of(bare).with_(depth=self._depth).keep(bare)

    def _copy(self, bare: Path, seconds: float) -> None:
        """Make the copy. A clone writes all references at once; a fetch would write a file for each."""
        options = ["--quiet", "--bare", "--no-local", "--template="]
        options += [f"--depth={self._depth}", "--no-single-branch"] if self._depth else []
        with fetching(self.name, self.url):
            self._git(bare.parent, "clone", *options, "--", self.url, str(bare), seconds=seconds)
        self._run("config", "--remove-section", "remote.origin", bare=bare)
        if self._run("rev-parse", "--show-object-format", bare=bare) != "sha1":
            raise UsageError("its objects have SHA-256 names, which the box does not work with", "use one with SHA-1")

    def _cut(self, bare: Path) -> tuple[str, ...]:
        """How a fetch gives the history another depth; nothing where it has the wanted one. Only the first fetch cuts
        it: what comes later is added whole, so that what the box works on stays joined to what people push."""
        if not self._depth:
            return ("--unshallow",) if (bare / "shallow").exists() else ()
        return () if Record.of(bare).depth == self._depth else (f"--depth={self._depth}",)

    def _tip(self, refs: Mapping[str, str]) -> str:
        found = refs.get(f"refs/heads/{self.branch}", "")
        if found:
            return found
        known = branches_of(refs)
        if not known:
            raise NotFound(
                f"{redact(self.url)} is empty: it has no branch",
                "push a first commit, then try again, or say `repo add --allow-empty`",
            )
        shown = ", ".join([*known[:10], *(["…"] if len(known) > 10 else [])])
        raise NotFound(
            f"{self.name} has no branch {self.branch!r} on the server",
            f"it has: {shown}; `appliance repo set {self.name} --branch BRANCH` names the one to follow",
        )

    def _refs(self, bare: Path) -> dict[str, str]:
        """Name → object id. Raises FactoryError when git cannot read the mirror."""
        shown = self._run("for-each-ref", "--format=%(objectname) %(refname)", *MIRRORED, bare=bare)
        return {name: found for found, _, name in (line.partition(" ") for line in shown.splitlines())}

    def _server_default(self, bare: Path) -> str:
        """What the server calls its default; where that does not exist, the only branch, or a usual name."""
        said = self._run("ls-remote", "--symref", "--", self.url, "HEAD", bare=bare)
        found = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", said, re.MULTILINE)
        known = branches_of(self._refs(bare))
        usual = [name for name in ("main", "master", "trunk") if name in known]
        return found.group(1) if found else known[0] if len(known) == 1 else next(iter(usual), "main")

    def _default(self) -> str:
        try:
            return checked_branch(self._run("symbolic-ref", "HEAD").removeprefix("refs/heads/"))
        except FactoryError:
            return ""  # broken; `sync` makes it anew and asks the server

    def _run(self, *words: str, bare: Path | None = None, seconds: float = 0) -> str:
        folder = bare or self.folder
        # beside it, not in it: one made anew may take its place, and git cannot work in a folder that is gone
        return self._git(folder.parent, *words, env={"GIT_DIR": str(folder)}, seconds=seconds)

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


def branches_of(refs: Mapping[str, str]) -> list[str]:
    """The names of the branches among references."""
    return [name.removeprefix("refs/heads/") for name in refs if name.startswith("refs/heads/")]
