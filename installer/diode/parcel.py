"""What travels: the files, one after another as one stream of bytes, and the digest of each chunk of that stream."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from installer.errors import Refused

FORMAT = 1
MOST_FILES = 200_000
MOST_BYTES = 2 << 40
MOST_CHUNKS = 1_000_000
LARGEST_CHUNK = 1 << 30
LONGEST = 128 << 20
"""Bytes of a list."""
AGAIN = "have it sent again"

LIST = re.compile(r"([0-9a-f]{32})\.0000000\.list")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Item:
    """One file: its path in the parcel (empty for a parcel that is one file), its bytes, whether it may be run."""

    path: str
    size: int
    executable: bool


@dataclass(frozen=True)
class Span:
    """A part of a chunk: `size` bytes of it, which belong into a file from `offset` on."""

    item: Item
    offset: int
    size: int


@dataclass(frozen=True)
class Parcel:
    """What a drop folder brings: its name, its files in the order of the stream, and digests (SHA-256, hexadecimal).

    `chunk` is the size of every chunk but the last in bytes; `sha256` is the whole stream's.
    """

    name: str
    folder: bool
    items: tuple[Item, ...]
    chunk: int
    sha256: str
    chunks: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of the stream."""
        return sum(item.size for item in self.items)

    @property
    def id(self) -> str:
        """Names the parcel's files in a drop folder: a digest of the list, so that a damaged list is none."""
        return hashlib.sha256(encoded(self)).hexdigest()[:32]

    def length(self, number: int) -> int:
        """Bytes of a chunk; the first has the number 1."""
        return min(self.chunk, self.size - (number - 1) * self.chunk)

    def spans(self, number: int) -> Iterator[Span]:
        """Where the bytes of a chunk belong, in their order."""
        start, end, at = (number - 1) * self.chunk, (number - 1) * self.chunk + self.length(number), 0
        for item in self.items:
            low, high = max(start, at), min(end, at + item.size)
            if low < high:
                yield Span(item, low - at, high - low)
            at += item.size
            if at >= end:
                return


def list_name(parcel: str) -> str:
    """The name of a parcel's list: first in order of names, so that whatever sends by name sends it first."""
    return f"{parcel}.0000000.list"


def chunk_name(parcel: str, number: int) -> str:
    """The name of a chunk."""
    return f"{parcel}.{number:07d}.chunk"


def encoded(parcel: Parcel) -> bytes:
    """The list as it is written."""
    return (json.dumps({"format": FORMAT, **asdict(parcel)}, sort_keys=True, separators=(",", ":")) + "\n").encode()


def parse(raw: bytes, called: str) -> Parcel:
    """Read a list that came under the id `called`.

    Raises:
        Refused: it was damaged on the way, or says what no export writes.
    """
    if len(raw) > LONGEST or hashlib.sha256(raw).hexdigest()[:32] != called:
        raise Refused(f"the list {called} was damaged on the way", AGAIN)
    try:
        found = json.loads(raw)
        items = tuple(_item(one) for one in found["items"])
        parcel = Parcel(
            found["name"], found["folder"] is True, items, found["chunk"], found["sha256"], tuple(found["chunks"])
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"the list {called} is none that an export writes", AGAIN) from error
    if found.get("format") != FORMAT or not _sound(parcel) or encoded(parcel) != raw:
        raise Refused(f"the list {called} is none that an export writes", "send it with the same version as receives")
    return parcel


def ranges(numbers: Sequence[int]) -> str:
    """Numbers as people write them: `3-5,9`."""
    said: list[list[int]] = []
    for number in sorted(numbers):
        if said and number == said[-1][1] + 1:
            said[-1][1] = number
        else:
            said.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in said)


def numbers(said: str, most: int) -> list[int]:
    """The numbers that `ranges` wrote. Raises Refused when they are none of 1 to `most`."""
    found: set[int] = set()
    for part in said.split(","):
        low, _, high = part.partition("-")
        if not low.isdecimal() or not (high or low).isdecimal() or not 1 <= int(low) <= int(high or low) <= most:
            raise Refused(f"{part!r} names no chunks of 1 to {most}", "as in 3-5,9")
        found |= set(range(int(low), int(high or low) + 1))
    return sorted(found)


def safe(path: str) -> bool:
    """Whether a path stays below the folder it is put into, on any system, and can be shown."""
    parts = path.split("/")
    return path.isprintable() and all(0 < len(part.encode()) <= 255 and part not in {".", ".."} for part in parts)


def _item(found: dict[str, Any]) -> Item:
    if set(found) != {"executable", "path", "size"}:
        raise ValueError
    return Item(found["path"], found["size"], found["executable"] is True)


def _sound(parcel: Parcel) -> bool:
    kinds = isinstance(parcel.name, str) and isinstance(parcel.chunk, int) and isinstance(parcel.sha256, str)
    if not kinds or len(parcel.items) > MOST_FILES or len(parcel.chunks) > MOST_CHUNKS:
        return False
    if not all(isinstance(one.path, str) and type(one.size) is int and one.size >= 0 for one in parcel.items):
        return False
    if not all(isinstance(one, str) and _DIGEST.fullmatch(one) for one in (*parcel.chunks, parcel.sha256)):
        return False
    paths = [item.path for item in parcel.items]
    files = all(map(safe, paths)) if parcel.folder else paths == [""]
    apart = len({*paths}) == len(paths) and not _inside(paths)
    right = 1 <= parcel.chunk <= LARGEST_CHUNK and len(parcel.chunks) == -(-parcel.size // parcel.chunk)
    return files and apart and right and parcel.size <= MOST_BYTES and safe(parcel.name) and "/" not in parcel.name


def _inside(paths: Sequence[str]) -> bool:
    """Whether a file lies below another file."""
    known = set(paths)
    return any("/".join(path.split("/")[:depth]) in known for path in paths for depth in range(1, path.count("/") + 1))
