"""A copy that goes on where it stopped: bytes, their hash, and a journal of how far both are on the disk.

After every chunk the copy is synced and the journal says how many bytes are there and what they hash to. A copy that
was killed, or whose medium went away, goes on after the last chunk in the journal whose bytes are still what it says;
so nothing half-written and nothing rotten is ever built upon.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from appliance.errors import LimitExceeded, Unavailable
from models.card import CardFile
from models.registry import CHUNK, BytesDone

JOURNAL = ".copied.json"
SAMPLE = 1024 * 1024
"""Bytes at both ends of a file that stand for its content when an interrupted copy is looked up again."""


@dataclass(frozen=True)
class Item:
    """One file to copy: where from, and its name in the copy."""

    source: Path
    name: str


@dataclass(frozen=True)
class Copied:
    """A finished copy."""

    files: tuple[CardFile, ...]
    resumed_bytes: int
    """Bytes that an earlier try had copied already."""


def fingerprint(items: Sequence[Item]) -> str:
    """The same for the same files, wherever they lie: names, sizes, times, and both ends of each.

    Raises:
        Unavailable: a file cannot be read.
    """
    digest = hashlib.sha256()
    for item in items:
        with _told(item.source), item.source.open("rb") as stream:
            stat = os.fstat(stream.fileno())
            digest.update(f"{item.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
            digest.update(stream.read(SAMPLE))
            stream.seek(max(0, stat.st_size - SAMPLE))
            digest.update(stream.read(SAMPLE))
    return digest.hexdigest()[:16]


def copy(items: Sequence[Item], folder: Path, progress: BytesDone) -> Copied:
    """Copy all files into `folder`, going on where an earlier try stopped; all is on the disk when this returns.

    Raises:
        LimitExceeded: the disk is full; what is copied stays.
        Unavailable: the source cannot be read to its end; what is copied stays.
    """
    job = _Job(folder, sum(item.source.stat().st_size for item in items), progress)
    return Copied(tuple(job.file(item) for item in items), job.resumed)


class _Job:
    """One copy of some files, with one count of bytes over all of them."""

    def __init__(self, folder: Path, total: int, progress: BytesDone) -> None:
        self._folder = folder
        self._total = total
        self._progress = progress
        self._done = 0
        self.resumed = 0
        self._journal: dict[str, Any] = _read_journal(folder / JOURNAL)

    def file(self, item: Item) -> CardFile:
        target = self._folder / item.name
        target.parent.mkdir(exist_ok=True)
        with _told(item.source), item.source.open("rb") as reader, _opened(target) as writer:
            digest, at = self._kept(writer, item.name)
            writer.seek(at)
            writer.truncate()
            reader.seek(at)
            while chunk := reader.read(CHUNK):
                digest.update(chunk)
                writer.write(chunk)
                writer.flush()
                os.fsync(writer.fileno())
                at += len(chunk)
                self._note(item.name, at, digest.hexdigest())
                self._advance(len(chunk))
        return CardFile(name=item.name, size_bytes=at, sha256=digest.hexdigest())

    def _kept(self, writer: BinaryIO, name: str) -> tuple[Any, int]:
        """Hash and length of what an earlier try left and the journal vouches for; nothing of both otherwise."""
        noted = self._journal.get(name)
        if noted is None:
            return hashlib.sha256(), 0
        length, expected = noted
        digest, left = hashlib.sha256(), length
        while left and (chunk := writer.read(min(CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
        if left or digest.hexdigest() != expected:
            return hashlib.sha256(), 0
        self.resumed += length
        self._advance(length)
        return digest, length

    def _note(self, name: str, length: int, sha256: str) -> None:
        self._journal[name] = [length, sha256]
        new = self._folder / f"{JOURNAL}.new"
        new.write_text(json.dumps(self._journal), encoding="utf-8")
        new.replace(self._folder / JOURNAL)

    def _advance(self, length: int) -> None:
        self._done += length
        self._progress(self._done, self._total)


def unfinished(folder: Path) -> int:
    """Bytes that a copy in `folder` has on the disk."""
    return sum(length for length, _ in _read_journal(folder / JOURNAL).values())


def _read_journal(file: Path) -> dict[str, Any]:
    """What it says of each file; nothing when it is missing or spoilt, and then the copy starts anew."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and all(_is_note(note) for note in found.values()) else {}


def _is_note(note: Any) -> bool:
    return isinstance(note, list) and len(note) == 2 and isinstance(note[0], int) and isinstance(note[1], str)


def _opened(target: Path) -> BinaryIO:
    """For reading and writing, whether it is there or not."""
    return os.fdopen(os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b")


@contextmanager
def _told(source: Path) -> Iterator[None]:
    """Puts what goes wrong with the disk or the medium into words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LimitExceeded(
                "the disk is full; what is copied stays", "make room and import again: it goes on where it stopped"
            ) from error
        raise Unavailable(
            f"cannot copy {source}: {error.strerror}",
            "check the medium and import again: it goes on where it stopped",
        ) from error
