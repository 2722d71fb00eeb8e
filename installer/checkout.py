"""Where things are: the checkout, its virtual environment, the wheelhouse and the build cache."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Checkout:
    """One checkout of the project and the cache outside it. Knows names only: nothing is created here."""

    root: Path
    cache: Path

    @classmethod
    def here(cls, environ: Mapping[str, str] = os.environ) -> Checkout:
        """The checkout this file lies in; the cache by APPLIANCE_CACHE, else XDG_CACHE_HOME, else ~/.cache."""
        own = environ.get("APPLIANCE_CACHE")
        shared = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(Path(__file__).resolve().parent.parent, Path(own) if own else Path(shared) / "appliance")

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def wheelhouse(self) -> Path:
        return self.root / "offline-wheels"

    @property
    def log(self) -> Path:
        return self.cache / "logs" / "setup.log"

    def lock(self, name: str) -> Path:
        """The lock file of that name, such as `runtime`."""
        return self.wheelhouse / f"{name}.lock"

    @property
    def has_packages(self) -> bool:
        """Whether the wheelhouse was filled; a llama.cpp wheel alone does not count."""
        return any(not wheel.name.startswith("llama_cpp_python") for wheel in self.wheelhouse.glob("*.whl"))


@dataclass(frozen=True)
class Pin:
    """One line of a lock: a name, a version, and the SHA-256 of every file that may be installed for it."""

    name: str
    version: str
    hashes: tuple[str, ...]


def pins(lock: str) -> list[Pin]:
    """The pins in the text of a lock file, in its order."""
    found = []
    for entry in re.split(r"\n(?=[A-Za-z0-9])", "\n" + lock):
        head = re.match(r"\s*([A-Za-z0-9._-]+)==([^\s;\\]+)", entry)
        if head:
            found.append(Pin(head[1], head[2], tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))))
    return found
