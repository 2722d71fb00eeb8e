"""What is there, on the server and here: asked for by names alone, which is far cheaper than a fetch."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from appliance.errors import FactoryError
from appliance.mirror.git import Git

MIRRORED = ("refs/heads/", "refs/tags/")
"""What comes from the server."""

LISTING_SECONDS = 30.0
"""Longest time a server may take to list its branches."""


def behind(git: Git, bare: Path, url: str) -> bool:
    """Is any branch or tag on the server otherwise than in the mirror? A server that does not list them in time is
    away. Raises as git does."""
    if not bare.exists():
        return True
    here = {"GIT_DIR": str(bare)}
    words = ("ls-remote", "--refs", "--heads", "--tags", "--", url)
    there = git(bare, *words, env=here, seconds=LISTING_SECONDS)
    try:
        known = git(bare, "for-each-ref", "--format=%(objectname)\t%(refname)", *MIRRORED, env=here)
    except FactoryError:
        return True  # broken; a fetch mends it
    return set(there.splitlines()) != set(known.splitlines())


def size(bare: Path) -> int:
    """Bytes of the files in a folder, those that vanish meanwhile left out."""
    total = 0
    for folder, _, names in os.walk(bare):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(folder, name).lstat().st_size
    return total
