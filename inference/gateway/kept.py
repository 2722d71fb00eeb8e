"""Responses that a client may go on from by `previous_response_id`: in memory only, few, and for their owner alone.

Nothing of it is ever written. A restart forgets them all, which clients hear as an unknown id.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from appliance.ports import Clock, SystemClock
from inference.gateway.responses import Item

SECONDS = 6 * 3600.0
"""How long a response can be gone on from."""
MEBIBYTE = 1024 * 1024
BYTES = 64 * MEBIBYTE
"""Of all that is kept together."""


@dataclass(frozen=True)
class KeptResponse:
    """A response, and the conversation up to and with it."""

    owner: str
    response: dict[str, Any]
    items: tuple[Item, ...]
    size: int
    since: float


class Kept:
    """The last responses, the oldest first."""

    def __init__(self, entries: int, seconds: float = SECONDS, size: int = BYTES, clock: Clock | None = None) -> None:
        self._entries = entries
        self._seconds = seconds
        self._size = size
        self._clock = clock or SystemClock()
        self._all: OrderedDict[str, KeptResponse] = OrderedDict()
        self._held = 0

    @property
    def on(self) -> bool:
        """Whether anything is kept at all."""
        return self._entries > 0

    def put(self, owner: str, response: dict[str, Any], before: Sequence[Item]) -> None:
        """Keep a whole response and the items it answered; the oldest give way."""
        items = (*before, *response["output"])
        size = len(orjson.dumps([items, response]))
        if size > self._size:
            return
        self._all[response["id"]] = KeptResponse(owner, response, items, size, self._clock.monotonic())
        self._held += size
        while len(self._all) > self._entries or self._held > self._size:
            self._held -= self._all.popitem(last=False)[1].size

    def get(self, owner: str, id: str) -> KeptResponse | None:
        """A response of this owner."""
        while self._all and self._clock.monotonic() - next(iter(self._all.values())).since > self._seconds:
            self._held -= self._all.popitem(last=False)[1].size
        found = self._all.get(id)
        return found if found is not None and found.owner == owner else None

    def drop(self, owner: str, id: str) -> bool:
        """Forget a response; False when this owner has none of that id."""
        found = self.get(owner, id)
        if found is not None:
            del self._all[id]
            self._held -= found.size
        return found is not None
