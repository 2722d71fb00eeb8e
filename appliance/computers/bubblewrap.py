"""Tier A: namespaces by bubblewrap, a system call filter, and the kernel's count of memory and processes.

Inside, the command sees /usr, its Python, the tools it was given and a copy of the tree; it has no network but its own
loopback, no capabilities, and cannot make namespaces of its own. The copy lives in memory, in a file system of limited
size: the host's tree cannot change and the host's disk cannot be filled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from appliance.computers import cgroup, seccomp
from appliance.computers.pythons import Interpreter, own
from appliance.computers.running import Prepared
from appliance.errors import Unavailable, UsageError
from appliance.ports import Limits

WATCHER = Path(__file__).with_name("inside.py")
STAGE = "/run/appliance"
PLACES = ("/work", "/checkout", "/appliance-work")
ETC = ("alternatives", "ld.so.cache", "localtime", "mime.types", "services", "protocols")
PASSWD = b"root:x:0:0:root:/:/bin/false\ndroid:x:65534:65534:droid:/tmp:/bin/sh\n"
GROUP = b"root:x:0:\ndroid:x:65534:\n"
HOSTS = b"127.0.0.1 localhost\n::1 localhost\n"


@dataclass(frozen=True)
class Bubblewrap:
    """How tier A prepares a run on this machine."""

    program: str
    python: Interpreter
    controllers: cgroup.Controllers
    filter: bytes
    nested_refused: bool
    tier: str = "A"

    def describe(self) -> str:
        counted = "kernel-counted" if self.controllers else "per process (no writable control groups)"
        return f"tier A: bubblewrap, seccomp, no network, memory and processes {counted}"

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
        shown = _shown([*own().folders, *self.python.folders, *(tool.absolute() for tool in tools)])
        work = _work_folder(shown)
        descriptors: list[int] = []

        def data(content: bytes) -> str:
            descriptors.append(_memory_file(content))
            return str(descriptors[-1])

        group = None
        if self.controllers:
            group = make_group(self.controllers, limits)
        words = watcher_words(limits, pipes, fetch, counted=group is not None, tree=f"{STAGE}/tree", work=work)
        size = str(limits.disk_mb << 20)
        command = [
            self.program, *self._namespaces(), *_system(data),
            "--size", size, "--tmpfs", work, "--size", size, "--tmpfs", "/tmp",  # noqa: S108 - the sandbox's own
            "--dir", STAGE, "--ro-bind", str(tree.absolute()), f"{STAGE}/tree",
            "--ro-bind", str(WATCHER), f"{STAGE}/watch.py",
        ]  # fmt: skip
        for folder in shown:
            command += ["--ro-bind", str(folder), str(folder)]
        command += ["--size", size, "--tmpfs", "/dev/shm"]  # noqa: S108 - the sandbox's own
        command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", work]
        for name, value in env.items():
            command += ["--setenv", name, value]
        command += ["--seccomp", data(self.filter)]
        watcher = [own().executable, "-I", "-S", "-B", f"{STAGE}/watch.py", *words, "scratch=/tmp", "scratch=/dev/shm"]
        return Prepared([*command, "--", *watcher, "--", *argv], -1, -1, tuple(descriptors), group, fetch=fetch)

    def _namespaces(self) -> list[str]:
        nested = ["--disable-userns"] if self.nested_refused else []
        return [
            "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
            "--unshare-cgroup-try",
            *nested, "--as-pid-1", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
            "--uid", "65534", "--gid", "65534", "--hostname", "droid",
        ]  # fmt: skip


def make_group(controllers: cgroup.Controllers, limits: Limits) -> cgroup.Group:
    """A control group for one run. Raises Unavailable."""
    try:
        return cgroup.Group.make(controllers, limits.memory_mb, limits.processes)
    except OSError as error:
        raise Unavailable(
            f"no control group could be made for a run: {error}",
            "restart the box, so that it looks at the machine anew",
        ) from error


def _system(data: Callable[[bytes], str]) -> list[str]:
    """The parts of the system every run sees."""
    words = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        place = Path("/", name)
        if place.is_symlink():
            words += ["--symlink", str(place.readlink()), str(place)]
        elif place.is_dir():
            words += ["--ro-bind", str(place), str(place)]
    for name in ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for name, content in (("passwd", PASSWD), ("group", GROUP), ("hosts", HOSTS)):
        words += ["--perms", "0644", "--file", data(content), f"/etc/{name}"]
    return [*words, "--proc", "/proc", "--dev", "/dev"]


def _shown(folders: Sequence[Path]) -> list[Path]:
    """Folders to bind, outer ones first; those below another or below /usr are there already."""
    wanted: list[Path] = []
    for folder in sorted(set(folders), key=lambda path: len(path.parts)):
        if not folder.exists():
            raise UsageError(f"{folder} is to be shown in the sandbox, but does not exist", "give an existing folder")
        if not any(folder.is_relative_to(outer) for outer in [Path("/usr"), *wanted]):
            wanted.append(folder)
    return wanted


def _work_folder(shown: Sequence[Path]) -> str:
    """/work, unless something shown lies there: it would turn up among the repository's own files."""
    for place in PLACES:
        if not any(folder.is_relative_to(place) for folder in shown):
            return place
    raise UsageError("every possible working folder is covered by a tool", f"move tools out of {', '.join(PLACES)}")


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("sandbox", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def watcher_words(
    limits: Limits, pipes: tuple[int, int], fetch: Sequence[str], *, counted: bool, tree: str, work: str
) -> list[str]:
    """The watcher's orders (see `inside.Order`). Where groups count memory and processes, the watcher need not."""
    return [
        f"tree={tree}", f"work={work}", f"reports={pipes[0]}", f"orders={pipes[1]}", f"disk_mb={limits.disk_mb}",
        f"cpu={ceil(limits.cpu_seconds)}", f"memory_mb={0 if counted else limits.memory_mb}",
        f"processes={0 if counted else limits.processes}", *(f"fetch={name}" for name in fetch),
    ]  # fmt: skip


def find(python: Interpreter) -> Bubblewrap | None:
    """Bubblewrap as this machine has it, unproven (see `probe`); None where it is not installed."""
    program = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if program is None:
        return None
    controllers = cgroup.find()
    cgroup.sweep(controllers)
    return Bubblewrap(
        program, python, controllers, seccomp.program(sockets=True, signals=True), "--disable-userns" in _help(program)
    )


def _help(program: str) -> str:
    answer = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=10, check=False)
    return answer.stdout + answer.stderr
