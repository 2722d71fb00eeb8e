"""One watched run as the host sees it: start the watcher, read what comes out, end it when a limit is reached.

The loop never keeps more output than the limit allows, and asks the watcher (see `inside.py`) to stop and report
before it kills: files written up to a time-out, such as the tests that had passed, are worth having.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from appliance.computers.cgroup import Group
from appliance.computers.inside import FILE_LIMIT
from appliance.errors import Unavailable
from appliance.ports import Completed, Limits

TICK = 0.05
GRACE = 10.0
"""Seconds the watcher gets to end everything and hand files back once it was told to stop."""

JOIN = 'while [ "$1" != -- ]; do echo 0 >"$1" || exit 125; shift; done; shift; exec "$@"'
"""Enter the run's control groups, then become the watcher: nothing ever runs outside them."""


@dataclass
class Prepared:
    """Everything needed to start one watcher."""

    command: list[str]
    orders: int
    reports: int
    descriptors: tuple[int, ...] = ()
    group: Group | None = None
    clean: Callable[[], None] = lambda: None
    fetch: Sequence[str] = ()


@dataclass
class Reports:
    """What the watcher said, put together from the bytes of its pipe."""

    fetch: Sequence[str]
    limit: str = ""
    exit_code: int | None = None
    error: str = ""
    begun: bool = False
    ended: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    _pending: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> None:
        """Take more bytes. Raises ValueError when they are not reports."""
        self._pending += data
        while not self.ended:
            header, newline, _ = self._pending.partition(b"\n")
            if not newline:
                if len(header) > 4096:
                    raise ValueError("a header line without end")
                return
            word, _, rest = header.decode("utf-8", "replace").partition(" ")
            size = len(header) + 1
            if word == "file":
                index, length = (int(number) for number in rest.split())
                if not 0 <= length <= FILE_LIMIT:
                    raise ValueError("a file of impossible size")
                if len(self._pending) < size + length:
                    return
                self.files[self.fetch[index]] = bytes(self._pending[size : size + length])
                size += length
            self._take(word, rest)
            del self._pending[:size]

    def _take(self, word: str, rest: str) -> None:
        if word == "limit":
            self.limit = self.limit or rest
        elif word == "exit":
            self.exit_code = int(rest)
        elif word == "error":
            self.error = rest
        elif word == "begun":
            self.begun = True
        elif word == "end":
            self.ended = True
        elif word != "file":
            raise ValueError(f"an unknown report {word!r}")


class Running:
    """A started watcher. `keep` runs in the thread that made it, until everything inside has ended."""

    def __init__(self, prepared: Prepared, limits: Limits) -> None:
        self.limits = limits
        self.prepared = prepared
        self.reports = Reports(prepared.fetch)
        self.limit = ""
        self.kept = {"stdout": bytearray(), "stderr": bytearray()}
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._deadline = self._started + limits.seconds
        self._kill_at: float | None = None
        self._spill = False
        self._report_end, self._order_end = prepared.reports, prepared.orders

    def start(self, given: tuple[int, int]) -> None:
        """Start the watcher. `given` are the ends of the report and order pipes that it inherits; closed here."""
        group = self.prepared.group
        command = self.prepared.command
        if group is not None:
            command = ["/bin/sh", "-c", JOIN, "sh", *group.entrances, "--", *command]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
                pass_fds=(*given, *self.prepared.descriptors),
                start_new_session=True,  # a Ctrl-C at the terminal is for us, not for it
            )
        except OSError as error:
            raise Unavailable(f"the sandbox could not be started: {error}", "run `appliance doctor`") from error
        finally:
            for descriptor in (*given, *self.prepared.descriptors):
                os.close(descriptor)

    def order(self, letter: bytes) -> None:
        """k: stop now and report. x: stop now."""
        with self._lock:
            if self._order_end >= 0 and self._kill_at is None:
                self._kill_at = time.monotonic() + (GRACE if letter == b"k" else 2.0)
                with contextlib.suppress(BrokenPipeError):
                    os.write(self._order_end, letter)

    def keep(self, stdin: bytes | None, streams: Sequence[str], *, spill: bool = False) -> None:
        """Feed `stdin`, read the named streams, watch the limits; returns when everything inside is gone.

        With `spill`, output past the limit is thrown away; without, it ends the run.
        """
        self._spill = spill
        selector = selectors.DefaultSelector()
        pending = memoryview(stdin or b"")
        try:
            selector.register(self._report_end, selectors.EVENT_READ, "reports")
            for name in streams:
                selector.register(getattr(self.process, name), selectors.EVENT_READ, name)
            if stdin is not None and self.process.stdin is not None:
                os.set_blocking(self.process.stdin.fileno(), False)
                selector.register(self.process.stdin, selectors.EVENT_WRITE, "stdin")
            while selector.get_map() and not self._over():
                for key, _ in selector.select(TICK):
                    if key.data == "stdin":
                        pending = self._write(pending)
                        gone = not pending
                    else:
                        gone = not self._read(key.fd, key.data)
                    if gone:
                        selector.unregister(key.fileobj)
                        if key.data == "stdin" and self.process.stdin is not None:
                            self.process.stdin.close()
                self._watch_limits()
        finally:
            selector.close()
            self._finish()

    def _write(self, pending: memoryview) -> memoryview:
        assert self.process.stdin is not None
        try:
            return pending[os.write(self.process.stdin.fileno(), pending[:65536]) :] if pending else pending
        except BlockingIOError:
            return pending
        except BrokenPipeError:
            return memoryview(b"")

    def _read(self, descriptor: int, name: str) -> bool:
        data = os.read(descriptor, 65536)
        if name == "reports":
            self.reports.feed(data)
            return bool(data) and not self.reports.ended
        room = self.limits.output_kb * 1024 - sum(map(len, self.kept.values()))
        self.kept[name] += data[: max(0, room)]
        if len(data) > room and not self._spill:
            self._reach("output")
        return bool(data)

    def _over(self) -> bool:
        """The watcher is gone and its report read, or it did not end in time."""
        return self._kill_at is not None and time.monotonic() > self._kill_at

    def _watch_limits(self) -> None:
        if self.reports.ended or self.limit:
            return
        if time.monotonic() > self._deadline:
            self._reach("time")
        elif self.prepared.group is not None and (exceeded := self.prepared.group.exceeded()):
            self._reach(exceeded)

    def _reach(self, limit: str) -> None:
        self.limit = self.limit or limit
        self.order(b"k")

    def _finish(self) -> None:
        """Whatever happened, nothing of it is left: the watcher first, then what its group still holds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0 if self._over() else 2.0)
        with self._lock:
            os.close(self._order_end)
            self._order_end = -1
        self.process.kill()
        group = self.prepared.group
        if group is not None:
            if not self.limit and not self.reports.limit:
                self.limit = group.exceeded()
            group.close()
        self.process.wait()
        os.close(self._report_end)
        for stream in (self.process.stdin, self.process.stderr):
            if stream is not None:
                stream.close()
        self.prepared.clean()
        self.seconds = time.monotonic() - self._started

    def completed(self) -> Completed:
        """The result of a kept run.

        Raises:
            Unavailable: the sandbox itself failed, so nothing can be said about the command.
        """
        limit = self.limit or self.reports.limit
        if self.process.stdout is not None:
            self.process.stdout.close()
        if self.reports.error and not limit:
            raise Unavailable(f"the sandbox could not be made: {self.reports.error}", "run `appliance doctor`")
        if not self.reports.begun and not limit:
            told = bytes(self.kept["stderr"]).decode("utf-8", "replace").strip()[-500:]
            raise Unavailable(f"the sandbox could not be started: {told}", "run `appliance doctor`")
        if self.reports.error:
            self.kept["stderr"] += f"sandbox: {self.reports.error}\n".encode()
        return Completed(
            exit_code=None if limit else self.reports.exit_code,
            stdout=bytes(self.kept["stdout"]),
            stderr=bytes(self.kept["stderr"]),
            seconds=self.seconds,
            limit=limit,
            files=self.reports.files,
        )
