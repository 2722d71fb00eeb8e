"""strace around programs in a machine: kill or fail one at its nth write, and see with whom all of them speak."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.install.bare import Machine

WRITES = (
    "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,"
    "link,linkat,chmod,fchmod,fchmodat,chown,fchown,fchownat,truncate,ftruncate,copy_file_range,sendfile"
)
"""System calls that change what lies on a disk."""
SPEAKING = "connect,sendto,sendmsg,sendmmsg"

_ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
_PORT = re.compile(r"sin6?_port=htons\((\d+)\)")


@dataclass(frozen=True)
class Ended:
    """How a traced program ended (-9 when it was killed), what it printed, and its writing calls in their order."""

    status: int
    said: str
    calls: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """The `number`th call of that name: strace counts each name by itself."""

    call: str
    number: int

    @classmethod
    def at(cls, calls: Sequence[str], index: int) -> Point:
        """The point of the call at an index of a run's calls."""
        return cls(calls[index], calls[: index + 1].count(calls[index]))


def lacking() -> None:
    """Skip where there is no strace, or it may not trace."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (apt-get install strace)")
    if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True).returncode != 0:
        pytest.skip("no program may be traced here")


def injected(
    machine: Machine, words: Sequence[str], scratch: Path, fault: str = "", point: Point | None = None,
    seconds: float = 300,
) -> Ended:  # fmt: skip
    """Run a program in the machine of whose own system calls, not those of its children, one is hit.

    Args:
        fault: what strace injects at the point, like `signal=KILL` or `error=ENOSPC`; without a point it only looks.
    """
    entering = machine.words(["sh", "-c", 'kill -STOP $$; exec "$@"', "sh", *words])
    with subprocess.Popen(
        entering,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as program:
        inside = _stopped(program.pid)
        record = scratch / "calls"
        hit = ["-e", f"inject={point.call}:{fault}:when={point.number}"] if point else []
        tracer = ["strace", "-qq", "-p", str(inside), "-e", f"trace={WRITES}", *hit, "-o", str(record)]
        with subprocess.Popen(tracer, stderr=subprocess.DEVNULL) as tracing:
            while _field(inside, "TracerPid:") == "0" and tracing.poll() is None:
                time.sleep(0.01)
            os.kill(inside, signal.SIGCONT)
            program.send_signal(signal.SIGCONT)  # nsenter stopped with it
            try:
                tracing.wait(seconds)
                said, _ = program.communicate(timeout=seconds)
            finally:
                tracing.kill()
                program.kill()
    with record.open(encoding="utf-8", errors="replace") as lines:
        calls = tuple(line.partition("(")[0] for line in lines if "(" in line)
    return Ended(program.returncode, said, calls)


def _stopped(entering: int) -> int:
    """The process id, outside, of what `nsenter` started and what stopped itself."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = Path(f"/proc/{entering}/task/{entering}/children").read_text().split()
        if found and _field(int(found[0]), "State:").startswith("T"):
            return int(found[0])
        time.sleep(0.01)
    raise AssertionError("the program did not stop itself")


def _field(process: int, name: str) -> str:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(None, 1)[1] for line in lines if line.startswith(name)), "")


def listening(record: Path) -> list[str]:
    """Words to put in front of entering a machine: everybody whom the program and all its children speak to."""
    return ["strace", "-f", "--seccomp-bpf", "-qq", "-s", "64", "-e", f"trace={SPEAKING}", "-o", str(record)]


def elsewhere(record: Path) -> list[str]:
    """The lines of a record that speak to another machine, or ask somebody for a name."""
    found = []
    with record.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            address, port = _ADDRESS.search(line), _PORT.search(line)
            if address is None:
                continue
            asked = port is not None and port[1] == "53"
            if asked or not ipaddress.ip_address(address[1] or address[2]).is_loopback:
                found.append(line.strip())
    return found


def spoken(record: Path) -> int:
    """How many calls are in a record: none would mean that nothing was traced."""
    with record.open("rb") as lines:
        return sum(1 for _ in lines)
