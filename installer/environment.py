"""Environments of their own for test targets whose packages are too heavy for the development set.

They lie in the cache outside the tree, one for each content of their lock: a renewed lock makes a new one.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from installer import pip
from installer.checkout import Checkout
from installer.terminal import Terminal, run

COMPLETE = "complete"
"""The file that is written last: an environment without it was interrupted."""


def folder(checkout: Checkout, lock: str) -> Path:
    """Where the environment of this lock is, or will be."""
    mark = hashlib.sha256(checkout.lock(lock).read_bytes()).hexdigest()[:12]
    return checkout.cache / "environments" / f"{lock}-{sys.version_info[0]}.{sys.version_info[1]}-{mark}"


def ready(checkout: Checkout, lock: str) -> Path | None:
    """The environment's folder, or None when it is not made yet."""
    made = folder(checkout, lock)
    return made if (made / COMPLETE).exists() else None


def make(checkout: Checkout, lock: str, terminal: Terminal) -> Path:
    """Make the environment unless it is there; returns its folder. Raises InstallError."""
    made = folder(checkout, lock)
    if ready(checkout, lock) is None:
        shutil.rmtree(made, ignore_errors=True)
        name = f"environment {lock}"
        run([sys.executable, "-m", "venv", made], terminal, name, checkout.log)
        pip.install(checkout, [lock], terminal, name, python=made / "bin" / "python")
        (made / COMPLETE).touch()
        terminal.done(name, str(made))
    return made
