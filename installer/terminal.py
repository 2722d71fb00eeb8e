"""What a person sees while work goes on: one line a step, and never more than two seconds of silence on a terminal."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from installer.errors import InstallError

REFRESH_SECONDS = 0.5
LOG_PACE_SECONDS = 15.0
TAIL_LINES = 25

Progress = Callable[[str], float | None]
"""Reads a line of a command's output; answers the share done, from 0 to 1, when the line tells it."""


def elapsed(seconds: float) -> str:
    """A duration as people write it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


class Terminal:
    """Prints steps. On a terminal the running step is redrawn in place; in a log it gets a line now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self._last_logged = 0.0

    def say(self, text: str) -> None:
        """One line that stays."""
        self._erase()
        print(text, file=self.stream, flush=True)

    def done(self, name: str, outcome: str) -> None:
        """The line of a finished step."""
        self.say(f"  {name:<28} {outcome}")

    def working(self, name: str, seconds: float, share: float | None, detail: str) -> None:
        """The state of the running step."""
        percent = f"{share:4.0%}" if share is not None else "    "
        line = f"  {name:<28} {percent} {elapsed(seconds):>12}  {detail}"
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write("\r\x1b[K" + line[:width])
            self.stream.flush()
        elif seconds - self._last_logged >= LOG_PACE_SECONDS or seconds < self._last_logged:
            self._last_logged = seconds
            print(line[:160], file=self.stream, flush=True)

    def _erase(self) -> None:
        if self.live:
            self.stream.write("\r\x1b[K")


def run(
    command: Sequence[str | Path],
    terminal: Terminal,
    name: str,
    log: Path,
    *,
    progress: Progress = lambda _: None,
    detail: Callable[[str], str] = str.strip,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    hint: str = "",
    held: Sequence[int] = (),
) -> None:
    """Run a command to its end, show how far it is, keep its output in `log`.

    Args:
        progress: tells the share done from a line of output, where the line tells it.
        detail: what of a line is shown beside it.
        held: open files it gets: a lock it then holds until it ends, even where its caller was killed.

    Raises:
        InstallError: it ended with another status than 0; the message carries the end of its output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    words = [str(word) for word in command]
    with log.open("a", encoding="utf-8") as record:
        record.write(f"\n$ {' '.join(words)}\n")
        try:
            child = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                errors="replace", env=env, cwd=cwd, process_group=0, pass_fds=held,
            )  # fmt: skip
        except OSError as error:
            raise InstallError(f"cannot start {words[0]}: {error.strerror}", hint) from error
        try:
            for share, line, seconds in _follow(child, progress, record, tail):
                terminal.working(name, seconds, share, detail(line))
        finally:
            _end(child)
    if child.returncode != 0:
        raise InstallError(
            f"{name} failed (status {child.returncode}):\n" + "".join(tail), hint or f"all of its output: {log}"
        )


def _follow(
    child: subprocess.Popen[str], progress: Progress, record: TextIO, tail: deque[str]
) -> Iterator[tuple[float | None, str, float]]:
    """Take in the output to its end; now and then the share done, the latest line, and the seconds since the start."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(child, lines), daemon=True).start()
    started, drawn = time.monotonic(), 0.0
    share, latest = None, ""
    while True:
        try:
            line = lines.get(timeout=REFRESH_SECONDS)
            if line is None:
                break
            record.write(line)
            tail.append(line)
            told = progress(line)
            share = share if told is None else told
            latest = line if line.strip() else latest
        except queue.Empty:
            record.flush()
        if time.monotonic() - drawn >= REFRESH_SECONDS:
            drawn = time.monotonic()
            yield share, latest, drawn - started
    child.wait()


def _read(child: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
    if child.stdout is not None:
        with child.stdout:
            for line in child.stdout:
                lines.put(line)
    lines.put(None)


def _end(child: subprocess.Popen[str]) -> None:
    """After an interruption nothing of the command may go on: it runs in a process group of its own."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
