"""What the outside told, turned into signals and fetches. Messages wait in the ledger until they are settled here.

Acted on so far: issues that are handed to the box (by label, or every new one), reports such as alerts, and pushes.
Comments, reviews, merge requests and pipelines are settled as ignored, in words.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from appliance.errors import NotFound, UsageError
from appliance.intake.reading import read
from appliance.ledger import Ledger
from appliance.news import Delivery, DeliveryState, IssueNews, News, PushNews, ReportNews
from appliance.work import Signal, TrackedRepository

log = logging.getLogger("appliance.line")

Fetch = Callable[[TrackedRepository], object]
"""Asks for a repository to be fetched, and returns at once."""


class Incoming:
    """Works off one ledger's messages. Safe to repeat: a signal is filed once for each key."""

    def __init__(self, ledger: Ledger, fetch: Fetch) -> None:
        self._ledger = ledger
        self._fetch = fetch

    def work_off(self) -> int:
        """Settle every message that waits; how many."""
        waiting = self._ledger.deliveries.waiting()
        for delivery in waiting:
            self._settle(delivery)
        return len(waiting)

    def _settle(self, delivery: Delivery) -> None:
        deliveries = self._ledger.deliveries
        try:
            tracked = self._ledger.repository(delivery.repo)
            told = read(delivery, deliveries.raw(delivery.number), tracked.mapping)
        except (UsageError, NotFound) as error:
            deliveries.settle(delivery.number, DeliveryState.REFUSED, error.message)
            log.warning("delivery %d of %s: refused, %s", delivery.number, delivery.repo, error.message)
            return
        done: list[str] = []
        signal = ""
        for news in told:
            wanted = signal_of(news, tracked, delivery.source)
            if wanted is not None:
                signal = self._ledger.receive(wanted).id
                done.append(f"filed as {signal}")
            elif isinstance(news, PushNews):
                self._fetch(tracked)
                done.append("a push; it is fetched at once")
        if done:
            deliveries.settle(delivery.number, DeliveryState.DONE, "; ".join(done), signal)
        else:
            deliveries.settle(delivery.number, DeliveryState.IGNORED, why_ignored(told, tracked))


def signal_of(news: News, tracked: TrackedRepository, source: str) -> Signal | None:
    """The signal that news asks for; None when it asks for none. Pure."""
    if isinstance(news, ReportNews) and not news.resolved:
        return Signal(
            id="", repo=tracked.name, title=news.title, body=news.body, kind=news.kind, source=f"hook:{source}",
            author=news.by, key=news.key[:200],
        )  # fmt: skip
    if isinstance(news, IssueNews) and news.open and handed_over(news, tracked):
        return Signal(
            id="", repo=tracked.name, title=news.title, body=news.body, source=f"hook:{source}",
            author=news.author, origin=news.origin, key=f"issue:{news.origin.number}",
        )  # fmt: skip
    return None


def handed_over(news: IssueNews, tracked: TrackedRepository) -> bool:
    """Is the issue the box's to work on?"""
    return tracked.every_issue or bool(tracked.label and tracked.label in news.labels)


def why_ignored(told: tuple[News, ...], tracked: TrackedRepository) -> str:
    """In words, for people who look for what became of a message."""
    if not told:
        return "an event that tells nothing the box acts on"
    if any(isinstance(news, IssueNews) for news in told):
        return f"the issue is closed, or does not carry the label {tracked.label!r}"
    kinds = ", ".join(sorted({news.what for news in told}))
    return f"understood ({kinds}), and nothing to do"
