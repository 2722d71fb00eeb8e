"""Tier B: Landlock, a system call filter and limits per process, where bubblewrap cannot work.

The command sees /usr, its Python and its tools read-only, and may write its own copy of the tree alone. It can make no
sockets at all, reach no other process, and has no capabilities. Its copy lies in a private folder of the home, wiped
afterwards; the watcher (see `inside.py`) stands outside as the reaper of everything the command starts, weighs the
copy, and adds up memory and threads where no control group does.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.computers import cgroup, confine, seccomp
from appliance.computers.bubblewrap import WATCHER, make_group, watcher_words
from appliance.computers.pythons import Interpreter, own
from appliance.computers.running import Prepared
from appliance.ports import Limits

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
ETC = ("alternatives", "ld.so.cache", "localtime", "mime.types", "services", "protocols", "passwd", "group", "hosts")
DEVICES = ("null", "zero", "full", "random", "urandom")
SCOPED_SIGNALS = 6
"""Landlock ABI from which signals and abstract sockets can be kept inside."""


@dataclass(frozen=True)
class Landlock:
    """How tier B prepares a run on this machine."""

    python: Interpreter
    folder: Path
    controllers: cgroup.Controllers
    filter: bytes
    abi: int
    tier: str = "B"

    def describe(self) -> str:
        counted = "kernel-counted" if self.controllers else "counted by a watcher"
        return f"tier B: Landlock ABI {self.abi}, seccomp, no sockets, memory and processes {counted}"

    def prepare(
        self,
        argv: Sequence[str],
        tree: Path,
        limits: Limits,
        env: Mapping[str, str],
        tools: Sequence[Path],
        fetch: Sequence[str],
        pipes: tuple[int, int],
    ) -> Prepared:
        """The command line and everything it needs. `pipes` are the watcher's ends for reports and orders."""
        private = Path(tempfile.mkdtemp(prefix="b-", dir=self.folder))
        work, scratch, spec = private / "work", private / "tmp", private / "spec.json"
        for made in (work, scratch):
            made.mkdir()
        visible = [*own().folders, *self.python.folders, *(tool.absolute() for tool in tools)]
        # `private` too: pytest lists the folder that its working directory and its temporary files have in common
        read = [*SYSTEM, *(f"/etc/{name}" for name in ETC), *(str(folder) for folder in (*visible, private))]
        write = [str(work), str(scratch), *(f"/dev/{name}" for name in DEVICES)]
        spec.write_text(json.dumps({"read": read, "write": write, "filter": self.filter.hex()}), encoding="utf-8")
        group = make_group(self.controllers, limits) if self.controllers else None
        words = watcher_words(
            limits, pipes, fetch, counted=group is not None, tree=str(tree.absolute()), work=str(work)
        )
        own_env = {**env, "HOME": str(scratch), "TMPDIR": str(scratch)}
        command = [
            "/usr/bin/env", "-i", *(f"{name}={value}" for name, value in own_env.items()),
            own().executable, "-I", "-S", "-B", str(WATCHER), *words, f"scratch={scratch}", f"confine={spec}",
            "--", *argv,
        ]  # fmt: skip
        return Prepared(command, -1, -1, (), group, clean=lambda: wipe(private), fetch=fetch)


def wipe(folder: Path) -> None:
    """Remove a run's private folder, with what the run has locked up in it."""
    for here, names, _ in os.walk(folder):
        for name in names:
            inner = Path(here, name)
            if not inner.is_symlink():
                inner.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def find(python: Interpreter, folder: Path) -> Landlock | None:
    """Landlock as this kernel has it, unproven (see `probe`); None where there is none."""
    abi = confine.abi()
    if not abi:
        return None
    controllers = cgroup.find()
    cgroup.sweep(controllers)
    program = seccomp.program(sockets=False, signals=abi >= SCOPED_SIGNALS)
    folder.mkdir(parents=True, exist_ok=True)
    return Landlock(python, folder, controllers, program, abi)
