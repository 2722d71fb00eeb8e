"""Live events for browsers: the ledger's tail as a server-sent stream whose ids are the ledger's numbers.

A stream occupies one of the server's threads, so their number is capped; one whose browser left ends within a poll.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator

from appliance.errors import Unavailable
from appliance.ledger import Ledger
from appliance.ledger.chain import Recorded

POLL_SECONDS = 0.5
BEAT_SECONDS = 10.0
"""Pause between signs of life, so that a page can tell a quiet box from a broken line."""
BATCH = 200


class Places:
    """How many streams may be open at once."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)

    def take(self) -> None:
        """Raises Unavailable when all are taken."""
        if not self._free.acquire(blocking=False):
            raise Unavailable("too many live pages are open", "close some, or raise console.threads")

    def give_back(self) -> None:
        self._free.release()


def stream(
    ledger: Ledger, after: int, stopping: Callable[[], bool], left: Callable[[], bool], pause: float = POLL_SECONDS
) -> Iterator[str]:
    """Events after number `after`, as they come, until the server stops or the browser has left."""
    yield "retry: 2000\n\n"
    last_beat = time.monotonic()
    while not stopping() and not left():
        try:
            events = ledger.tail(after, BATCH)
        except Unavailable:
            return  # the headers are out, so ending is all that is left; the browser asks again by itself
        for event in events:
            yield frame(event)
            after = event.seq
        if time.monotonic() - last_beat >= BEAT_SECONDS:
            last_beat = time.monotonic()
            yield f"event: beat\ndata: {after}\n\n"
        if not events:
            time.sleep(pause)


def frame(event: Recorded) -> str:
    """One event on the wire."""
    said = event.payload
    data = {"seq": event.seq, "at": event.at, "kind": event.kind, "subject": event.subject}
    data |= {name: said[name] for name in ("stage", "from", "to", "reason", "by") if name in said}
    return f"id: {event.seq}\nevent: fact\ndata: {json.dumps(data)}\n\n"


def has_left(connection: socket.socket | None) -> bool:
    """Has the other side closed? Looks without taking anything from the connection."""
    if connection is None:
        return False
    try:
        readable, _, _ = select.select([connection], [], [], 0)
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True
