"""Watches calls in flight from outside: a client that left, a call that takes too long, a gateway that must stop.

A WSGI application learns that its client is gone only when it writes. One greenlet asks the kernel about all client
sockets at once, a few times a second, and closes the engine's connection of every call that is in vain: the engine
sees that and stops computing, even during prefill.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable

import gevent
from gevent import monkey

from inference.gateway.faults import ApiError

LOOK_SECONDS = 0.2
GONE, OVERDUE, STOPPING = "gone", "overdue", "stopping"


class Trip:
    """One call in flight."""

    def __init__(self, handle: int, deadline: float, id: str = "") -> None:
        """`id` is the request's, which the engine is told too."""
        self.id = id
        self.handle = handle
        self.deadline = deadline
        self.ended = ""
        """Why it was ended from outside; empty while it was not."""
        self._wire: socket.socket | None = None

    def hold(self, wire: socket.socket | None) -> None:
        """Name the engine's connection that waits for this call; None when there is none."""
        self._wire = wire
        if wire is not None and self.ended:
            _hang_up(wire)

    def end(self, why: str) -> None:
        """Give the call up and hang up on the engine."""
        self.ended = self.ended or why
        if self._wire is not None:
            _hang_up(self._wire)

    @property
    def over(self) -> str:
        """Why the call is over; empty while it is not. Its connection may time out before the watch looks."""
        return self.ended or (OVERDUE if time.monotonic() >= self.deadline else "")

    def check(self) -> None:
        """Raises ApiError when the call is over."""
        if self.over:
            raise ended_early(self.over)


def ended_early(why: str) -> ApiError:
    """What is said about a call that was given up. Nobody hears it when the client is gone."""
    if why == GONE:
        return ApiError(499, "the client closed the connection", "client_gone")
    if why == OVERDUE:
        return ApiError(504, "the answer took longer than gateway.request_timeout_seconds", "timeout", final=True)
    return ApiError(503, "the gateway is stopping", "gateway_stopping", retry_after=5)


class Watch:
    """All calls in flight."""

    def __init__(self, seconds: float, drain_seconds: float) -> None:
        """`seconds` is the longest time of a call; `drain_seconds` what is left of it once the process must stop."""
        self._seconds = seconds
        self._drain_seconds = drain_seconds
        self._trips: dict[int, Trip] = {}
        # gevent's own `poll` would wait in its loop; the kernel's with timeout 0 only looks.
        self._poll = monkey.get_original("select", "poll")()
        self.stopping: Callable[[], bool] = lambda: False
        self.stops: Callable[[], None] = lambda: None
        """Called once, when the process was told to stop."""
        self.drained: Callable[[], None] = lambda: None
        """Called while the process stops and no call is in flight."""
        self._stopping_since: float | None = None

    def enter(self, client: socket.socket | None, request_id: str = "") -> Trip:
        """A call begins; `client` is its connection. Raises ApiError (503) when the process is told to stop."""
        if self.stopping():
            raise ended_early(STOPPING)
        handle = client.fileno() if client is not None else -1
        trip = Trip(handle, time.monotonic() + self._seconds, request_id)
        self._trips[id(trip)] = trip
        if handle >= 0:
            self._poll.register(handle, select.POLLRDHUP)
        return trip

    @property
    def in_flight(self) -> int:
        """How many calls there are."""
        return len(self._trips)

    def leave(self, trip: Trip) -> None:
        """The call is over. Safe to call twice."""
        if self._trips.pop(id(trip), None) is not None and trip.handle >= 0:
            with contextlib.suppress(KeyError):
                self._poll.unregister(trip.handle)

    def start(self) -> None:
        """Begin to watch, for as long as the process lives."""
        gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            gevent.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """One look at everybody."""
        now = time.monotonic()
        if self._stopping_since is None and self.stopping():
            self._stopping_since = now
            self.stops()
        if not self._trips:
            if self._stopping_since is not None:
                self.drained()
            return
        gone = {handle for handle, _ in self._poll.poll(0)}
        must_stop = self._stopping_since is not None and now - self._stopping_since > self._drain_seconds
        for trip in list(self._trips.values()):
            if trip.handle in gone:
                self._poll.unregister(trip.handle)
                trip.handle = -1
                trip.end(GONE)
            elif now > trip.deadline:
                trip.end(OVERDUE)
            elif must_stop:
                trip.end(STOPPING)


def _hang_up(wire: socket.socket) -> None:
    """Wake whoever waits on this socket; its owner closes it."""
    with contextlib.suppress(OSError):
        # A TLS socket's own `shutdown` takes its state away from the reader, who then meets a ValueError.
        socket.socket.shutdown(wire, socket.SHUT_RDWR)
