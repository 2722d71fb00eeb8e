"""Unix sockets of one home, however deep it lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 100
"""Bytes a Unix socket's path may have (108 with its end, less some air)."""


@contextmanager
def short_name(file: Path) -> Iterator[str]:
    """A name for a socket's file that fits into its address; good within the `with`."""
    name = str(file)
    if len(os.fsencode(name)) <= LONGEST:
        yield name
        return
    folder = os.open(file.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{file.name}"
    finally:
        os.close(folder)
