"""Forked children, several at once, each with a pipe for its reply and a limit on time.

A child is a process group of its own, so whatever it started goes with it. Its reply is JSON, one a line, on a
descriptor the tests do not know; the last line has the key ``status``. A child that is gone without one died.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import time
from collections.abc import Callable
from typing import Any

Reply = dict[str, Any]
Tell = Callable[[Reply], None]
Work = Callable[[Tell], Reply]


class Child:
    """One running child."""

    def __init__(self, job: int, pid: int, pipe: int, deadline: float) -> None:
        self.job = job
        self.pid = pid
        self.pipe = pipe
        self.deadline = deadline
        self.started = time.monotonic()
        self.buffer = bytearray()


class Pool:
    """Runs work in forked children and hands on what they say."""

    def __init__(self, memory_mb: int, reply: Callable[[Reply], None]) -> None:
        self.memory_mb = memory_mb
        self.reply = reply
        self.selector = selectors.DefaultSelector()
        self.running: dict[int, Child] = {}

    def start(self, job: int, work: Work, wall_seconds: float) -> None:
        """Fork a child for this job."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _be_child(work, writing, self.memory_mb)
        os.close(writing)
        os.set_blocking(reading, False)
        child = Child(job, pid, reading, time.monotonic() + wall_seconds)
        self.running[reading] = child
        self.selector.register(reading, selectors.EVENT_READ, child)

    def attend(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Read what children wrote, and end those past their deadline."""
        for key, _ in ready:
            if isinstance(key.data, Child):
                self._read(key.data)
        now = time.monotonic()
        for child in [child for child in self.running.values() if child.deadline < now]:
            self._end(child, "timeout")

    def nearest_deadline(self) -> float:
        """Seconds until the first child must be ended."""
        return max(0.0, min(child.deadline for child in self.running.values()) - time.monotonic())

    def _read(self, child: Child) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data = os.read(child.pipe, 1 << 16)
                if not data:
                    self._end(child, "died")
                    return
                child.buffer += data
                if self._hand_on(child):
                    return

    def _hand_on(self, child: Child) -> bool:
        """Reply with each whole line; True when the child has said its last."""
        while b"\n" in child.buffer:
            line, _, rest = child.buffer.partition(b"\n")
            child.buffer = bytearray(rest)
            try:
                said = json.loads(line)
            except ValueError:
                continue  # a test wrote to our descriptor by its number
            if "status" in said:
                self._end(child, said["status"], said)
                return True
            self.reply({"job": child.job, **said})
        return False

    def _end(self, child: Child, status: str, said: Reply | None = None) -> None:
        self.selector.unregister(child.pipe)
        del self.running[child.pipe]
        os.close(child.pipe)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        _, code, usage = os.wait4(child.pid, 0)
        if status == "died" and os.WIFSIGNALED(code) and os.WTERMSIG(code) in (signal.SIGPROF, signal.SIGXCPU):
            status = "timeout"
        cpu = usage.ru_utime + usage.ru_stime
        wall = time.monotonic() - child.started
        self.reply({**(said or {}), "job": child.job, "status": status, "cpu": round(cpu, 4), "wall": round(wall, 4)})


def limit_cpu(seconds: float, late: Callable[[int, Any], Any] | None = None) -> None:
    """From now on, this process may use so many CPU seconds; then it dies of SIGPROF, or `late` is called."""
    signal.signal(signal.SIGPROF, late or signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _be_child(work: Work, pipe: int, memory_mb: int) -> None:
    status = 1
    try:
        os.setpgid(0, 0)
        if memory_mb:
            resource.setrlimit(resource.RLIMIT_DATA, (memory_mb << 20, memory_mb << 20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        me = os.getpid()

        def tell(message: Reply) -> None:
            if os.getpid() != me:
                os._exit(1)  # a test forked and let its child run on into our code
            data = json.dumps(message).encode() + b"\n"
            while data:
                data = data[os.write(pipe, data) :]

        tell(work(tell))
        status = 0
    except BaseException as error:
        with contextlib.suppress(BaseException):
            tell({"status": "died", "message": f"{type(error).__name__}: {error}"[:500]})
    finally:
        os._exit(status)
