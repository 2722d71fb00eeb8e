"""Fetches mirrors and hears news of their forges: when a webhook says so, else each in its own time.

A few threads (`line.fetches`) take turns, whatever the number of repositories; each takes the one that is longest due.
What a turn finds is on disk before the next one is planned, so a kill at any instant loses nothing: news are kept as a
delivery before the forge's cursor moves, and the same news twice is one delivery.

A server that hangs holds up nobody else: no server may take more than half of the threads while there are others, one
that did not answer takes a single thread until it does, and listing its branches has a short limit of its own.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Protocol
from urllib.parse import urlsplit

from appliance.errors import FactoryError, NotFound
from appliance.intake.reading import polled
from appliance.ledger import Ledger
from appliance.line import pace
from appliance.news import Delivery
from appliance.ports import Forge
from appliance.settings import LineSettings
from appliance.work import MirrorHealth, TrackedRepository

log = logging.getLogger("appliance.line")

LOOK_SECONDS = 2.0
"""Pause between looks at which repositories there are."""
WHOLE_SECONDS = 3600.0
"""So often a mirror is fetched whether or not its branches moved, so that what a listing cannot show is seen too."""


class Copy(Protocol):
    """What is needed of a mirror (appliance.mirror.mirror.Mirror)."""

    def behind(self) -> bool: ...
    def examine(self, before: MirrorHealth) -> MirrorHealth: ...
    def remove(self) -> None: ...


@dataclass
class Round:
    """One repository's place among the others. Times are of the monotonic clock."""

    tracked: TrackedRepository
    server: str
    fetch_at: float
    hear_at: float
    whole_at: float
    busy: bool = False
    woken: bool = False
    untold: int = 0
    """The newest webhook when a poll found what none had told: it and older ones promise nothing."""

    @property
    def due(self) -> float:
        return self.fetch_at if self.tracked.forge == "plain" else min(self.fetch_at, self.hear_at)


class Poller:
    """Polls all repositories of one ledger. Only `work` and `wake` are called from several threads."""

    def __init__(
        self,
        ledger: Ledger,
        mirror_of: Callable[[TrackedRepository], Copy],
        forge_of: Callable[[TrackedRepository], Forge],
        settings: LineSettings,
        chance: Random | None = None,
    ) -> None:
        self._ledger = ledger
        self._mirror_of = mirror_of
        self._forge_of = forge_of
        self._settings = settings
        self._chance = chance or Random()  # noqa: S311 - it spreads polls in time
        self._changed = threading.Condition()
        self._rounds: dict[str, Round] = {}
        self._looked = float("-inf")
        self._servers: frozenset[str] = frozenset()
        self._taken: Counter[str] = Counter()
        self._silent: set[str] = set()
        """Servers that did not answer when they were last asked."""

    def start(self, stop: threading.Event) -> list[threading.Thread]:
        """Start the threads. They end soon after `stop`, and with the process at the latest."""
        threads = [
            threading.Thread(target=self.work, args=(stop,), name=f"fetch-{number}", daemon=True)
            for number in range(self._settings.fetches)
        ]
        for thread in threads:
            thread.start()
        return threads

    def work(self, stop: threading.Event) -> None:
        """Take turns until told to stop."""
        while not stop.is_set():
            try:
                taken = self._take()
            except FactoryError as error:  # the ledger itself: wait and look again
                log.error("mirrors are not polled: %s (%s)", error.message, error.hint)
                stop.wait(LOOK_SECONDS)
                continue
            if taken is None:
                continue
            try:
                self.turn(taken)
            except FactoryError as error:
                log.error("mirror %s: %s (%s)", taken.tracked.name, error.message, error.hint)
                self._postpone(taken)
            except Exception:  # the boundary of a thread: one repository must not end the polling of all
                log.exception("mirror %s", taken.tracked.name)
                self._postpone(taken)
            finally:
                self._give_back(taken)

    def wake(self, tracked: TrackedRepository) -> None:
        """Fetch a repository as soon as a thread is free. Returns at once."""
        with self._changed:
            known = self._rounds.get(tracked.name)
            if known is None:
                self._looked = float("-inf")
            elif known.busy:
                known.woken = True
            else:
                known.fetch_at = self._now()
            self._changed.notify()

    def turn(self, round_: Round) -> None:
        """Hear its news and fetch it, whichever is due, and plan the next time. Raises as the ledger does."""
        forges = self._ledger.forges
        try:
            tracked = round_.tracked = self._ledger.repository(round_.tracked.name)
        except NotFound:
            self._postpone(round_)
            return  # it was removed; the next look around drops it
        now, health, cursor = self._now(), forges.health(tracked.name), None
        last = self._ledger.deliveries.newest_hook(tracked.name)
        if tracked.forge != "plain" and round_.hear_at <= now:
            health, cursor, pause = self._hear(tracked, health, self._promised(round_, last))
            round_.hear_at = self._now() + pause
        if round_.fetch_at <= now:
            health, pause = self._fetch(round_, health, last)
            round_.fetch_at = self._now() + pause
            health = health.with_(next_fetch=self._ledger.clock.now() + timedelta(seconds=pause))
        if not forges.note_turn(tracked.name, health, cursor):
            self._mirror_of(tracked).remove()  # the repository was removed meanwhile, and fetched again by us

    def _hear(
        self, tracked: TrackedRepository, before: MirrorHealth, hooked: bool
    ) -> tuple[MirrorHealth, str | None, float]:
        """Ask the forge for news: how the mirror stands, the next cursor, and the pause."""
        forges = self._ledger.forges
        cursor = forges.cursor(tracked.name)
        try:
            news, following = self._forge_of(tracked).news(cursor)
        except FactoryError as error:
            after = pace.not_heard(before, error)
            log.warning("news of %s: %s (%s)", tracked.name, error.message, error.hint)
            pause = pace.pause(self._settings, after.api_failures, hooked, False, self._chance.random(), error.hint)
            return after, None, pause
        if news:
            self._ledger.deliveries.take(*polled(tracked.name, tracked.forge, cursor, news))
            forges.set_cursor(tracked.name, following)
        after = pace.heard(before, self._ledger.clock.now())
        active = bool(news) or self._active(before)
        pause = pace.pause(self._settings, 0, hooked, active, self._chance.random())
        return after, following if following != cursor else None, pause

    def _fetch(self, round_: Round, before: MirrorHealth, last: Delivery | None) -> tuple[MirrorHealth, float]:
        """Fetch where the server has something new: how the mirror stands, and the pause."""
        mirror, clock = self._mirror_of(round_.tracked), self._ledger.clock
        # after trouble the listing alone would hide what is wrong, like a branch that is missing
        whole = before.fetched is None or before.error or self._now() >= round_.whole_at
        try:
            behind = mirror.behind()
        except FactoryError as error:
            after = pace.not_fetched(before, clock.now(), error)
        else:
            after = mirror.examine(before) if behind or whole else pace.unchanged(before, clock.now())
            round_.whole_at = self._whole_at() if behind or whole else round_.whole_at
            if behind and not after.failures:
                after = after.with_(changed=clock.now())
                if last and before.fetched and last.received <= before.fetched:
                    round_.untold = last.number
        if after.error:
            log.warning("mirror %s: %s (%s)", round_.tracked.name, after.error, after.hint)
        with self._changed:
            (self._silent.add if after.failures else self._silent.discard)(round_.server)
        hooked, active = self._promised(round_, last), self._active(after)
        return after, pace.pause(self._settings, after.failures, hooked, active, self._chance.random(), after.hint)

    def _promised(self, round_: Round, last: Delivery | None) -> bool:
        """Will webhooks tell of what is new? `last` is the newest there is."""
        if last is None or last.number <= round_.untold:
            return False
        return self._ledger.clock.now() - last.received < pace.HOOKED

    def _active(self, health: MirrorHealth) -> bool:
        since = health.changed
        return since is not None and (self._ledger.clock.now() - since).total_seconds() < pace.ACTIVE_SECONDS

    def _take(self) -> Round | None:
        """The repository that is longest due, for this thread alone; None after a while in which none was."""
        with self._changed:
            now = self._now()
            if now - self._looked >= LOOK_SECONDS:
                self._look_around(now)
            waiting = [one for one in self._rounds.values() if not one.busy and self._may(one.server)]
            chosen = min(waiting, key=lambda one: one.due, default=None)
            if chosen is None or chosen.due > now:
                until = min(chosen.due - now, LOOK_SECONDS) if chosen else LOOK_SECONDS
                self._changed.wait(until)
                return None
            chosen.busy = True
            self._taken[chosen.server] += 1
            return chosen

    def _may(self, server: str) -> bool:
        """May one more thread turn to this server?"""
        places = self._settings.fetches
        if server in self._silent:
            places = 1
        elif len(self._servers) > 1:
            places = max(1, places // 2)
        return self._taken[server] < places

    def _give_back(self, round_: Round) -> None:
        with self._changed:
            round_.busy = False
            self._taken[round_.server] -= 1
            if round_.woken:
                round_.woken, round_.fetch_at = False, self._now()
            self._changed.notify()

    def _look_around(self, now: float) -> None:
        """Take up repositories that are new, and drop those that are gone. Raises as the ledger does."""
        there = {tracked.name: tracked for tracked in self._ledger.repositories()}
        if there.keys() - self._rounds.keys():
            known = self._ledger.forges.all_health()
            for name in there.keys() - self._rounds.keys():
                self._rounds[name] = self._first(there[name], known.get(name, MirrorHealth()), now)
        for name in self._rounds.keys() - there.keys():
            if not self._rounds[name].busy:
                del self._rounds[name]
        for round_ in self._rounds.values():
            if not round_.busy and round_.tracked.name in there:
                round_.tracked = there[round_.tracked.name]
                round_.server = server_of(round_.tracked.url)
        self._servers = frozenset(round_.server for round_ in self._rounds.values())
        self._silent &= self._servers
        self._looked = now

    def _first(self, tracked: TrackedRepository, health: MirrorHealth, now: float) -> Round:
        """A repository's first place: at once, but a server that was away is not asked sooner for our restart."""
        wait = 0.0
        if health.failures and health.next_fetch:
            left = (health.next_fetch - self._ledger.clock.now()).total_seconds()
            wait = min(max(left, 0.0), self._settings.away_seconds)  # the clock may have jumped meanwhile
        return Round(tracked, server_of(tracked.url), fetch_at=now + wait, hear_at=now, whole_at=self._whole_at())

    def _whole_at(self) -> float:
        return self._now() + WHOLE_SECONDS * (0.5 + self._chance.random())

    def _postpone(self, round_: Round) -> None:
        round_.fetch_at = round_.hear_at = self._now() + self._settings.sync_seconds

    def _now(self) -> float:
        return self._ledger.clock.monotonic()


def server_of(url: str) -> str:
    """The host that an address leads to; "" for this machine's files.

    >>> [server_of(url) for url in ("https://git.example:8443/t/s.git", "git@git.example:t/s.git", "file:///srv/s")]
    ['git.example:8443', 'git.example', '']
    """
    if "://" in url:
        return urlsplit(url).netloc.rpartition("@")[2]
    return "" if url.startswith("/") else url.partition(":")[0].rpartition("@")[2]
