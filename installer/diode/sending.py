"""Writes a file or folder into a drop folder: its list first, then its chunks, each whole or not there at all."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from installer.diode.parcel import (
    LARGEST_CHUNK,
    MOST_FILES,
    Item,
    Parcel,
    chunk_name,
    encoded,
    list_name,
    numbers,
    safe,
)
from installer.errors import InstallError
from installer.target.places import settle
from installer.terminal import Terminal, elapsed

BLOCK = 1 << 20


def export(source: Path, drop: Path, terminal: Terminal, megabytes: int = 64, only: str = "") -> Parcel:
    """Write `source` into `drop`; again after a cut it goes on, and with `only` it writes those chunks anew.

    Args:
        megabytes: of a chunk (MiB), 1 to 1,024.
        only: numbers of chunks that the other side lacks, as it said them: `3-5,9`.

    Raises:
        InstallError: the source is neither file nor folder, holds links or devices, or changed meanwhile.
    """
    started = time.monotonic()
    if not 1 <= megabytes <= LARGEST_CHUNK >> 20:
        raise InstallError(f"{megabytes} MiB are no size of a chunk", f"1 to {LARGEST_CHUNK >> 20}")
    parcel = described(source, megabytes << 20, terminal)
    drop.mkdir(parents=True, exist_ok=True)
    _write(drop / list_name(parcel.id), encoded(parcel))
    wanted = set(numbers(only, len(parcel.chunks))) if only else None
    for number, block in enumerate(_blocks(source, parcel), 1):
        if hashlib.sha256(block).hexdigest() != parcel.chunks[number - 1]:
            raise InstallError(f"{source} changed while it was exported", "export what nobody writes to")
        file = drop / chunk_name(parcel.id, number)
        if (wanted is None and not _there(file, parcel, number)) or number in (wanted or ()):
            _write(file, block)
        terminal.working("export", time.monotonic() - started, number / len(parcel.chunks), f"chunk {number}")
    count, size = len(parcel.chunks), parcel.size
    terminal.say(f"{parcel.id}: {count} chunks, {size / 1e6:.0f} MB in {elapsed(time.monotonic() - started)}")
    terminal.say(
        f"on the other side: receive --drop DIR --to DIR; it says which chunks it lacks (sha256 {parcel.sha256})"
    )
    return parcel


def described(source: Path, chunk: int, terminal: Terminal) -> Parcel:
    """The list of a file or folder, read once."""
    started, read = time.monotonic(), 0
    items = tuple(_items(source))
    size = sum(item.size for item in items)
    whole, digests = hashlib.sha256(), []
    for block in _stream(source, items, chunk):
        whole.update(block)
        digests.append(hashlib.sha256(block).hexdigest())
        read += len(block)
        terminal.working("list", time.monotonic() - started, read / max(1, size), f"{read / 1e6:.0f} MB")
    if read != size:
        raise InstallError(f"{source} changed while it was listed", "export what nobody writes to")
    return Parcel(source.absolute().name, source.is_dir(), items, chunk, whole.hexdigest(), tuple(digests))


def _items(source: Path) -> Iterator[Item]:
    if not source.is_dir() or source.is_symlink():
        yield _item(source, "")
        return
    found = 0
    for folder, _, names in sorted(os.walk(source)):
        for name in sorted(names):
            path = (Path(folder) / name).relative_to(source).as_posix()
            found += 1
            if not safe(path) or found > MOST_FILES:
                raise InstallError(f"{path!r} cannot travel", f"printable names, at most {MOST_FILES:,} files")
            yield _item(source / path, path)
        for place in Path(folder).iterdir():
            if place.is_symlink():
                raise InstallError(f"{place} is a link", "export what it points to, or remove it")


def _item(file: Path, path: str) -> Item:
    try:
        state = file.lstat()
    except OSError as error:
        raise InstallError(f"{file} cannot be read: {error.strerror}", "name a file or a folder") from error
    if not stat.S_ISREG(state.st_mode):
        raise InstallError(f"{file} is no plain file", "only files and folders travel")
    return Item(path, state.st_size, bool(state.st_mode & 0o100))


def _blocks(source: Path, parcel: Parcel) -> Iterator[bytes]:
    return _stream(source, parcel.items, parcel.chunk)


def _stream(source: Path, items: tuple[Item, ...], chunk: int) -> Iterator[bytes]:
    """The bytes of all files in pieces of a chunk, the last one shorter."""
    held = bytearray()
    for item in items:
        with (source / item.path if item.path else source).open("rb") as stream:
            left = item.size
            while left and (block := stream.read(min(BLOCK, left))):
                left -= len(block)
                held += block
                while len(held) >= chunk:
                    yield bytes(held[:chunk])
                    del held[:chunk]
    if held:
        yield bytes(held)


def _there(file: Path, parcel: Parcel, number: int) -> bool:
    try:
        if file.stat().st_size != parcel.length(number):
            return False
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == parcel.chunks[number - 1]
    except OSError:
        return False


def _write(file: Path, content: bytes) -> None:
    half = file.with_name("." + file.name + ".part")
    with half.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    half.replace(file)
    settle(file.parent)
