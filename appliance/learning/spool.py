"""The gateway's spool, read by file and byte offset: `spool/usage-DATE.jsonl`, one JSON line for each call.

The gateway appends whole lines with one write each. A line without its end may still be written, so it waits; a line
that is no JSON (a full disk cut it off, and the next one came right after it) is for the store to count and pass over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

NAME = re.compile(r"usage-[0-9]{8}\.jsonl")

CHUNK_BYTES = 16 * 1024 * 1024
"""Read at once: about 20,000 calls."""


@dataclass(frozen=True)
class Chunk:
    """Whole lines of one file."""

    file: str
    start: int
    """Byte offset of the first line."""
    end: int
    """Byte offset after the last line."""
    text: str
    lines: int


def files(folder: Path) -> list[Path]:
    """The files of calls in a spool, oldest day first."""
    found = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(file for file in found if NAME.fullmatch(file.name))


def day_of(name: str) -> str:
    """The day of a file, as 20261126."""
    return name.removeprefix("usage-").removesuffix(".jsonl")


def chunk_at(file: Path, start: int, limit: int = 0) -> Chunk | None:
    """The next whole lines of a file, of at most `limit` bytes; None when there is none, or no file."""
    limit = limit or CHUNK_BYTES
    try:
        with file.open("rb") as source:
            source.seek(start)
            raw = source.read(limit)
            whole = raw[: raw.rfind(b"\n") + 1]
            if not whole and len(raw) == limit:
                return _overlong(file.name, start, source, limit)
    except FileNotFoundError:
        return None
    if not whole:
        return None
    text = whole[:-1].decode("utf-8", "replace")
    return Chunk(file.name, start, start + len(whole), text, whole.count(b"\n"))


def _overlong(name: str, start: int, source: BinaryIO, limit: int) -> Chunk | None:
    """A line that no gateway wrote: found to its end, so that what follows it is read. None while it has no end."""
    length = limit
    while piece := source.readline(limit):
        length += len(piece)
        if piece.endswith(b"\n"):
            return Chunk(name, start, start + length, "", 1)
    return None
