"""Looks over all items for the console: how many came and ended day by day, and whose title says a word."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import func, literal_column, select

from appliance.ledger import schema
from appliance.ledger.store import Ledger
from appliance.work import ENDED, Noun, State, WorkItem

LIVE = tuple(str(state) for state in State if state not in ENDED)


class Day(Noun):
    """One day in UTC: items opened, items closed (shipped and kept), items that ended otherwise."""

    day: date
    came: int = 0
    closed: int = 0
    otherwise: int = 0

    @property
    def begins(self) -> int:
        """Seconds since 1970."""
        return int(datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC).timestamp())


def by_day(ledger: Ledger, days: int, today: date) -> list[Day]:
    """The newest `days` days up to today, oldest first, those without anything too. An item ends when it last
    changed: nothing changes it afterwards but a change taken back, which is the day that counts then."""
    first = today - timedelta(days=days - 1)
    items, since = schema.items.c, first.isoformat()
    opened, ended = func.substr(items.created, 1, 10), func.substr(items.updated, 1, 10)
    came = select(opened, func.count()).where(items.created >= since).group_by(opened)
    gone = select(ended, items.state == State.CLOSED, func.count()).where(items.updated >= since)
    gone = gone.where(items.state.in_([str(state) for state in ENDED])).group_by(ended, items.state == State.CLOSED)
    found = {(first + timedelta(days=n)).isoformat(): {"came": 0, "closed": 0, "otherwise": 0} for n in range(days)}
    with ledger.database.reading() as connection:
        for day, count in connection.execute(came):
            found.setdefault(day, {})["came"] = count
        for day, closed, count in connection.execute(gone):
            found.setdefault(day, {})["closed" if closed else "otherwise"] = count
    return [Day(day=date.fromisoformat(day), **counts) for day, counts in sorted(found.items())]


def live_counts(ledger: Ledger) -> list[tuple[str, str, int]]:
    """Stage, repository and how many items that have not ended are there."""
    items = schema.items.c
    query = select(items.stage, items.repo, func.count()).where(items.state.in_(LIVE)).group_by(items.stage, items.repo)
    with ledger.database.reading() as connection:
        return [(stage, repo, count) for stage, repo, count in connection.execute(query)]


def newest_live(ledger: Ledger, each: int) -> list[WorkItem]:
    """The newest items that have not ended, so many of each stage, newest first. Bodies are read of these alone."""
    items = schema.items.c
    rank = func.row_number().over(partition_by=items.stage, order_by=items.number.desc()).label("rank")
    ranked = select(items.number, rank).where(items.state.in_(LIVE)).subquery()
    numbers = select(ranked.c.number).where(ranked.c.rank <= each)
    query = select(items.body).where(items.number.in_(numbers)).order_by(items.number.desc())
    with ledger.database.reading() as connection:
        return [WorkItem.model_validate_json(body) for body in connection.scalars(query)]


def newest_ended(ledger: Ledger, most: int) -> list[WorkItem]:
    """The newest items that have ended. Most have, so that a walk from the newest on finds them at once; by the index
    of states (which the plus keeps away) all of them would be sorted first."""
    query = select(schema.items.c.body).where(literal_column("+items.state").not_in(LIVE))
    query = query.order_by(schema.items.c.number.desc()).limit(most)
    with ledger.database.reading() as connection:
        return [WorkItem.model_validate_json(body) for body in connection.scalars(query)]


def worst_waiting(ledger: Ledger, most: int) -> list[WorkItem]:
    """What waits for a person, worst first, then the oldest."""
    items = schema.items.c
    query = select(items.body).where(items.state == str(State.NEEDS_HUMAN)).order_by(items.severity, items.number)
    with ledger.database.reading() as connection:
        return [WorkItem.model_validate_json(body) for body in connection.scalars(query.limit(most))]


def titled(ledger: Ledger, words: str, most: int) -> list[tuple[str, str]]:
    """Ids and titles of the newest items whose titles hold the words, letters of ASCII large or small alike."""
    items = schema.items.c
    query = select(items.id, items.title).where(items.title.contains(words, autoescape=True))
    with ledger.database.reading() as connection:
        return [(row.id, row.title) for row in connection.execute(query.order_by(items.number.desc()).limit(most))]
