"""Files that come from a browser or a program in chunks, and go on where they stopped.

The conventions are those of tus 1.0 (Upload-Offset, HEAD, PATCH, Upload-Checksum). Every chunk carries its SHA-256. It
is on the disk, and then noted in the file's journal, before it is acknowledged; what is there and not noted is cut off
by the next chunk. So whatever is killed at any point, nothing acknowledged is lost and nothing half-written counts.
How much may lie here is bounded when an upload begins: by all sizes that were named.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, NamedTuple

from pydantic import Field, ValidationError, field_validator

from appliance.config import Home
from appliance.errors import Conflict, LimitExceeded, NotFound, Unavailable, UsageError, VerificationFailed
from appliance.private import replace_private
from appliance.settings import ConsoleSettings
from appliance.work import Noun, utcnow

CHUNK = 8 * 1024 * 1024
"""Bytes of one chunk at most."""
MOST_FILES = 2000
SPARE = 256 * 1024 * 1024
"""Bytes of disk that must stay free, so that the ledger can still be written."""
GIB = 1024**3
NAME = re.compile(r"[^\s/\\.][^/\\]{0,199}")


class NewFile(Noun):
    """A file that is to come."""

    name: str = Field(description="without folders")
    size_bytes: int = Field(gt=0)

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not NAME.fullmatch(name) or not name.isprintable():
            raise ValueError("a file's name has no folders, no dot in front, and 200 characters at most")
        return name


class ModelOrder(Noun):
    """How a model is to be imported; all of it may be left out."""

    id: str = Field("", max_length=200, description="its name; else from the file's name")
    licence: str = Field("", max_length=200, description="of the weights, as SPDX names it")
    tasks: tuple[str, ...] = Field((), max_length=20, description="what it may do on your word")
    aliases: tuple[str, ...] = Field((), max_length=20, description="other names for it")
    base: str = Field("", max_length=200, description="the model that an adapter belongs to")

    @property
    def words(self) -> tuple[str, ...]:
        """As options of `appliance model import`."""
        one = {"--id": self.id, "--licence": self.licence, "--base": self.base}
        found = [f"{option}={value}" for option, value in one.items() if value]
        found += [f"--task={task}" for task in self.tasks] + [f"--alias={alias}" for alias in self.aliases]
        return tuple(found)


class NewUpload(ModelOrder):
    """A model whose files are to come."""

    files: tuple[NewFile, ...] = Field(min_length=1, max_length=MOST_FILES)

    @field_validator("files")
    @classmethod
    def _are_different(cls, files: tuple[NewFile, ...]) -> tuple[NewFile, ...]:
        if len({one.name for one in files}) != len(files):
            raise ValueError("two files have the same name")
        return files


class Chunk(NamedTuple):
    """One that is here: bytes, and their SHA-256 as hexadecimal digits."""

    length: int
    sha256: str


class Arrived(Noun):
    """How much of a file is here. The first and the last chunk tell whether a file that goes on is the same one."""

    name: str
    size_bytes: int
    offset: int
    first: Chunk | None = None
    last: Chunk | None = None


class Upload(Noun):
    """A model on its way in."""

    id: str
    by: str
    begun: datetime
    order: ModelOrder
    files: tuple[NewFile, ...]

    @property
    def size_bytes(self) -> int:
        """Of all files, once they are here."""
        return sum(one.size_bytes for one in self.files)


class Uploads:
    """What is on its way into one home. One process alone may have it."""

    def __init__(self, home: Home, settings: ConsoleSettings) -> None:
        self._folder = home.spool / "uploads"
        self._settings = settings
        self._lock = threading.Lock()
        self._busy: set[str] = set()

    def begin(self, asked: NewUpload, by: str) -> Upload:
        """Make room for a model. Raises LimitExceeded when there is none."""
        with self._lock:
            self._check_room(sum(one.size_bytes for one in asked.files))
            order = ModelOrder(**{name: getattr(asked, name) for name in ModelOrder.model_fields})
            upload = Upload(id=f"U-{secrets.token_hex(6)}", by=by, begun=utcnow(), order=order, files=asked.files)
            self.files_of(upload.id).mkdir(parents=True, mode=0o700)
            self.keep(upload)
        return upload

    def every(self) -> list[Upload]:
        """All that is on its way, the newest first."""
        found = []
        for folder in self._folder.glob("U-*"):
            with suppress(NotFound):
                found.append(self.get(folder.name))
        return sorted(found, key=lambda one: one.begun, reverse=True)

    def get(self, id: str) -> Upload:
        """Raises NotFound."""
        try:
            if not re.fullmatch(r"U-[0-9a-f]{12}", id):
                raise FileNotFoundError
            return Upload.model_validate_json((self._folder / id / "about.json").read_bytes())
        except (OSError, ValidationError) as error:
            raise NotFound(f"there is no upload {id!r}", "it is done, or was removed; begin a new one") from error

    def arrived(self, upload: Upload) -> list[Arrived]:
        """How much of each file is here."""
        return [self.file(upload, number) for number in range(len(upload.files))]

    def file(self, upload: Upload, number: int) -> Arrived:
        """How much of one file is here, by its number from 0. Raises NotFound."""
        if not 0 <= number < len(upload.files):
            raise NotFound(f"{upload.id} has no file {number}", f"it has {len(upload.files)}, numbered from 0")
        about, chunks = upload.files[number], self._chunks(upload.id, number)
        return Arrived(
            name=about.name, size_bytes=about.size_bytes, offset=sum(one.length for one in chunks),
            first=chunks[0] if chunks else None, last=chunks[-1] if chunks else None,
        )  # fmt: skip

    def take(self, id: str, number: int, offset: int, content: bytes, checksum: str) -> int:
        """Keep a chunk that begins at `offset`; returns where the next one begins.

        Raises:
            NotFound: no such upload or file.
            Conflict: it begins elsewhere than the last one ended, or another chunk of this file is being written.
            VerificationFailed: it is not what its checksum says.
            LimitExceeded: it would go beyond the file's end, or the disk is full.
        """
        with self._alone(id, number):
            upload = self.get(id)
            now = self.file(upload, number)
            if offset != now.offset:
                raise Conflict(
                    f"{now.name} goes on at byte {now.offset}, not at {offset}", "ask with HEAD, go on there"
                )
            if not content or offset + len(content) > now.size_bytes:
                raise LimitExceeded(f"{now.name} has {now.size_bytes} bytes, as was said", "send no more, and no less")
            found = hashlib.sha256(content).digest()
            if found != digest_of(checksum):
                raise VerificationFailed(f"a chunk of {now.name} came in other than it was sent", "send it again")
            if shutil.disk_usage(self._folder).free < SPARE + len(content):
                raise LimitExceeded(
                    "the disk is nearly full", "make room; what is here stays, and it goes on from there"
                )
            self._write(id, number, offset, content, found.hex())
            return offset + len(content)

    def whole(self, upload: Upload) -> bool:
        """Is every byte here?"""
        return all(one.offset == one.size_bytes for one in self.arrived(upload))

    def path(self, upload: Upload) -> Path:
        """What is imported: the file, or the folder of several."""
        folder = self.files_of(upload.id)
        return folder / upload.files[0].name if len(upload.files) == 1 else folder

    def folder_of(self, id: str) -> Path:
        """Where all of an upload lies."""
        return self._folder / id

    def files_of(self, id: str) -> Path:
        """Where the files of an upload lie, under their names."""
        return self._folder / id / "files"

    def keep(self, upload: Upload) -> None:
        """Write down what is known of an upload."""
        replace_private(self._folder / upload.id / "about.json", upload.model_dump_json().encode())

    def remove(self, id: str) -> None:
        """Let go of an upload and what came of it. Raises NotFound."""
        self.get(id)
        (self._folder / id / "about.json").unlink(missing_ok=True)  # first: what is half removed is no upload
        shutil.rmtree(self._folder / id, ignore_errors=True)

    def forget_old(self, at_work: Sequence[str]) -> list[str]:
        """Remove what nobody has gone on with for `console.upload_hours`, but for what a task works on."""
        before = utcnow() - timedelta(hours=self._settings.upload_hours)
        gone = []
        for folder in self._folder.glob("U-*"):
            newest = max((file.stat().st_mtime for file in [folder, *folder.glob("*")]), default=0.0)
            if newest < before.timestamp() and folder.name not in at_work:
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder.name)
        return gone

    # --- inside

    def _check_room(self, size: int) -> None:
        """For the files, and for the copy that the import makes of them before they are let go."""
        under_way = [(one, sum(part.offset for part in self.arrived(one))) for one in self.every()]
        named = sum(one.size_bytes for one, _ in under_way)
        if named + size > self._settings.upload_gb * GIB:
            raise LimitExceeded(
                f"{(named + size) / GIB:.1f} GiB would be on their way in, more than {self._settings.upload_gb:g}",
                "let go of another upload, or raise console.upload_gb",
            )
        to_come = sum(one.size_bytes - here for one, here in under_way)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        free, needed = shutil.disk_usage(self._folder).free, to_come + 2 * size + SPARE
        if free < needed:
            raise LimitExceeded(
                f"it needs {needed / GIB:.1f} GiB until it is imported; the disk has {free / GIB:.1f}",
                "make room, or copy the files to the machine and import them by their path",
            )

    @contextmanager
    def _alone(self, id: str, number: int) -> Iterator[None]:
        key = f"{id}/{number}"
        with self._lock:
            if key in self._busy:
                raise Conflict("another chunk of this file is being written", "ask with HEAD where it goes on")
            self._busy.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(key)

    def _write(self, id: str, number: int, offset: int, content: bytes, sha256: str) -> None:
        upload = self.get(id)
        try:
            with _opened(self.files_of(id) / upload.files[number].name) as out:
                out.truncate(offset)
                out.seek(offset)
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            noted = b"".join(f"{one.length} {one.sha256}\n".encode() for one in self._chunks(id, number))
            with _opened(self._journal(id, number)) as journal:
                journal.truncate(len(noted))  # a line that a power cut broke off
                journal.seek(len(noted))
                journal.write(f"{len(content)} {sha256}\n".encode())
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise LimitExceeded("the disk is full", "make room; it goes on from what is here") from error
            raise Unavailable(f"the chunk cannot be kept: {error.strerror}", "look at the disk") from error

    def _journal(self, id: str, number: int) -> Path:
        return self._folder / id / f"{number}.chunks"

    def _chunks(self, id: str, number: int) -> list[Chunk]:
        """The chunks that were noted. A line that a power cut broke off counts as not there, and so do those after."""
        found: list[Chunk] = []
        with suppress(FileNotFoundError):
            for line in self._journal(id, number).read_bytes().splitlines(keepends=True):
                told = re.fullmatch(rb"(\d{1,9}) ([0-9a-f]{64})\n", line)
                if told is None:
                    break
                found.append(Chunk(int(told[1]), told[2].decode()))
        return found


def digest_of(checksum: str) -> bytes:
    """The SHA-256 in a header `Upload-Checksum: sha256 BASE64`. Raises UsageError."""
    name, _, digits = checksum.partition(" ")
    try:
        found = base64.b64decode(digits, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if name != "sha256" or len(found) != hashlib.sha256().digest_size:
        raise UsageError("a chunk needs its checksum", "Upload-Checksum: sha256 and the SHA-256 of its bytes in base64")
    return found


def _opened(file: Path) -> IO[bytes]:
    return os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "r+b")
