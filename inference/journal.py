"""Keeps what keys have used: an append-only file of records that all gateway workers share.

Whoever wants to change the counts takes a lock, reads what others have appended, decides, and appends with one write.
The state is in memory, the truth is in the file: a worker killed at any moment loses nothing it has answered for, and
a record it was writing is cut off by the next one. A power cut may lose what was written in the last second
(`sync` is called once a second). The reasons are in control/help/decisions/key-counts.md.

No call may wait between taking the lock and giving it back.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import orjson

from appliance.errors import Unavailable
from inference.counts import GONE, Counts, Record

log = logging.getLogger("inference.journal")

FILE = "key-counts.jsonl"
LOCK_SECONDS = 5.0
"""Longest wait for the lock, which others hold for microseconds."""
LOCK_PAUSE = 0.0005
COMPACT_BYTES = 4 * 1024 * 1024
"""Size at which the file is written anew: some 25,000 calls, a fifth of a second to read."""
FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
ALIVE = "gateway-worker-"
"""Beginning of the names of the files that living workers hold locked."""


class Journal:
    """The counts, as this process knows them, and the file behind them."""

    def __init__(self, folder: Path, pause: Callable[[float], object] = time.sleep) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / FILE
        self.counts = Counts()
        self._pause = pause
        self._lock = os.open(folder / f"{FILE}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._handle = os.open(self.file, FLAGS, 0o600)
        self._position = 0
        self._unsynced = False
        self._turn = Turn(self)

    def turn(self) -> Turn:
        """`with` it: the counts as they are now; nobody else changes them meanwhile.

        Raises:
            Unavailable: another process does not give the lock back, or the file cannot be read or written.
        """
        return self._turn

    def append(self, *records: Record) -> None:
        """Write records and take them over; only within a turn. Raises OSError when the disk does not take them."""
        raw = b"".join(orjson.dumps(record) + b"\n" for record in records)
        written = os.write(self._handle, raw)
        if written != len(raw):
            os.ftruncate(self._handle, self._position)
            raise OSError(28, "no space left on the disk")
        self._position += written
        self._unsynced = True
        for record in records:
            self.counts.apply(record)

    def sync(self) -> None:
        """Make what was written outlive a power cut. Waits for the disk: not for the way of a call."""
        if self._unsynced:
            self._unsynced = False
            handle = os.dup(self._handle)
            try:
                os.fdatasync(handle)
            finally:
                os.close(handle)

    def compact(self, limit: int = COMPACT_BYTES) -> bool:
        """Write the file anew, as one record, when it is longer than `limit`; whether that was done."""
        if self._position <= limit:
            return False
        with self.turn():
            if self._position <= limit:
                return False
            draft = self.file.with_suffix(".new")
            handle = os.open(draft, FLAGS | os.O_TRUNC, 0o600)
            try:
                raw = orjson.dumps(self.counts.snapshot()) + b"\n"
                if os.write(handle, raw) != len(raw):
                    raise OSError(28, "no space left on the disk")
                os.fsync(handle)
                draft.replace(self.file)
            except BaseException:
                os.close(handle)
                draft.unlink(missing_ok=True)
                raise
            os.close(self._handle)
            self._handle, self._position = handle, len(raw)
            return True

    def close(self) -> None:
        os.close(self._handle)
        os.close(self._lock)

    def give_back(self, error: BaseException | None) -> None:
        """Let others have the lock. Raises Unavailable for an OSError."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        if isinstance(error, OSError):
            raise Unavailable(
                f"cannot count what keys use in {self.file}: {error.strerror}", "free space, or mend the disk"
            ) from error

    def take(self) -> None:
        """Take the lock and take over what others have written. Raises Unavailable."""
        self._take_lock()
        try:
            self._catch_up()
        except BaseException as error:
            self.give_back(error)
            raise

    def _take_lock(self) -> None:
        until = 0.0
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                until = until or time.monotonic() + LOCK_SECONDS
                if time.monotonic() > until:
                    raise Unavailable(
                        f"another process holds {self.file}.lock", "stop the gateway process that hangs"
                    ) from None
                self._pause(LOCK_PAUSE)

    def _catch_up(self) -> None:
        """Take over what others have written since the last look."""
        stat = os.fstat(self._handle)
        if stat.st_nlink == 0:  # written anew by another worker, or removed by a person
            os.close(self._handle)
            self._handle = os.open(self.file, FLAGS, 0o600)
            stat = os.fstat(self._handle)
            self._position = 0
            if stat.st_size == 0:
                self.append(self.counts.snapshot())
                return
            self.counts = Counts()
        elif stat.st_size < self._position:
            log.error("%s was cut: counting goes on from what is left", self.file)
            self.counts, self._position = Counts(), 0
        if stat.st_size == self._position:
            return
        raw = _read(self._handle, self._position, stat.st_size)
        whole = raw.rfind(b"\n") + 1
        if whole < len(raw):  # its writer was killed in the middle and has answered nobody
            os.ftruncate(self._handle, self._position + whole)
        take_over(self.counts, raw[:whole])
        self._position += whole


class Turn:
    """The lock of a journal, held inside `with`. A class, as this lies on the way of every call."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __enter__(self) -> Counts:
        self._journal.take()
        return self._journal.counts

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._journal.give_back(error)


def _read(handle: int, start: int, end: int) -> bytes:
    pieces = []
    while start < end and (piece := os.pread(handle, end - start, start)):
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)


def take_over(counts: Counts, raw: bytes) -> None:
    """Apply whole lines. A damaged one is named in the log and passed over: the others still count."""
    for line in raw.splitlines():
        try:
            counts.apply(orjson.loads(line))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            log.error("a record of what keys use cannot be read: %s: %r", error, line[:200])


def read_counts(folder: Path) -> Counts:
    """The counts as the file has them now, without taking part."""
    counts = Counts()
    with suppress(FileNotFoundError):
        raw = (folder / FILE).read_bytes()
        take_over(counts, raw[: raw.rfind(b"\n") + 1])
    return counts


class Alive:
    """A worker's sign of life: a locked file, which the kernel lets go when the process dies in whatever way."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = secrets.token_hex(4)
        self._folder = folder
        draft = folder / f".{ALIVE}{self.name}"
        self._handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        draft.replace(self._file(self.name))  # never seen unlocked, which would look dead

    def _file(self, name: str) -> Path:
        return self._folder / f"{ALIVE}{name}"

    def others_dead(self, workers: set[str]) -> list[str]:
        """Those of these workers that live no more."""
        return sorted(name for name in workers - {self.name} if self._dead(name))

    def _dead(self, name: str) -> bool:
        try:
            handle = os.open(self._file(name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def bury(self, journal: Journal, now: float) -> list[str]:
        """End the calls of workers that died, as far as they had come; the names of those workers."""
        with journal.turn() as counts:
            dead = self.others_dead({call.worker for call in counts.open.values()})
            if dead:
                journal.append(*([GONE, now, name] for name in dead))
        for file in self._folder.glob(f"{ALIVE}*"):
            if self.others_dead({file.name.removeprefix(ALIVE)}):
                file.unlink(missing_ok=True)
        return dead

    def close(self) -> None:
        """Die in order."""
        self._file(self.name).unlink(missing_ok=True)
        os.close(self._handle)
