"""One child process of a supervisor: started, watched, ended; its log kept short; its end put into words."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from inference.keep import free, shared_memory

LAUNCHER = Path(__file__).with_name("launch.py")
LOG_BYTES = 5 * 1024 * 1024
"""Size at which a log is moved to `<name>.1`; one old file is kept."""
REAP_SECONDS = 5.0
TAIL_BYTES = 16 * 1024
"""How far back in a log its last words are looked for."""
TIME_STAMP = re.compile(r"^\d[\d.:,TZ+-]*\s+(?:\d[\d.:,TZ+-]*\s+)?(?:[A-Z]\s+)?")
"""Dates, times and a level's letter, as programs put them in front of their lines."""


Explain = Callable[[str], str]
"""Why a program ended, from what it logged since its start (the last TAIL_BYTES of it); "" when that does not tell."""


class Running(Protocol):
    """What a supervisor keeps running."""

    @property
    def pid(self) -> int | None: ...

    def ended(self) -> str | None:
        """Why it ended, in words; None while it lives."""
        ...

    def terminate(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """End it."""
        ...

    def rotate(self) -> None:
        """Keep its log short."""
        ...


class Elsewhere:
    """Something that runs on another machine: nothing is started, ended or logged here."""

    pid: int | None = None

    def __init__(self) -> None:
        self._left = False

    def ended(self) -> str | None:
        """See Running: it ends, for us, when it is no longer wanted."""
        return "is no longer used" if self._left else None

    def terminate(self) -> None:
        """See Running."""
        self._left = True

    def kill(self) -> None:
        """See Running."""
        self._left = True

    def rotate(self) -> None:
        """See Running: there is no log."""


class Child:
    """A running process in a group of its own, which the kernel kills when the thread that made it ends."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        log: Path,
        death_signal: int = signal.SIGKILL,
        telling: Sequence[str] = (),
        explain: Explain | None = None,
    ) -> None:
        """Start it. `env` None means this process's own; `telling` as in `last_words`, for what `explain` leaves open.

        Raises:
            OSError: that is not possible.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        rotate(log)
        self._log = log
        self._telling = telling
        self._explain = explain
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(int(death_signal)), str(os.getpid())]
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                [*launcher, *argv],
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> str | None:
        """Why it ended, in words; None while it lives."""
        status = self._process.poll()
        if status is None:
            return None
        self._kill_group()  # what it started itself must not outlive it
        said = tail(self._log, self._log_start)
        return in_words(status, (self._explain(said) if self._explain else "") or last_words(said, self._telling))

    def terminate(self) -> None:
        """Ask it to end; its own children are its own business."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it and everything in its group, and wait until the kernel has let go of it."""
        self._kill_group()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(REAP_SECONDS)

    def rotate(self) -> None:
        """Keep its log short while it runs."""
        if rotate(self._log):
            self._log_start = 0

    def _kill_group(self) -> None:
        free(shared_memory(self._process.pid))  # nobody in the group is left to do it
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def rotate(log: Path, limit: int = LOG_BYTES) -> bool:
    """Move a log that has grown past `limit` bytes to `<name>.1`, by copying: its writer goes on with the same file.

    Writers append, so cutting the file to nothing is safe; a line written between copy and cut is lost.
    """
    try:
        if log.stat().st_size <= limit:
            return False
    except FileNotFoundError:
        return False
    shutil.copyfile(log, log.with_name(log.name + ".1"))
    os.truncate(log, 0)
    return True


def in_words(status: int, said: str) -> str:
    """An exit status for people.

    >>> in_words(1, "no such file"), in_words(-11, "")
    ('ended with status 1: no such file', 'killed by SIGSEGV')
    """
    if status >= 0:
        how = f"ended with status {status}"
    else:
        try:
            how = f"killed by {signal.Signals(-status).name}"
        except ValueError:
            how = f"killed by signal {-status}"
    # Killed from outside, its last words say nothing about why.
    return f"{how}: {said}" if said and status != -signal.SIGKILL else how


def tail(log: Path, start: int = 0, limit: int = TAIL_BYTES) -> str:
    """What stands in a log since byte `start`, its last `limit` bytes at most; "" when it cannot be read."""
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(start if start <= size else 0, size - limit))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


def last_words(said: str, telling: Sequence[str] = (), limit: int = 300) -> str:
    """The line of a log that tells most, without its time stamp.

    `telling` are phrases of lines that say why a program ends, the best first; after them come "error" and "fail".
    The last line with the best phrase that occurs is taken, else the last line.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for phrase in (*telling, "error", "fail"):
        found = [line for line in lines if phrase.lower() in line.lower()]
        if found:
            lines = found
            break
    return TIME_STAMP.sub("", lines[-1])[:limit] if lines else ""
