"""Starts a program that dies with its supervisor: `python launch.py SIGNAL PARENT PROGRAM ARGUMENTS…`.

The kernel is asked to send SIGNAL when the parent's thread ends (PR_SET_PDEATHSIG), then the program takes this
process over, so its process id is the one the supervisor knows. A script of its own, because running Python code
between fork and exec in a process with threads can lock up. Standard library only, for a quick start (some 20 ms).
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal, make sure the parent did not die before that, become the program."""
    death_signal, parent, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the supervisor is gone")
    try:
        os.execvp(program[0], program)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.exit(f"cannot start {program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
