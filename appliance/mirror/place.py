"""Where a mirror lies: one writer at a time, and a new one takes the place of the old at once."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Place:
    """The folder of one mirror."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process and thread at a time may write a mirror."""
        file = self.folder.with_suffix(".lock")
        while True:
            with file.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                try:
                    ours = os.fstat(lock.fileno()).st_ino == file.stat().st_ino
                except FileNotFoundError:
                    ours = False
                if not ours:  # whoever held it found no mirror to keep and removed the lock: queue at the new one
                    continue
                try:
                    yield
                finally:
                    if not self.folder.exists():
                        file.unlink()
                return

    @contextmanager
    def aside(self) -> Iterator[Path]:
        """A folder beside it to make a mirror in, gone afterwards. Needs `alone`."""
        self.sweep()
        made = self._beside()
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def take(self, bare: Path) -> None:
        """Put a new mirror in place, and the old one, if there is one, where it was. Needs `alone`."""
        if not self.folder.exists():
            bare.rename(self.folder)
        elif not _exchange(bare, self.folder):
            self.drop()
            bare.rename(self.folder)

    def drop(self) -> None:
        """Delete the mirror, if there is one. Needs `alone`."""
        gone = self._beside()
        with contextlib.suppress(FileNotFoundError):
            self.folder.rename(gone / "bare")
        shutil.rmtree(gone, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what a killed process left. Needs `alone`."""
        name = self.folder.stem
        for left in self.folder.parent.glob(f".{name}.*"):
            if re.fullmatch(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}", left.name):
                shutil.rmtree(left, ignore_errors=True)

    def clear_locks(self, bare: Path) -> None:
        """Remove locks and half-written files that a killed git left: no other git writes now. Needs `alone`."""
        for pattern in ("*.lock", "refs/**/*.lock", "info/*.lock", "objects/**/tmp_*", "objects/info/*.lock"):
            for left in bare.glob(pattern):
                left.unlink(missing_ok=True)

    def _beside(self) -> Path:
        return Path(tempfile.mkdtemp(prefix=f".{self.folder.stem}.", dir=self.folder.parent))


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places at once; False where the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    here, both = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return int(libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), both)) == 0
