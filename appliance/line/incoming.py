"""The messages from outside that wait in the ledger, worked off one after the other (what they ask for: `heard.py`).

A message that cannot be acted on yet waits, and says why. While a forge does not answer, all messages of its repository
wait, with a growing pause; those of other repositories do not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from appliance.errors import Conflict, FactoryError, NotFound, UsageError
from appliance.intake.reading import read
from appliance.ledger import Ledger
from appliance.line import telling
from appliance.line.heard import Hearing, Later, Settled
from appliance.news import Delivery, DeliveryState, News
from appliance.ports import Forge
from appliance.work import TrackedRepository, WorkItem

log = logging.getLogger("appliance.line")

Fetch = Callable[[TrackedRepository], object]
"""Asks for a repository to be fetched, and returns at once."""

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
"""Seconds until a forge that did not answer is asked again."""
AT_ONCE = 500
"""Messages looked at in one turn."""
LONGEST_WHY = 500
TURN_SECONDS = 1.0
"""Of one message in one turn: a table of ten thousand rows is filed in pieces, and others have their turns between."""


@dataclass
class Away:
    """A repository whose forge did not answer."""

    until: float
    pause: float


@dataclass
class Begun:
    """A message of which a part is done. A process that ends forgets it: what was done is then known by its keys."""

    told: tuple[News, ...]
    """Read once: reading a table takes as long as filing many of its rows."""
    came: list[Settled] = field(default_factory=list)
    late: FactoryError | None = None


class Incoming:
    """Works off one ledger's messages. Safe to repeat: a signal is filed once for each key, a command heard once."""

    def __init__(
        self, ledger: Ledger, fetch: Fetch, forge_of: Callable[[TrackedRepository], Forge], address: str
    ) -> None:
        self._ledger = ledger
        self._fetch = fetch
        self._forge_of = forge_of
        self._address = address
        self._away: dict[str, Away] = {}
        self._begun: dict[int, Begun] = {}

    def work_off(self) -> int:
        """Look at every message that waits; how many were settled."""
        settled = 0
        away = [repo for repo in self._away if self._is_away(repo)]
        for delivery in self._ledger.deliveries.waiting(AT_ONCE, without=away):
            if not self._is_away(delivery.repo):
                settled += self._look_at(delivery)
        return settled

    def _look_at(self, delivery: Delivery) -> bool:
        """Settle a message, or let it wait on."""
        deliveries = self._ledger.deliveries
        try:
            came = self._heard(delivery)
        except (Later, Conflict) as error:
            self._waits(delivery, error)
            return False
        except FactoryError as error:  # the forge: nobody's right can be told, so nothing is done
            self._postpone(delivery.repo)
            self._waits(delivery, error)
            return False
        if came is None:
            return False
        self._away.pop(delivery.repo, None)
        state, why = summed_up(came)
        signal = next((one.signal for one in came if one.signal), "")
        item = next((one.item for one in came if one.item), "")
        deliveries.settle(delivery.number, state, why, signal, item)
        if state is DeliveryState.REFUSED:
            log.warning("delivery %d of %s: refused, %s", delivery.number, delivery.repo, why)
        return True

    def _heard(self, delivery: Delivery) -> list[Settled] | None:
        """Act on all that a message says; None while there is more than fits into one turn. Raises Later or Conflict to
        be asked again soon, else as the forge does."""
        begun = self._begun.pop(delivery.number, None)
        try:
            tracked = self._ledger.repository(delivery.repo)
            raw = self._ledger.deliveries.raw
            begun = begun or Begun(read(delivery, raw(delivery.number), tracked.mapping))
        except (UsageError, NotFound) as error:
            return [Settled(DeliveryState.REFUSED, error.message)]
        hearing = Hearing(self._ledger, self._forge_of, tracked, delivery, begun.told, self._fetch, self._explained)
        until = self._ledger.clock.monotonic() + TURN_SECONDS
        for turn, news in enumerate(begun.told[len(begun.came) :]):
            if turn and self._ledger.clock.monotonic() > until:
                self._begun[delivery.number] = begun
                why = f"{len(begun.came)} of {len(begun.told)} are done"
                self._ledger.deliveries.settle(delivery.number, DeliveryState.WAITING, why)
                return None
            try:
                begun.came.append(hearing.settle(news))
            except (Later, Conflict) as error:
                begun.late = error  # the rest need not wait for it: what is done twice is done once
                begun.came.append(Settled(DeliveryState.WAITING, error.message))
        if begun.late:
            raise begun.late
        return begun.came

    def _explained(self, item: WorkItem) -> str:
        events = [event.payload for event in self._ledger.history(item.id)]
        return telling.explanation(item, events, self._address)

    def _waits(self, delivery: Delivery, error: FactoryError) -> None:
        why = f"{error.message}. {error.hint}".removesuffix(". ")[:LONGEST_WHY]
        if delivery.why != why:
            self._ledger.deliveries.settle(delivery.number, DeliveryState.WAITING, why)
            log.warning("delivery %d of %s waits: %s", delivery.number, delivery.repo, why)

    def _is_away(self, repo: str) -> bool:
        away = self._away.get(repo)
        return away is not None and self._ledger.clock.monotonic() < away.until

    def _postpone(self, repo: str) -> None:
        before = self._away.get(repo)
        pause = min(LONGEST_PAUSE, before.pause * 2) if before else FIRST_PAUSE
        self._away[repo] = Away(self._ledger.clock.monotonic() + pause, pause)


def summed_up(came: Sequence[Settled]) -> tuple[DeliveryState, str]:
    """What came of a message: what was done, else what was refused, else why there was nothing to do."""
    for state in (DeliveryState.DONE, DeliveryState.REFUSED, DeliveryState.IGNORED):
        words = dict.fromkeys(one.why for one in came if one.state is state)
        if words:
            return state, "; ".join(words)[:LONGEST_WHY]
    return DeliveryState.IGNORED, "an event that tells nothing the box acts on"
