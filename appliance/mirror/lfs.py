"""Files that Git LFS keeps beside a repository: a pointer in the repository for each, the file in a store of the box.

A pointer is a few lines with the file's SHA-256 and size. What the store holds is whole and is what its name says.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import PolicyRefused, Unavailable, VerificationFailed

SPEC = "/".join(("https:", "", "git-lfs.github.com", "spec", "v1"))
"""The format's name, as its document has it: it looks like an address, and nobody ever goes there."""

POINTER = re.compile(rb"version [!-~]{1,99}/spec/v1\noid sha256:([0-9a-f]{64})\nsize (0|[1-9][0-9]{0,14})\n?")
SMALLEST_POINTER, LARGEST_POINTER = 90, 250
"""Bytes. Those with extensions are not read: nobody here could apply these."""

PIECE = 1 << 20


@dataclass(frozen=True)
class Pointer:
    """What stands in a repository for a file."""

    oid: str
    size: int

    @classmethod
    def read(cls, content: bytes) -> Pointer | None:
        """The pointer that this content is; None for anything else."""
        found = POINTER.fullmatch(content)
        return cls(found.group(1).decode(), int(found.group(2))) if found else None

    @classmethod
    def to(cls, file: Path) -> Pointer:
        """The pointer to a file's content."""
        with file.open("rb") as content:
            return cls(hashlib.file_digest(content, "sha256").hexdigest(), file.stat().st_size)

    def written(self) -> bytes:
        """As it stands in a repository."""
        return f"version {SPEC}\noid sha256:{self.oid}\nsize {self.size}\n".encode()


@contextlib.contextmanager
def on_disk(what: str) -> Iterator[None]:
    """Say in words what the disk refused, and why. Raises Unavailable for every OSError."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full" if full else error.strerror or type(error).__name__
        hint = "free space on that disk, or lower mirror.lfs_max_mb" if full else "look at that disk"
        raise Unavailable(f"{what}: {why}", hint) from error


class Store:
    """A folder of files, each under its SHA-256, as Git LFS lays them out too. `limit`: bytes of all together."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self._limit = limit

    def file(self, pointer: Pointer) -> Path:
        """Where a file lies, or would."""
        return self.folder / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid

    def lacking(self, pointers: Iterable[Pointer]) -> list[Pointer]:
        """Those whose files are not here, each once."""
        return [pointer for pointer in dict.fromkeys(pointers) if not self.file(pointer).exists()]

    def put(self, pointer: Pointer, pieces: Iterable[bytes]) -> None:
        """Keep a file. Raises VerificationFailed when it is not the one that the pointer names, Unavailable when the
        disk does not take it."""
        with on_disk(f"the LFS file {pointer.oid[:12]} ({pointer.size / (1 << 20):.1f} MiB) cannot be kept"):
            self._put(pointer, pieces)

    def _put(self, pointer: Pointer, pieces: Iterable[bytes]) -> None:
        there = self.file(pointer)
        there.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        handle, draft = tempfile.mkstemp(prefix="tmp_", dir=there.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                for piece in pieces:
                    size += len(piece)
                    if size > pointer.size:
                        break
                    digest.update(piece)
                    out.write(piece)
                out.flush()
                os.fsync(handle)  # under its name it counts as whole, also after the power went
            if size != pointer.size or digest.hexdigest() != pointer.oid:
                raise VerificationFailed(
                    f"the LFS file {pointer.oid[:12]} is not the one that was asked for", "is the LFS server sound?"
                )
            Path(draft).replace(there)
        finally:
            Path(draft).unlink(missing_ok=True)

    def copy(self, pointer: Pointer, file: Path) -> None:
        """Keep a copy of a file. Raises as `put`."""
        with file.open("rb") as content:
            self.put(pointer, iter(lambda: content.read(PIECE), b""))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One process and thread at a time brings files in: nobody asks for one twice."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def make_room(self, wanted: Iterable[Pointer], kept: Iterable[Pointer]) -> None:
        """Let files go that are not among those to keep, the oldest first, until the wanted ones fit. Needs `alone`.

        Raises PolicyRefused when they cannot fit; then nothing goes.
        """
        known = {pointer.oid for pointer in kept}
        files = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in self.folder.glob("??/??/*"))
        over = sum(pointer.size for pointer in wanted) + sum(size for _, size, _ in files) - self._limit
        spare = [(size, file) for _, size, file in files if file.name not in known]
        if over > sum(size for size, _ in spare):
            raise PolicyRefused(
                f"the files of Git LFS take more than {self._limit >> 20} MiB",
                "raise mirror.lfs_max_mb, if that is meant",
            )
        for size, file in spare:
            if over <= 0:
                return
            file.unlink()
            over -= size
