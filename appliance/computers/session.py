"""A long-lived process in the sandbox, spoken to over pipes, a line at a time."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Self

from appliance.computers.running import Running
from appliance.errors import FactoryError, LimitExceeded, Unavailable


class PipeSession:
    """See `ports.Session`. Limits hold for the whole session; output counts per line that is waiting to be read.

    A thread of its own starts the watcher and stays until it has ended: the kernel kills a sandbox whose starting
    thread ends, and callers' threads come and go. The same thread reads standard error, so that it never blocks.
    """

    def __init__(self, launch: Callable[[], Running]) -> None:
        self._failure: BaseException | None = None
        self._running: Running | None = None
        self._line = bytearray()
        self._closed = False
        self._writing = threading.Lock()
        ready = threading.Event()
        self._keeper = threading.Thread(target=self._keep, args=(launch, ready), name="sandbox-session", daemon=True)
        self._keeper.start()
        ready.wait()
        process = self._launched().process
        assert process.stdin is not None and process.stdout is not None
        self._stdin: int = os.dup(process.stdin.fileno())
        self._stdout: int = process.stdout.fileno()

    def _launched(self) -> Running:
        """The running watcher. Raises what kept it from starting."""
        if self._failure is not None:
            raise self._failure
        assert self._running is not None
        return self._running

    def _keep(self, launch: Callable[[], Running], ready: threading.Event) -> None:
        try:
            self._running = launch()
        except BaseException as error:  # noqa: BLE001  handed to the caller's thread
            self._failure = error
            ready.set()
            return
        ready.set()
        with contextlib.suppress(ValueError):  # reports that are none: the session ends like any that breaks
            self._running.keep(None, ("stderr",), spill=True)

    @property
    def stderr(self) -> bytes:
        """What it wrote to standard error so far, up to the output limit."""
        return bytes(self._running.kept["stderr"]) if self._running else b""

    @property
    def limit(self) -> str:
        """Which limit ended it, or empty."""
        return (self._running.limit or self._running.reports.limit) if self._running else ""

    def send(self, line: bytes) -> None:
        with self._writing:
            if self._closed:
                raise Unavailable("the session is closed", "open a new one")
            data = memoryview(line + b"\n")
            try:
                while data:
                    data = data[os.write(self._stdin, data) :]
            except BrokenPipeError as error:
                raise self._gone() from error

    def receive(self, timeout: float) -> bytes | None:
        deadline = time.monotonic() + timeout
        most = self._running.limits.output_kb * 1024 if self._running else 0
        poller = select.poll()
        poller.register(self._stdout, select.POLLIN)
        while True:
            line, newline, rest = self._line.partition(b"\n")
            if newline:
                self._line = rest
                return bytes(line)
            if self._closed:
                raise Unavailable("the session is closed", "open a new one")
            if len(line) > most:
                self.close()
                raise LimitExceeded(
                    f"a line of more than {most // 1024} KiB came out of the sandbox", "raise output_kb"
                )
            left = deadline - time.monotonic()
            if left < 0 or not poller.poll(left * 1000):
                return None
            data = os.read(self._stdout, 65536)
            if not data:
                raise self._gone()
            self._line += data

    def _gone(self) -> FactoryError:
        self._keeper.join(5.0)
        told = self.stderr[-2000:].decode("utf-8", "replace").strip()
        reports = self._running.reports if self._running else None
        why = f"limit reached: {self.limit}" if self.limit else (reports.error if reports and reports.error else told)
        return Unavailable(f"the process in the sandbox has ended ({why or 'no reason given'})", "open a new session")

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        assert self._running is not None
        self._running.order(b"x")
        self._keeper.join()
        with self._writing:
            os.close(self._stdin)
        if self._running.process.stdout is not None:
            self._running.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
