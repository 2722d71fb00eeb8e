"""When may a worker take an item that another one holds? Pure rules, and the one look at the process table.

A lease ends when its time is over or its worker is gone. Time is the machine's monotonic clock while the machine has
not been restarted, so a jumping wall clock neither frees nor freezes anything. After a restart (another boot id) only
wall time is left; there a clock that stands before the claim counts as over, because a lease that may never end loses
work, while one that ends early costs a repeated stage: `record` accepts the newest claim only.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Worker:
    """Who claims: host, boot, process (with its start time, as process ids return) and slot in the process."""

    host: str
    boot: str
    pid: int
    started: int
    slot: int = 0

    def __str__(self) -> str:
        return f"{self.host}/{self.boot}/{self.pid}/{self.started}/{self.slot}"

    @classmethod
    def parse(cls, text: str) -> Worker:
        host, boot, pid, started, slot = text.rsplit("/", 4)
        return cls(host, boot, int(pid), int(started), int(slot))

    @classmethod
    def here(cls, slot: int = 0) -> Worker:
        """This process on this machine."""
        return cls(socket.gethostname(), boot_id(), os.getpid(), started_at(os.getpid()) or 0, slot)


def boot_id() -> str:
    """The kernel's id of this start of the machine, first 8 hex digits."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]


def started_at(pid: int) -> int | None:
    """Start time of a living process in clock ticks since boot (field 22 of /proc/PID/stat); None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(b")")[2].split()  # the name may hold anything, so count from its closing bracket
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def gone(holder: Worker, me: Worker) -> bool:
    """Is the holder certainly dead? Only sure for a process of this host and boot."""
    return (holder.host, holder.boot) == (me.host, me.boot) and started_at(holder.pid) != holder.started


@dataclass(frozen=True)
class Lease:
    """How long a claim holds, on both clocks (seconds)."""

    boot: str
    until_monotonic: float
    from_wall: float
    until_wall: float

    def over(self, boot: str, monotonic: float, wall: float) -> bool:
        if boot == self.boot:
            return monotonic >= self.until_monotonic
        return wall >= self.until_wall or wall < self.from_wall
