"""Reads a medium's metadata and judges them with OpenSSL: what the installer asks before it touches anything else."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from installer.errors import Refused
from installer.trust import signature
from installer.trust.chain import MOST_ROOTS, Accepted, Papers, Trusted, follow
from installer.trust.metadata import LONGEST, TAMPERED

FOLDER = "metadata"
ROOT = re.compile(r"([1-9]\d{0,3})\.root\.json")


def trusted(medium: Path, typed: str, accepted: Accepted | None, now: float) -> Trusted:
    """Judge a medium; arguments and errors are those of `installer.trust.chain.follow`."""
    return follow(papers(medium), typed, accepted, now, signature.holds)


def papers(medium: Path) -> Papers:
    """Read the metadata files of a medium. Raises Refused when one is missing, no plain file, or too long."""
    folder = medium / FOLDER
    try:
        names = sorted(file.name for file in folder.iterdir()) if not folder.is_symlink() else []
    except OSError as error:
        raise Refused(f"{medium} has no folder {FOLDER}: {error.strerror}", "name the medium's folder") from error
    roots = {int(found[1]): _read(folder / name) for name in names if (found := ROOT.fullmatch(name))}
    if len(roots) > MOST_ROOTS:
        raise Refused(f"the medium has more than {MOST_ROOTS} roots", TAMPERED)
    return Papers(roots, *(_read(folder / f"{name}.json") for name in ("timestamp", "snapshot", "targets")))


def _read(file: Path) -> bytes:
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"the medium's {file.name} cannot be read: {error.strerror}", TAMPERED) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Refused(f"the medium's {file.name} is no plain file", TAMPERED)
    with os.fdopen(handle, "rb") as stream:
        raw = stream.read(LONGEST + 1)
    if len(raw) > LONGEST:
        raise Refused(f"the medium's {file.name} is longer than {LONGEST >> 20} MiB", TAMPERED)
    return raw
