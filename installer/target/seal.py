"""Every file of an unpacked release by its SHA-256, written when it was unpacked from what was signed.

Only root can write it. It tells what a disk or a hand changed since. It is no signature: what it finds is unpacked anew
from the signed files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from installer.errors import InstallError

SEAL = "files.json"
UNSEALED = frozenset({SEAL, "whole"})
CACHES = "__pycache__"
"""Python may add to them while it runs, where it may write; what was in them from the beginning is held."""


def write(release: Path) -> int:
    """Seal a release that was just unpacked; the number of its files."""
    found = {name: _digest(place) for name, place in _walk(release)}
    with (release / SEAL).open("w", encoding="utf-8") as out:
        json.dump(found, out)
        out.flush()
        os.fsync(out.fileno())
    return len(found)


def changed(release: Path) -> list[str] | None:
    """What is not as it was sealed, in words; None where the release was never sealed, so nothing can be said.

    Raises:
        InstallError: the seal cannot be read.
    """
    file = release / SEAL
    if not file.exists():
        return None
    try:
        sealed = dict(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InstallError(f"{file} cannot be read: {error}", "run `install` again from the medium") from error
    found = dict(_walk(release))
    differ = [
        f"{name} was changed" for name in sorted(sealed) if name in found and _digest(found[name]) != sealed[name]
    ]
    missing = [f"{name} is missing" for name in sorted(set(sealed) - set(found))]
    extra = [
        f"{name} does not belong to it" for name in sorted(set(found) - set(sealed)) if CACHES not in name.split("/")
    ]
    return [*differ, *missing, *extra]


def _walk(release: Path) -> Iterator[tuple[str, Path]]:
    for root, folders, files in os.walk(release):
        for name in (*files, *(one for one in folders if Path(root, one).is_symlink())):
            place = Path(root, name)
            below = place.relative_to(release).as_posix()
            if below not in UNSEALED:
                yield below, place


def _digest(place: Path) -> str:
    if place.is_symlink():
        return f"-> {place.readlink()}"
    try:
        with place.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:  # a bad block reads so
        return f"unreadable: {error.strerror}"
