"""Replays that nobody asked for: what is due in each repository, when something changed that decides who repairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from appliance.events import Fact
from appliance.ledger import Ledger
from appliance.line.replay import book
from appliance.line.replay.due import due, rested
from appliance.line.replay.run import Grounds, replay, tasks_of
from appliance.line.replay.tasks import AUTO
from appliance.ports import Progress


def may_be_due(ledger: Ledger, repos: Sequence[str], now: datetime, days: float) -> list[str]:
    """The repositories that were not replayed for long enough."""
    return [repo for repo in repos if rested(book.read(ledger, repo), added(ledger, repo), now, days)]


def added(ledger: Ledger, repo: str) -> datetime:
    """When the box began to look after a repository."""
    times = [event.at for event in ledger.history(repo) if event.kind == Fact.REPOSITORY_ADDED]
    return datetime.fromisoformat(times[0])


def replay_due(
    ledger: Ledger, every: Grounds, repos: Sequence[str], count: int, seed: int, say: Progress
) -> Iterator[dict[str, Any]]:
    """Replay what is due in these repositories; the figures of each. Raises as `replay` and `tasks_of`."""
    for repo in repos:
        ground = every.of(ledger, repo)
        setup = every.setup(ground, (AUTO,))
        wanted = due(book.read(ledger, repo), setup)
        if wanted is None:
            say(f"{repo}: nothing has changed that decides who repairs")
            continue
        say(f"{repo}: {wanted.why}")
        tasks = tasks_of(ledger, ground, count, seed).tasks[:count]
        if not tasks:
            say(f"{repo}: it has no tasks; `appliance learn tasks` says why")
            continue
        yield replay(ledger, ground, tasks, wanted.contenders, say, setup, wanted.why)
