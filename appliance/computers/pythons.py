"""What an interpreter needs to be seen inside a sandbox: its own folders, at the same paths."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from appliance.errors import ConfigError

ASK = "import sys; print(sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, sep='\\n')"


@dataclass(frozen=True)
class Interpreter:
    """A Python and the folders it lives in."""

    executable: str
    folders: tuple[Path, ...]

    @property
    def bin(self) -> str:
        """The folder its tools (pytest and others) are called from."""
        return str(Path(self.executable).parent)


def own() -> Interpreter:
    """The Python this process runs on."""
    return Interpreter(sys.executable, _outside_usr(sys.executable, (sys.prefix, sys.base_prefix, sys.exec_prefix)))


@cache
def interpreter(executable: str) -> Interpreter:
    """The Python at this path; "" means the box's own.

    Raises:
        ConfigError: there is none, or it does not run.
    """
    if executable in ("", sys.executable):
        return own()
    try:
        asked = subprocess.run(
            [executable, "-I", "-c", ASK], capture_output=True, text=True, timeout=30, check=True, env={}
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"{executable} is not a working Python: {error}",
            "set computers.python to an interpreter, or leave it empty",
        ) from error
    return Interpreter(executable, _outside_usr(executable, asked.stdout.split("\n")))


def _outside_usr(executable: str, prefixes: tuple[str, ...] | list[str]) -> tuple[Path, ...]:
    """Folders to show besides /usr: the prefixes, and where the executable's links lead if that is elsewhere."""
    wanted = [Path(prefix) for prefix in prefixes if prefix]
    real = Path(executable).resolve()
    if not any(real.is_relative_to(folder) for folder in [*wanted, Path("/usr")]):
        wanted.append(real.parent.parent)
    found: list[Path] = []
    for folder in wanted:
        if not folder.is_relative_to("/usr") and folder not in found:
            found.append(folder)
    return tuple(found)
