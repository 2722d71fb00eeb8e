"""Keeps a program that starts others together with them: `python keep.py PROGRAM ARGUMENTS…`.

vLLM's server starts processes of its own, and they outlive it when it is killed, with all their memory. The supervisor
ends the whole group of a process that ended, but the kernel's signal at the end of the supervisor itself reaches only
the first process of the group. That one is this script, and then it ends the group. SIGTERM goes on to the program;
its end is the end of this script, in the same way. Shared memory that it leaves behind when it is killed (hundreds of
megabytes, which nobody would free) is removed. Standard library only, for a quick start.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
SHARED = "/dev/shm/"  # noqa: S108 - where the kernel has it, no folder for temporary files
END_ALL = signal.SIGUSR1
"""What the kernel is to send at the end of the supervisor."""


def main() -> None:
    """Start the program, pass SIGTERM on, end as it ended."""
    signal.signal(END_ALL, end_group)
    program = sys.argv[1:]
    own = os.getpid()
    pid = os.fork()
    if pid == 0:
        become(program, own)

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the shape of a handler
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    free(shared_memory(os.getpgrp()))
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler that could be taken away
            signal.signal(-status, signal.SIG_DFL)
        os.kill(own, -status)
    sys.exit(status)


def become(program: list[str], parent: int) -> None:
    """Turn into the program, which dies with its parent."""
    signal.signal(END_ALL, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    try:
        os.execvp(program[0], program)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"cannot start {program[0]}: {error.strerror}\n")
        os._exit(1)


def end_group(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the shape of a handler
    """Kill everything in this process's group, itself included."""
    free(shared_memory(os.getpgrp()))
    os.killpg(0, signal.SIGKILL)


def shared_memory(group: int) -> set[str]:
    """Files of shared memory that processes of this group use."""
    found: set[str] = set()
    for name in filter(str.isdigit, (folder.name for folder in Path("/proc").iterdir())):
        with contextlib.suppress(OSError):
            if os.getpgid(int(name)) == group:
                maps = Path("/proc", name, "maps").read_text(encoding="utf-8", errors="replace").splitlines()
                paths = [line.split(None, 5)[5] for line in maps if SHARED in line]
                found.update(path for path in paths if path.startswith(SHARED))
    return found


def free(files: set[str]) -> None:
    """Remove them; who still uses one keeps it."""
    for file in files:
        with contextlib.suppress(OSError):
            Path(file).unlink()


if __name__ == "__main__":
    main()
