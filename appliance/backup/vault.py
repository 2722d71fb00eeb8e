"""The backup folder: sealed parts named by content, one manifest a backup, one writer at a time.

::

    README.txt                       how to open it without the box
    lock
    backups/20261127T040000Z-1f….json
    parts/ab/ab….age                 named by an HMAC of content and recipients: who has the folder cannot try out what
                                     is in it, and a part for other recipients is another part

A part appears by one rename of bytes that are on disk, a manifest after all its parts. So a kill at any instant leaves
every older backup as it was, and what it had written is found and used by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from appliance.backup.manifest import FORMAT, Manifest, Part, Stored
from appliance.backup.sealing import Reading, Writing, recipients_of, seal
from appliance.errors import Conflict, LimitExceeded, NotFound, Unavailable, VerificationFailed, of_system

DRAFT = ".writing-"
PIECE = 1 << 20
"""Bytes read at a time."""

README = """Backups of an appliance. `backups/` has one manifest for each, `parts/` what they hold, sealed with age
(age-encryption.org/v1) for the recipients that the manifest names.

With the box's program:   appliance backup verify|restore --folder THIS --identity PRIVATE-KEY-FILE
With the age tool alone:  age --decrypt -i PRIVATE-KEY-FILE parts/ab/ab….age
The manifest's `inventory` names the part that tells what the others are (JSON: path, permissions, SHA-256).
"""


@contextlib.contextmanager
def in_words(folder: Path) -> Iterator[None]:
    """Say in words what the disk refused. Raises LimitExceeded for a full one, Unavailable for the rest."""
    try:
        yield
    except OSError as error:
        named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else folder
        if not named.is_relative_to(folder):
            raise of_system(error) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LimitExceeded(
                f"the disk of {folder} is full; the backups before stay whole",
                "free space there, lower backup.keep, or name another disk with backup.folder",
            ) from error
        raise Unavailable(
            f"the backup folder {folder} cannot be used: {error.strerror or error}",
            "see that it is there, mounted and writable for the box's user",
        ) from error


class Vault:
    """One backup folder. Reading makes nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._backups, self._parts = folder / "backups", folder / "parts"

    # --- reading

    def manifests(self) -> list[Manifest]:
        """All readable ones, newest first; see `problems`. Raises Unavailable when the folder cannot be read."""
        return [one for _, one in self._read() if isinstance(one, Manifest)]

    def problems(self) -> list[str]:
        """What is wrong with manifests that cannot be read."""
        return [f"{name}: {one}" for name, one in self._read() if not isinstance(one, Manifest)]

    def get(self, name: str) -> Manifest:
        """The backup of a name; the newest for "". Raises NotFound, or VerificationFailed for one that is broken."""
        found = dict(self._read())
        if not found:
            raise NotFound(f"there is no backup in {self.folder}", "`appliance backup create` makes one")
        wanted = found.get(name or max(found))
        if wanted is None:
            raise NotFound(f"there is no backup {name!r} in {self.folder}", f"there are: {', '.join(sorted(found))}")
        if isinstance(wanted, str):
            raise VerificationFailed(f"the manifest of {name or max(found)} {wanted}", "take another backup")
        return wanted

    def manifest_digest(self, name: str) -> str:
        """SHA-256 of a manifest's file."""
        return hashlib.sha256((self._backups / f"{name}.json").read_bytes()).hexdigest()

    def path(self, part: str) -> Path:
        """Where a part lies."""
        return self._parts / part[:2] / f"{part}.age"

    def _read(self) -> list[tuple[str, Manifest | str]]:
        with in_words(self.folder):
            files = sorted(self._backups.glob("*.json"), reverse=True) if self._backups.is_dir() else []
            return [(file.stem, _manifest(file)) for file in files]

    # --- writing

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """The one writer of the folder. Raises Conflict while another writes, Unavailable, LimitExceeded."""
        with in_words(self.folder):
            for folder in (self.folder, self._backups, self._parts):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.folder / "README.txt").write_text(README, encoding="utf-8")
            with (self.folder / "lock").open("a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise Conflict("a backup into this folder is under way", "wait until it has ended") from error
                sweep(self.folder)
                yield Writer(self)


class Writer:
    """Adds parts and a manifest, and prunes. Made by `Vault.writing`."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._known = {part.name: part for one in vault.manifests() for part in one.parts}
        self._touched: set[Path] = set()
        self.stored: dict[str, Stored] = {}
        """The parts of the backup that is being made."""
        self.written = 0
        """Bytes of those that are new."""

    def reuse(self, name: str) -> bool:
        """Take a part into this backup if it is there whole. One that no manifest names, which a killed backup left, is
        read through for its hash."""
        if name in self.stored:
            return True
        file = self._vault.path(name)
        try:
            size = file.stat().st_size
        except FileNotFoundError:
            return False
        known = self._known.get(name)
        if known and known.size != size:
            return False
        if known is None:
            with file.open("rb") as there:
                known = Stored(name=name, size=size, sha256=hashlib.file_digest(there, "sha256").hexdigest())
        self.stored[name] = known
        return True

    def put(self, source: Reading, namer: Namer, recipients: Sequence[str]) -> Part:
        """Seal what is read as a part. Raises OSError."""
        draft = self._vault.folder / f"{DRAFT}{secrets.token_hex(8)}"
        try:
            with draft.open("xb") as out:
                os.fchmod(out.fileno(), 0o600)
                sink = Writing(out)
                seal(source, sink, recipients_of(recipients))
                out.flush()
                os.fsync(out.fileno())
            held = source.passed
            name = namer.name(held.sha256)
            if not self.reuse(name):
                file = self._vault.path(name)
                file.parent.mkdir(mode=0o700, exist_ok=True)
                draft.replace(file)
                self._touched |= {file.parent, file.parent.parent}
                self.stored[name] = Stored(name=name, size=sink.size, sha256=sink.passed.sha256)
                self.written += sink.size
            return Part(name=name, size=held.size, sha256=held.sha256)
        finally:
            draft.unlink(missing_ok=True)

    def finish(self, manifest: Manifest) -> str:
        """Write the manifest, after everything it names is on disk; the SHA-256 of its file. Raises OSError."""
        for folder in self._touched:
            sync(folder)
        backups = self._vault.folder / "backups"
        draft = self._vault.folder / f"{DRAFT}{manifest.name}"
        with draft.open("x", encoding="utf-8") as out:
            out.write(manifest.model_dump_json(indent=1))
            out.flush()
            os.fsync(out.fileno())
        draft.replace(backups / f"{manifest.name}.json")
        sync(backups)
        return self._vault.manifest_digest(manifest.name)

    def prune(self, drop: Sequence[str]) -> int:
        """Remove these backups, and every part that none of the rest names; the bytes that were freed. Nothing is
        removed while a manifest cannot be read: it may name any part."""
        for name in drop:
            (self._vault.folder / "backups" / f"{name}.json").unlink(missing_ok=True)
        sync(self._vault.folder / "backups")
        if self._vault.problems():
            return 0
        named, freed = {part.name for one in self._vault.manifests() for part in one.parts}, 0
        for file in (self._vault.folder / "parts").glob("*/*.age"):
            if file.stem not in named:
                freed += file.stat().st_size
                file.unlink()
        return freed


class Namer:
    """Names parts: by an HMAC with a key of the box, of the recipients and of the content's SHA-256."""

    def __init__(self, key: bytes, recipients: Sequence[str]) -> None:
        self._key = hmac.digest(key, "\n".join(sorted(recipients)).encode(), "sha256")

    def name(self, sha256: str) -> str:
        return hmac.new(self._key, sha256.encode("ascii"), hashlib.sha256).hexdigest()


def sweep(folder: Path) -> None:
    """Remove drafts of a killed writer. Needs the folder's lock."""
    for left in folder.glob(f"{DRAFT}*"):
        left.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Bring a folder's names onto the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _manifest(file: Path) -> Manifest | str:
    """A manifest, or what is wrong with it. Raises OSError."""
    try:
        read = Manifest.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        newer = '"format"' in file.read_text("utf-8", "replace") and first["loc"] and first["type"] == "extra_forbidden"
        return "was written by a newer program" if newer else f"cannot be read: {first['msg']}"
    if read.format > FORMAT:
        return f"has format {read.format}; this program reads {FORMAT}: take a newer one"
    if read.name != file.stem:
        return f"names another backup: {read.name}"
    return read


def oldest_to_drop(manifests: Sequence[Manifest], keep: int, keep_days: float) -> list[str]:
    """Which backups are kept no longer: all but the newest `keep` and those of the last `keep_days`, counted from the
    newest, so that a clock that jumps drops nothing. Pure."""
    ordered = sorted(manifests, key=lambda one: one.name, reverse=True)
    if not ordered:
        return []
    newest = ordered[0].created
    old = [one for one in ordered[max(1, keep) :] if not keep_days or newest - one.created > timedelta(days=keep_days)]
    return [one.name for one in old]


def next_name(manifests: Sequence[Manifest], now: datetime) -> str:
    """A name after all others, whatever the clock says. Pure but for its last part, which is chance."""
    last = max((one.name for one in manifests), default="")
    after = datetime.strptime(last[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) + timedelta(seconds=1) if last else now
    return f"{max(after, now):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
