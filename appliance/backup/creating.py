"""Makes a backup while the box runs.

The order matters: the audit anchor is read before the ledger, which may be newer and never older; the ledger before
the files, for its rows name files by their digest, and these are written before the rows. Then repositories, the
inventory, and last of all the manifest.
"""

from __future__ import annotations

import fcntl
import io
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from appliance import __version__
from appliance.backup import binding, books, contents, state
from appliance.backup.manifest import Books, File, Inventory, Manifest, Part, Repository
from appliance.backup.repositories import Bare, Known, builds_on
from appliance.backup.sealing import Reading, recipients_of
from appliance.backup.state import LARGE, Seen, State
from appliance.backup.vault import Namer, Vault, Writer, in_words, next_name, oldest_to_drop
from appliance.config import Home
from appliance.errors import FactoryError, NotFound
from appliance.ports import Progress
from appliance.private import replace_private
from appliance.settings import Settings
from appliance.work import Noun, utcnow

TELL_SECONDS = 2.0
SCRATCH = "backup-"
STATE = "backup.json"


class Made(Noun):
    """What `create` did."""

    manifest: Manifest
    sha256: str
    """Of the manifest's file: noted in the ledger, and told, so that a folder that others can write is not trusted."""
    dropped: tuple[str, ...] = ()
    freed_bytes: int = 0
    lacking: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


def folder_of(home: Home, settings: Settings) -> Path:
    """Where a home's backups go."""
    return Path(settings.backup.folder).absolute() if settings.backup.folder else home.backups


def create(home: Home, settings: Settings, say: Progress) -> Made:
    """Back up the home into its backup folder, and drop the backups that are kept no longer.

    Raises:
        ConfigError: there is no recipient.
        Conflict: another backup into the folder is under way.
        LimitExceeded, Unavailable: the disk is full, or the folder cannot be used. Older backups are whole.
        VerificationFailed: the ledger's chain is broken, or its secrets are not there; nothing is written then.
    """
    binding.check(home)
    recipients_of(settings.backup.recipients)
    if not home.ledger.exists():
        raise NotFound(f"there is no ledger in {home.root}", "`appliance init` makes a home")
    vault = Vault(folder_of(home, settings))
    with in_words(vault.folder), vault.writing() as writer, scratch_in(home) as scratch:
        return _Making(home, settings, vault, writer, scratch, say).make()


class _Making:
    """One backup while it is made."""

    def __init__(
        self, home: Home, settings: Settings, vault: Vault, writer: Writer, scratch: Path, say: Progress
    ) -> None:
        self._home, self._settings, self._vault, self._writer = home, settings, vault, writer
        self._scratch, self._say = scratch, sometimes(say)
        self._recipients = tuple(settings.backup.recipients)
        self._namer = Namer(_key(home), self._recipients)
        self._state_file = home.run / STATE
        self._state: State = state.load(self._state_file, vault.folder, self._recipients)
        self._seen: dict[str, Seen] = {}
        self._lacking: list[str] = []

    def make(self) -> Made:
        begun, created = time.monotonic(), utcnow()
        anchor = self._anchor()
        self._say("copying the ledger")
        copy = self._scratch / "ledger.db"
        books.snapshot(self._home.ledger, copy)
        held = books.read(copy)
        ledger = self._sealed(copy, copy.stat().st_size)
        models = self._settings.backup.models
        files = [*anchor, *self._files(models)]
        repositories, known = self._repositories()
        outside = tuple(contents.outside(self._home, self._settings))
        inventory = Inventory(
            home=str(self._home.root), ledger=ledger, books=held, files=tuple(sorted(files, key=lambda one: one.path)),
            repositories=tuple(repositories), lacking=tuple(self._lacking), outside=outside,
        )  # fmt: skip
        manifest = self._manifest(inventory, held).with_(
            created=created, seconds=round(time.monotonic() - begun, 1), models=models
        )
        digest = self._writer.finish(manifest)
        state.save(self._state_file, self._state.with_(files=self._seen, repositories=known))
        wanted = self._settings.backup
        drop = oldest_to_drop(self._vault.manifests(), wanted.keep, wanted.keep_days)
        return Made(
            manifest=manifest, sha256=digest, dropped=tuple(drop), freed_bytes=self._writer.prune(drop),
            lacking=tuple(self._lacking), outside=outside,
        )  # fmt: skip

    def _anchor(self) -> list[File]:
        file = self._home.root / contents.ANCHOR
        if not file.exists():
            return []
        content = file.read_bytes()
        part = self._put(Reading(io.BytesIO(content)))
        return [File(path=contents.ANCHOR, mode=0o600, content=part)]

    def _files(self, models: bool) -> Iterator[File]:
        done = 0
        for path, file in contents.files(self._home, models):
            if path == contents.ANCHOR:
                continue
            try:
                with file.open("rb") as opened:
                    about = os.fstat(opened.fileno())
                    part = self._file(path, opened, about)
            except FileNotFoundError:
                continue  # it went since it was listed, as files of the spool do
            done += part.size
            self._say(f"{done / 2**20:.0f} MiB of files, now {path}")
            yield File(path=path, mode=about.st_mode & 0o777, content=part)

    def _file(self, path: str, opened: io.BufferedReader, about: os.stat_result) -> Part:
        """A file's part: hashed first, and sealed only when the folder does not have it yet."""
        sha256 = self._hash(path, opened, about)
        name = self._namer.name(sha256)
        if self._writer.reuse(name):
            return Part(name=name, size=about.st_size, sha256=sha256)
        opened.seek(0)
        return self._put(Reading(opened, about.st_size, self._teller("sealing", path)))

    def _hash(self, path: str, opened: io.BufferedReader, about: os.stat_result) -> str:
        seen = self._state.files.get(path)
        if seen and (seen.size, seen.changed_ns, seen.inode) == (about.st_size, about.st_mtime_ns, about.st_ino):
            self._seen[path] = seen
            return seen.sha256
        reading = Reading(opened, about.st_size, self._teller("reading", path))
        while reading.read(LARGE):
            pass
        sha256 = reading.passed.sha256
        if about.st_size >= LARGE and reading.size == about.st_size:
            self._seen[path] = Seen(size=about.st_size, changed_ns=about.st_mtime_ns, inode=about.st_ino, sha256=sha256)
        return sha256

    def _teller(self, doing: str, path: str) -> Callable[[int], None]:
        return lambda size: self._say(f"{doing} {path}: {size / 2**20:.0f} MiB")

    def _repositories(self) -> tuple[list[Repository], dict[str, Known]]:
        made, known = [], {}
        for folder in contents.repositories(self._home):
            path = str(folder.relative_to(self._home.root))
            self._say(f"packing {path}")
            try:
                now = self._packed(path, Bare(folder, self._home.secrets))
            except FactoryError as error:
                self._lacking.append(f"{path}: {error.message}")
                continue
            known[path] = now
            made.append(Repository(path=path, packs=now.packs, refs=now.refs))
        return made, known

    def _packed(self, path: str, bare: Bare) -> Known:
        refs, shallow = bare.refs(), bare.shallow
        before = builds_on(self._state.repositories.get(path), bare, self._writer.reuse)
        if before and set(refs.values()) <= set(before.refs.values()):
            return before.with_(refs=refs)
        with bare.pack(refs, before.refs if before else None) as stream:
            part = self._put(Reading(stream, tell=self._teller("packing", path)))
        return Known(refs=refs, shallow=shallow, packs=(*(before.packs if before else ()), part))

    def _sealed(self, file: Path, size: int) -> Part:
        with file.open("rb") as opened:
            return self._put(Reading(opened, size))

    def _put(self, reading: Reading) -> Part:
        return self._writer.put(reading, self._namer, self._recipients)

    def _manifest(self, inventory: Inventory, held: Books) -> Manifest:
        sealed = self._put(Reading(io.BytesIO(inventory.model_dump_json().encode())))
        packs = [pack for one in inventory.repositories for pack in one.packs]
        held_bytes = inventory.ledger.size + sum(one.content.size for one in inventory.files)
        return Manifest(
            name=next_name(self._vault.manifests(), utcnow()), created=utcnow(), version=__version__,
            revision=held.revision, recipients=self._recipients, events=held.events,
            content_bytes=held_bytes + sum(one.size for one in packs), written_bytes=self._writer.written, seconds=0,
            models=True, lacking=len(inventory.lacking), inventory=sealed.name,
            parts=tuple(sorted(self._writer.stored.values(), key=lambda one: one.name)),
        )  # fmt: skip


def _key(home: Home) -> bytes:
    """The key that part names are made with, made once. It is no secret of the content, but of who may guess at it."""
    file = home.secrets / "backup.key"
    if not file.exists():
        replace_private(file, secrets.token_bytes(32))
    return file.read_bytes()


@contextmanager
def scratch_in(home: Home) -> Iterator[Path]:
    """A folder on the home's own disk for what is not sealed: the backup folder may be a share that others read. It is
    held by a lock, so that what a killed process left is known as such, and removed."""
    home.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in home.run.glob(f"{SCRATCH}*/"):
        with suppress(OSError), (left / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=home.run) as folder, (Path(folder) / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(folder)


def sometimes(say: Progress) -> Progress:
    """Say only every few seconds, the first time at once."""
    last = float("-inf")

    def now_and_then(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= TELL_SECONDS:
            last = time.monotonic()
            say(line)

    return now_and_then
