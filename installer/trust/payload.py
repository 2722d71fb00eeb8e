"""A medium's files held to its manifest: each is read once, checked while it is copied, and used from the copy alone.

What is not a plain file with one name is never opened, and a file whose length is not the listed one is not read, so
links, devices, pipes and huge sparse files cost nothing. Large files are copied in chunks, each with a digest of its
own and durable before the next: a copy that was cut short is read again and goes on behind the last chunk that holds.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from installer.errors import InstallError, Refused
from installer.trust.manifest import CHUNK, Entry, Joined, Manifest
from installer.trust.metadata import TAMPERED

BLOCK = 1 << 20
SIGNED_APART = re.compile(
    r"metadata/(?:\d{1,4}\.root|timestamp|snapshot|targets)\.json|first/[0-9a-f]{64}\.(?:pem|sig)"
)
"""Files that the manifest does not list: itself, and what is checked by hand before it."""

Report = Callable[[int], None]
"""Told of the bytes that were read since it was called last."""


@dataclass(frozen=True)
class Piece:
    """What is copied and checked at a time: `size` bytes from `offset` on of a listed file that lies below `folder`."""

    folder: Path
    entry: Entry
    offset: int
    size: int
    sha256: str


def listed(medium: Path, manifest: Manifest, lacking: frozenset[str] = frozenset()) -> None:
    """See that the medium has the listed files and no others, each a plain file of the listed length.

    Args:
        lacking: paths that may be missing, beside those that a delta leaves out.

    Raises:
        Refused: one is missing, extra, a link, a device, or of another length.
    """
    wanted = {entry.path: entry for entry in manifest.files}
    found = set()
    for name, state in _walk(medium):
        if not stat.S_ISREG(state.st_mode):
            raise Refused(f"{name} is no plain file", TAMPERED)
        if SIGNED_APART.fullmatch(name):
            continue
        if name not in wanted:
            raise Refused(f"{name} is not listed in the manifest", TAMPERED)
        _plain(name, state, wanted[name].size)
        found.add(name)
    missing = sorted(set(wanted) - found - manifest.absent - lacking)
    if missing:
        raise Refused(f"{len(missing)} listed files are missing, {missing[0]} first", TAMPERED)


def check(medium: Path, entry: Entry, report: Report = lambda _: None) -> None:
    """Read one file and hold it to its digest. Raises Refused."""
    whole = hashlib.sha256()
    with _opened(medium, entry) as source:
        for piece in pieces(medium, entry):
            _held(source, piece, whole, None, report)
    if whole.hexdigest() != entry.sha256:
        raise _not_signed(entry)


def stage(medium: Path, entry: Entry, staging: Path, report: Report = lambda _: None) -> Path:
    """Copy one file into the staging folder, checked while it is copied, durable when this returns.

    A copy that is there and holds is kept, one that was cut short goes on.

    Raises:
        Refused: it is not what was signed; at most chunks that hold are left, below another name.
        InstallError: the medium or this disk failed.
    """
    return assemble(pieces(medium, entry), entry.sha256, staging / entry.path, report)


def join(medium: Path, file: Joined, manifest: Manifest, target: Path, report: Report = lambda _: None) -> Path:
    """Copy a file that lies on the medium in parts, as `stage` does. Raises as `stage` does."""
    parts = {entry.path: entry for entry in manifest.files}
    return assemble([one for part in file.parts for one in pieces(medium, parts[part])], file.sha256, target, report)


def pieces(folder: Path, entry: Entry) -> list[Piece]:
    """A file in the chunks that have digests; a small one is a single piece."""
    if not entry.chunks:
        return [Piece(folder, entry, 0, entry.size, entry.sha256)]
    return [
        Piece(folder, entry, number * CHUNK, min(CHUNK, entry.size - number * CHUNK), digest)
        for number, digest in enumerate(entry.chunks)
    ]


def assemble(wanted: Sequence[Piece], sha256: str, target: Path, report: Report) -> Path:
    """Write pieces one after another into one file, going on behind those that an earlier try wrote and that hold."""
    size = sum(piece.size for piece in wanted)
    half = target.with_name(target.name + ".part")
    try:
        if target.is_file() and not target.is_symlink():
            target.replace(half)  # a copy of before is judged like one that was cut short
        target.parent.mkdir(parents=True, exist_ok=True)
        if not half.is_file() or half.is_symlink():
            half.unlink(missing_ok=True)
            half.touch(mode=0o600)
        with half.open("r+b") as copy:
            whole = _written(wanted, copy, report)
            if whole != sha256 or copy.tell() != size:
                copy.truncate(0)
                raise _not_signed(wanted[0].entry)
            os.fsync(copy.fileno())
        half.replace(target)
    except OSError as error:
        message = f"cannot copy {wanted[0].entry.path}: {error.strerror}"
        raise InstallError(message, "make room or mend the medium, then run this again: it goes on") from error
    finally:
        if half.is_file() and half.stat().st_size == 0 and not target.exists():
            half.unlink()
    return target


def _written(wanted: Sequence[Piece], copy: BinaryIO, report: Report) -> str:
    """Fill a file with the pieces; the SHA-256 of the whole. After a failure it ends behind the last that holds."""
    whole, number = hashlib.sha256(), 0
    while number < len(wanted):
        known, piece = whole.copy(), wanted[number]
        try:
            _held(copy, piece, known, None, report)
        except Refused:
            break
        whole, number = known, number + 1
    kept = sum(piece.size for piece in wanted[:number])
    copy.truncate(kept)
    copy.seek(kept)
    for piece in wanted[number:]:
        try:
            with _opened(piece.folder, piece.entry) as source:
                source.seek(piece.offset)
                _held(source, piece, whole, copy, report)
            copy.flush()
            os.fsync(copy.fileno())
        except BaseException:
            copy.seek(kept)
            copy.truncate()
            raise
        kept += piece.size
    return whole.hexdigest()


def _held(source: BinaryIO, piece: Piece, whole: hashlib._Hash, copy: BinaryIO | None, report: Report) -> None:
    """Read one piece from where `source` stands, and hold it to its digest. Raises Refused."""
    seen, left = hashlib.sha256(), piece.size
    while left and (block := source.read(min(BLOCK, left))):
        left -= len(block)
        seen.update(block)
        whole.update(block)
        if copy is not None:
            copy.write(block)
        report(len(block))
    if left or seen.hexdigest() != piece.sha256:
        raise _not_signed(piece.entry)


def _not_signed(entry: Entry) -> Refused:
    return Refused(f"{entry.path} is not what was signed", TAMPERED)


def _opened(folder: Path, entry: Entry) -> BinaryIO:
    try:
        handle = os.open(folder / entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"{entry.path} cannot be read: {error.strerror}", TAMPERED) from error
    try:
        _plain(entry.path, os.fstat(handle), entry.size)
    except Refused:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def _plain(name: str, state: os.stat_result, size: int) -> None:
    if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
        raise Refused(f"{name} is no plain file with one name", TAMPERED)
    if state.st_size != size:
        raise Refused(f"{name} has {state.st_size} bytes, {size} were signed", TAMPERED)


def _walk(folder: Path, below: str = "", depth: int = 0) -> Iterator[tuple[str, os.stat_result]]:
    if depth > 8:
        raise Refused(f"{below} lies too deep", TAMPERED)
    with os.scandir(folder) as found:
        for one in sorted(found, key=lambda entry: entry.name):
            state = one.stat(follow_symlinks=False)
            if stat.S_ISDIR(state.st_mode):
                yield from _walk(folder / one.name, f"{below}{one.name}/", depth + 1)
            else:
                yield f"{below}{one.name}", state
