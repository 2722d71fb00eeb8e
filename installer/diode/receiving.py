"""Puts a parcel together from a drop folder: in any order, over several tries, and never a half one.

What came is kept below the target in `.receiving-ID`: files as they fill, and the numbers of chunks that are in them
and durable. Only when the whole stream has its digest do they get the parcel's name; `.received-ID` says that they did.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from installer.diode.parcel import AGAIN, LIST, LONGEST, Parcel, chunk_name, list_name, parse, ranges
from installer.errors import InstallError, Refused
from installer.target.places import settle
from installer.terminal import Terminal, elapsed

BLOCK = 1 << 20
SPARE = 256 << 20
"""Bytes that stay free."""
FILES, JOURNAL = "files", "chunks"


@dataclass(frozen=True)
class Received:
    """How far a parcel is: where it lies once it is whole, else the numbers of the chunks it lacks."""

    parcel: Parcel
    place: Path | None
    lacking: tuple[int, ...] = ()
    damaged: tuple[int, ...] = ()


def receive(drop: Path, target: Path, terminal: Terminal, remove: bool = False) -> list[Received]:
    """Take in what a drop folder has of every parcel whose list is there.

    Args:
        remove: delete each chunk from the drop folder once it is kept, and the list once the parcel is whole.

    Raises:
        Refused: a list was damaged, or what was put together is not what was sent.
        InstallError: no list came, no room, or something of that name is there.
    """
    lists = {said[1] for file in drop.iterdir() if (said := LIST.fullmatch(file.name))}
    if not lists:
        raise InstallError(f"no list came into {drop} yet", "it is sent first: wait for it, or have it sent again")
    target.mkdir(parents=True, exist_ok=True)
    found, failed = [], []
    for name in sorted(lists):
        try:
            found.append(_parcel(drop, target, name, terminal, remove))
        except InstallError as error:  # one parcel does not hold up the others
            failed.append(error)
            terminal.say(f"{name}: {error.message}")
    if failed:
        raise failed[0]
    return found


def _parcel(drop: Path, target: Path, name: str, terminal: Terminal, remove: bool) -> Received:
    parcel = parse(_plain(drop / list_name(name), LONGEST), name)
    place, work, mark = target / parcel.name, target / f".receiving-{name}", target / f".received-{name}"
    if mark.exists():
        _clear(drop, parcel, work, remove)
        return Received(parcel, place)
    started = time.monotonic()
    kept = _prepared(work, parcel)
    damaged = []
    with (work / JOURNAL).open("a", encoding="ascii") as journal:
        _alone(journal.fileno(), work)
        for number in range(1, len(parcel.chunks) + 1):
            file = drop / chunk_name(name, number)
            if number not in kept and os.path.lexists(file):
                if not _taken(file, parcel, number, work / FILES):
                    damaged.append(number)
                    continue
                journal.write(f"{number}\n")
                journal.flush()
                os.fsync(journal.fileno())
                kept.add(number)
            if remove and number in kept:
                file.unlink(missing_ok=True)
            terminal.working("receive", time.monotonic() - started, number / len(parcel.chunks), f"chunk {number}")
        lacking = tuple(number for number in range(1, len(parcel.chunks) + 1) if number not in kept)
        if lacking:
            return Received(parcel, None, lacking, tuple(damaged))
        _finish(parcel, work, place, mark)
    _clear(drop, parcel, work, remove)
    terminal.say(f"{place}: {parcel.size / 1e6:.0f} MB, whole ({elapsed(time.monotonic() - started)})")
    return Received(parcel, place)


def told(found: Received) -> str:
    """What a person is told of a parcel that is not whole."""
    damaged = f", of which {ranges(found.damaged)} came damaged or are still on their way" if found.damaged else ""
    count = len(found.parcel.chunks)
    return (
        f"{found.parcel.name}: lacks {len(found.lacking)} of {count} chunks{damaged}; nothing was put in place. "
        f"On the sending side: export … --only {ranges(found.lacking)}"
    )


def _prepared(work: Path, parcel: Parcel) -> set[int]:
    """Make the files that will be filled; the numbers of the chunks that are in them by earlier tries."""
    files, journal = work / FILES, work / JOURNAL
    if not journal.exists():
        shutil.rmtree(work, ignore_errors=True)
        free = shutil.disk_usage(work.parent).free
        if free < parcel.size + SPARE:
            raise InstallError(
                f"{parcel.name} takes {parcel.size / 1e6:.0f} MB, {free / 1e6:.0f} MB are free", "make room"
            )
        files.mkdir(parents=True, mode=0o700)
        for item in parcel.items:
            file = files / item.path if item.path else files / parcel.name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o700 if item.executable else 0o600)
        os.sync()  # the names first, else a chunk could be told as kept in a file that a power cut took
        journal.touch()
        settle(work)
        return set()
    lines = journal.read_text("ascii").splitlines(keepends=True)
    return {int(line) for line in lines if line.endswith("\n") and line.strip().isdecimal()}


def _taken(file: Path, parcel: Parcel, number: int, files: Path) -> bool:
    """Put a chunk where it belongs, durable when this returns; False when it is not what was sent."""
    try:
        block = _plain(file, parcel.length(number))
    except Refused:
        return False
    if len(block) != parcel.length(number) or hashlib.sha256(block).hexdigest() != parcel.chunks[number - 1]:
        return False
    at = 0
    for span in parcel.spans(number):
        with (files / span.item.path if span.item.path else files / parcel.name).open("r+b") as copy:
            copy.seek(span.offset)
            copy.write(block[at : at + span.size])
            copy.flush()
            os.fsync(copy.fileno())
        at += span.size
    return True


def _finish(parcel: Parcel, work: Path, place: Path, mark: Path) -> None:
    """Hold the whole to its digest, then give it its name. What does not hold is begun anew by the next try."""
    source = work / FILES if parcel.folder else work / FILES / parcel.name
    if not source.exists() and place.exists():  # cut short between the two renames
        mark.touch()
        return
    whole = hashlib.sha256()
    for block in _stream(parcel, work / FILES):
        whole.update(block)
    if whole.hexdigest() != parcel.sha256:
        shutil.rmtree(work)
        raise Refused(f"{parcel.name} is not what was sent, though every chunk is", "this disk failed: receive it anew")
    if place.exists():
        raise InstallError(f"{place} is there already", "move it away, then run this again")
    source.rename(place)
    settle(place.parent)
    mark.touch()


def _clear(drop: Path, parcel: Parcel, work: Path, remove: bool) -> None:
    """Remove what a parcel that is in its place needs no longer."""
    shutil.rmtree(work, ignore_errors=True)
    if remove:
        for name in (
            *(chunk_name(parcel.id, number) for number in range(1, len(parcel.chunks) + 1)),
            list_name(parcel.id),
        ):
            (drop / name).unlink(missing_ok=True)


def _stream(parcel: Parcel, files: Path) -> Iterator[bytes]:
    for item in parcel.items:
        with (files / item.path if item.path else files / parcel.name).open("rb") as stream:
            while block := stream.read(BLOCK):
                yield block


def _plain(file: Path, longest: int) -> bytes:
    """The bytes of a plain file of at most that length. Raises Refused."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"{file.name} cannot be read: {error.strerror}", AGAIN) from error
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode) or state.st_size > longest:
            raise Refused(f"{file.name} is no plain file of at most {longest} bytes", AGAIN)
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read(longest + 1)
    finally:
        os.close(handle)


def _alone(handle: int, work: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InstallError(f"another run receives into {work}", "wait for it, then run this again") from error
