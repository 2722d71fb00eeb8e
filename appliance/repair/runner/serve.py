"""The loop: read requests, keep children busy, send replies.

====================  ==========================================================================================
request               reply
====================  ==========================================================================================
collect               ``{"op": "collected", "tests": […], "errors": {id: text}, "called": […]}``
plan (name, tests)    none: names a list of tests for later jobs
run (job, …)          one line per test when asked, at last ``{"job", "status", "outcomes", "cpu", "wall", …}``
probe (job, …)        lines ``{"job", "calls": [[key, outcome], …]}``, at last ``{"job", "status", …}``
forget                none: drops the jobs not yet started
====================  ==========================================================================================

``status`` is done, cold (this candidate changes what runs at import; a cold runner must try it), syntax, timeout or
died.
"""

from __future__ import annotations

import collections
import gc
import json
import os
import selectors
import sys
from typing import Any

from . import candidate, jobs
from .children import Pool, Reply
from .suite import Suite


class Server:
    """One runner: hot (tests collected in this process) or cold (each job collects for itself)."""

    def __init__(self, requests: int, replies: int, *, hot: bool, processes: int, memory_mb: int) -> None:
        self.requests, self.replies, self.hot = requests, replies, hot
        self.processes = processes
        self.pool = Pool(memory_mb, self.reply)
        self.pool.selector.register(requests, selectors.EVENT_READ, "requests")
        os.set_blocking(requests, False)
        self.buffer = bytearray()
        self.waiting: collections.deque[dict[str, Any]] = collections.deque()
        self.world = jobs.World(hot=hot)
        self.open = True

    def loop(self) -> None:
        """Serve until the requests end and all is answered."""
        while self.open or self.waiting or self.pool.running:
            while self.waiting and len(self.pool.running) < self.processes:
                self._begin(self.waiting.popleft())
            if not self.open and not self.pool.running:
                continue
            ready = self.pool.selector.select(self.pool.nearest_deadline() if self.pool.running else None)
            if any(key.data == "requests" for key, _ in ready):
                self._take()
            self.pool.attend(ready)

    def reply(self, message: Reply) -> None:
        """Send one line."""
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self.replies, data) :]

    def _take(self) -> None:
        try:
            data = os.read(self.requests, 1 << 20)
        except BlockingIOError:
            return
        if not data:
            self.open = False
            self.pool.selector.unregister(self.requests)
            return
        self.buffer += data
        *lines, rest = self.buffer.split(b"\n")
        self.buffer = bytearray(rest)
        for line in lines:
            self._understand(json.loads(line))

    def _understand(self, request: dict[str, Any]) -> None:
        match request["op"]:
            case "collect":
                self._collect(request["args"])
            case "plan":
                self.world.plans[request["name"]] = request["tests"]
            case "forget":
                self.waiting.clear()
            case _:
                self.waiting.append(request)

    def _begin(self, request: dict[str, Any]) -> None:
        live = self.world.live
        if live is not None and not live.ready(request.get("edits", ())):
            self.reply({"job": request["job"], "status": "cold", "cpu": 0.0, "wall": 0.0})
            return
        self.pool.start(request["job"], lambda tell: jobs.do(self.world, request, tell), request["wall"])

    def _collect(self, args: list[str]) -> None:
        if not self.hot:
            self.world.args = args
            self.reply({"op": "collected", "tests": [], "errors": {}, "called": 0})
            return
        called: set[candidate.Place] = set()
        sys.setprofile(None)
        sys.settrace(candidate.calls_into(called, self.world.root))
        try:
            suite = Suite(args)
        except BaseException as error:
            sys.settrace(None)
            self.reply(
                {"op": "collected", "tests": [], "errors": {"": f"{type(error).__name__}: {error}"[:2000]}, "called": 0}
            )
            return
        sys.settrace(None)
        self.world.suite = suite
        self.world.live = candidate.LiveFunctions(self.world.root, called)
        gc.collect()
        gc.freeze()
        self.reply({"op": "collected", "tests": list(suite.items), "errors": suite.errors, "called": len(called)})
