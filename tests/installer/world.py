"""A small checkout, its locks, and wheels made by hand."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from pathlib import Path

from installer.checkout import Checkout
from installer.terminal import Terminal

LOCKS = ("runtime", "dev", "build", "llama", "models")
VERSION = "0.3.36"


def lock_of(name: str, version: str, *hashes: str) -> str:
    """The text of a lock with one pin."""
    return f"# made by hand\n{name}=={version}" + "".join(f" \\\n    --hash=sha256:{value}" for value in hashes) + "\n"


def checkout(folder: Path) -> Checkout:
    """A checkout with locks and a project file, and nothing installed."""
    made = Checkout(folder / "checkout", folder / "cache")
    made.wheelhouse.mkdir(parents=True)
    (made.root / "pyproject.toml").write_text("[project]\n", "utf-8")
    for lock in LOCKS:
        text = lock_of("llama-cpp-python", VERSION, "0" * 64) if lock == "llama" else lock_of("thing", "1.0", "1" * 64)
        made.lock(lock).write_text(text, "utf-8")
    return made


def pretend_environment(made: Checkout) -> None:
    """Files that look like a virtual environment with pip; nothing in it can be run."""
    made.python.parent.mkdir(parents=True)
    made.python.touch()
    (made.venv / "lib" / "python3.11" / "site-packages" / "pip").mkdir(parents=True)


def wheel(file: Path, members: dict[str, bytes], name: str = "thing", version: str = "1.0") -> Path:
    """A wheel that pip installs: the members, metadata and a true RECORD."""
    info = f"{name}-{version}.dist-info"
    whole = {
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={digest(content)},{len(content)}\n" for path, content in whole.items())
    whole[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for path, content in whole.items():
            archive.writestr(path, content)
    return file


def digest(content: bytes) -> str:
    """A hash as RECORD writes it."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


class Screen(io.StringIO):
    """A terminal that remembers everything written."""

    def isatty(self) -> bool:
        return True


def quiet() -> Terminal:
    """A terminal nobody looks at."""
    return Terminal(io.StringIO())


def lively() -> tuple[Terminal, Screen]:
    """A terminal and what it shows."""
    screen = Screen()
    return Terminal(screen), screen
