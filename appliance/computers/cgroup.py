"""Control groups: the kernel's own count of a run's memory and processes, where this machine lets us use them.

Version 1, version 2 and hybrid layouts are probed, never assumed. A group is made for each run below the group this
process is in, named after this process, so that groups left by a killed one can be told and removed.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

PREFIX = "appliance-"
SELF = "appliance-self"
_numbers = count()


@dataclass(frozen=True)
class Controllers:
    """Where groups can be made. `places` maps memory and pids to a writable folder; both are the same in version 2."""

    version: int
    places: dict[str, Path]
    why_not: str = ""

    def __bool__(self) -> bool:
        return {"memory", "pids"} <= self.places.keys()


def find(own: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/proc/self/mounts")) -> Controllers:
    """Look for writable groups, version 1 first (in a hybrid layout the controllers are there)."""
    membership = {}
    for line in _text(own).splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(",") if names else [""]:
            membership[name] = path
    first = {}
    second: Path | None = None
    for line in _text(mounts).splitlines():
        _, where, kind, options, *_ = line.split(" ")
        if kind == "cgroup":
            for name in {"memory", "pids"} & set(options.split(",")):
                first[name] = Path(where) / membership.get(name, "/").lstrip("/")
        elif kind == "cgroup2":
            second = Path(where) / membership.get("", "/").lstrip("/")
    usable = {name: path for name, path in first.items() if _can_make(path)}
    if len(usable) == 2:
        return Controllers(1, usable)
    if second is not None and not first:
        return _version_2(second)
    return Controllers(1 if first else 0, {}, "no writable control groups for memory and pids")


def _version_2(place: Path) -> Controllers:
    """In version 2 a group with processes cannot hand controllers down, so ours move into a leaf of their own first."""
    if not {"memory", "pids"} <= set(_text(place / "cgroup.controllers").split()):
        return Controllers(2, {}, "the memory and pids controllers are not delegated to this process's control group")
    if not _can_make(place):
        return Controllers(2, {}, "this process's control group is not writable (systemd: Delegate=yes)")
    if place.name == SELF:  # a process of this box came before us and moved us here
        place = place.parent
    try:
        if not {"memory", "pids"} <= set(_text(place / "cgroup.subtree_control").split()):
            if (place / "cgroup.type").exists():  # only the root group has no type, and may keep its processes
                leaf = place / SELF
                leaf.mkdir(exist_ok=True)
                for pid in _text(place / "cgroup.procs").split():
                    (leaf / "cgroup.procs").write_text(pid)
            (place / "cgroup.subtree_control").write_text("+memory +pids")
    except OSError as error:
        return Controllers(2, {}, f"control groups cannot be used: {error.strerror}")
    return Controllers(2, {"memory": place, "pids": place})


def _can_make(place: Path) -> bool:
    probe = place / f"{PREFIX}{os.getpid()}-probe{next(_numbers)}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


@dataclass
class Group:
    """One run's group (two folders in version 1)."""

    version: int
    folders: dict[str, Path]
    closed: bool = field(default=False)

    @classmethod
    def make(cls, controllers: Controllers, memory_mb: int, processes: int) -> Group:
        """A new group with its limits set. The watcher of a run counts as one process more."""
        name = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
        group = cls(controllers.version, {key: place / name for key, place in controllers.places.items()})
        try:
            for folder in set(group.folders.values()):
                folder.mkdir()
            group._limit(memory_mb << 20, processes)
        except OSError:
            group.close()
            raise
        return group

    def _limit(self, memory: int, processes: int) -> None:
        place = self.folders["memory"]
        if self.version == 1:
            (place / "memory.limit_in_bytes").write_text(str(memory))
            swap = place / "memory.memsw.limit_in_bytes"
            if swap.exists():
                swap.write_text(str(memory))
        else:
            (place / "memory.max").write_text(str(memory))
            if (place / "memory.swap.max").exists():
                (place / "memory.swap.max").write_text("0")
        (self.folders["pids"] / "pids.max").write_text(str(processes + 3))  # bwrap, its child and the watcher

    @property
    def entrances(self) -> list[str]:
        """Files that a process writes 0 to in order to join."""
        return sorted({str(folder / "cgroup.procs") for folder in self.folders.values()})

    def exceeded(self) -> str:
        """memory or processes when the kernel has refused or killed for it, else empty."""
        pids = dict(line.split() for line in _text(self.folders["pids"] / "pids.events").splitlines())
        if int(pids.get("max", 0)):
            return "processes"
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        memory = dict(line.split() for line in _text(self.folders["memory"] / name).splitlines())
        return "memory" if int(memory.get("oom_kill", 0)) else ""

    def kill(self) -> None:
        """Kill whatever is still inside."""
        for entrance in self.entrances:
            for pid in _text(Path(entrance)).split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def close(self, patience: float = 5.0) -> None:
        """Kill what is inside and remove the folders. A group the kernel still holds is left for `sweep`."""
        if self.closed:
            return
        deadline = time.monotonic() + patience
        left = set(self.folders.values())
        while left:
            for folder in list(left):
                try:
                    folder.rmdir()
                    left.discard(folder)
                except FileNotFoundError:
                    left.discard(folder)
                except OSError:
                    continue
            if left and time.monotonic() > deadline:
                return
            if left:
                self.kill()
                time.sleep(0.002)
        self.closed = True


def sweep(controllers: Controllers) -> None:
    """Remove groups that a killed process of this box left behind; what still runs in them is killed."""
    for place in set(controllers.places.values()):
        for folder in place.glob(f"{PREFIX}[0-9]*-*"):
            owner = folder.name.removeprefix(PREFIX).partition("-")[0]
            if not Path(f"/proc/{owner}").exists():
                Group(controllers.version, {"memory": folder, "pids": folder}).close(patience=1.0)
