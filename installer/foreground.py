"""Runs one command in the foreground so that Ctrl-C reaches it alone and its exit status is the caller's.

`make` dies of the terminal's interrupt before it can report how the box ended. In a process group of its own that
holds the terminal, the box gets the interrupt, ends in order, and `make` reports its status.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(command: Sequence[str]) -> int:
    """Run the command to its end; its status, or 128 + n when signal n ended it."""
    started: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if started:
            started[0].send_signal(number)
        else:
            early.append(number)

    # handlers first: a child may be up before its starter goes on
    previous = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    own_group = None
    try:
        child = subprocess.Popen(command, process_group=0)
        started.append(child)
        for number in early:
            child.send_signal(number)
        own_group = _lend_terminal(child.pid)
        status = child.wait()
    finally:
        _take_back_terminal(own_group)
        for number, handler in previous.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _lend_terminal(group: int) -> int | None:
    """Make the child's group the terminal's foreground; the group that was, or None without a terminal of ours."""
    try:
        before = os.tcgetpgrp(sys.stdin.fileno())
        if before != os.getpgrp():
            return None  # started in the background: the terminal belongs to somebody else
        _set_foreground(group)
    except (OSError, ValueError):
        return None
    return before


def _take_back_terminal(group: int | None) -> None:
    if group is not None:
        _set_foreground(group)


def _set_foreground(group: int) -> None:
    """Changing the foreground from outside it raises SIGTTOU, which would stop this process."""
    ignored = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(sys.stdin.fileno(), group)
    finally:
        signal.signal(signal.SIGTTOU, ignored)
