"""A medium's files held to its manifest: each is read once, checked while it is copied, and used from the copy alone.

What is not a plain file with one name is never opened, and a file whose length is not the listed one is not read, so
links, devices, pipes and huge sparse files cost nothing. A copy that does not match is removed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from installer.errors import InstallError, Refused
from installer.trust.manifest import TAMPERED, Entry, Manifest

BLOCK = 1 << 20
SIGNED_APART = frozenset({"manifest.json", "manifest.sig", "install.sh", "install.sh.sig", "key.pem"})
"""Files that the manifest does not list: itself, and what is checked by hand before it."""

Report = Callable[[int], None]
"""Told of the bytes that were read since it was called last."""


def listed(medium: Path, manifest: Manifest) -> None:
    """See that the medium has the listed files and no others, each a plain file of the listed length.

    Raises:
        Refused: one is missing, extra, a link, a device, or of another length.
    """
    wanted = {entry.path: entry for entry in manifest.files}
    found = set()
    for name, state in _walk(medium):
        if not stat.S_ISREG(state.st_mode):
            raise Refused(f"{name} is no plain file", TAMPERED)
        if name in SIGNED_APART:
            continue
        if name not in wanted:
            raise Refused(f"{name} is not listed in the manifest", TAMPERED)
        _plain(name, state, wanted[name].size)
        found.add(name)
    missing = sorted(set(wanted) - found)
    if missing:
        raise Refused(f"{len(missing)} listed files are missing, {missing[0]} first", TAMPERED)


def check(medium: Path, entry: Entry, report: Report = lambda _: None) -> None:
    """Read one file and hold it to its digest. Raises Refused."""
    with _opened(medium, entry) as source:
        _held(source, entry, None, report)


def stage(medium: Path, entry: Entry, staging: Path, report: Report = lambda _: None) -> Path:
    """Copy one file into the staging folder, checked while it is copied, durable when this returns.

    A copy that is there and holds is kept. Raises Refused; no copy is left then.
    """
    target = staging / entry.path
    if target.exists() and not target.is_symlink() and target.stat().st_size == entry.size:
        try:
            check(staging, entry, report)
        except Refused:
            target.unlink()  # a copy cut short or spoilt on this disk
        else:
            return target
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(target.name + ".part")
    try:
        with _opened(medium, entry) as source, half.open("wb") as copy:
            _held(source, entry, copy, report)
            copy.flush()
            os.fsync(copy.fileno())
        half.replace(target)
    except OSError as error:
        raise InstallError(f"cannot copy {entry.path}: {error.strerror}", "make room, then run this again") from error
    finally:
        half.unlink(missing_ok=True)
    return target


def _held(source: BinaryIO, entry: Entry, copy: BinaryIO | None, report: Report) -> None:
    seen, left = hashlib.sha256(), entry.size
    while block := source.read(min(BLOCK, left + 1)):
        left -= len(block)
        if left < 0:
            break
        seen.update(block)
        if copy is not None:
            copy.write(block)
        report(len(block))
    if left != 0 or seen.hexdigest() != entry.sha256:
        raise Refused(f"{entry.path} is not what was signed", TAMPERED)


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
