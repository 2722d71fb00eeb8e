"""What the floor draws is what the ledger holds, on the right days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from appliance.config import Home
from appliance.ledger import open_ledger
from appliance.ledger.overview import by_day
from appliance.work import State
from tests.control.world import fill, open_one


def test_days_count_what_came_and_what_ended_and_the_empty_ones_are_there(home: Home) -> None:
    ledger = open_ledger(home)
    fill(ledger)
    for _ in range(3):
        open_one(ledger, "more")
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    rows = [
        (State.CLOSED, 9, 0), (State.CLOSED, 2, 1), (State.FAILED, 2, 1), (State.NEEDS_HUMAN, 2, 0),
        (State.REJECTED, 20, 15), (State.RECEIVED, 0, 0),
    ]  # fmt: skip
    with ledger.database.writing() as connection:
        for number, (state, came, changed) in enumerate(rows, 1):
            created, updated = (noon - timedelta(days=days) for days in (came, changed))
            connection.execute(
                text("UPDATE items SET state = :state, created = :created, updated = :updated WHERE number = :number"),
                {"state": str(state), "created": created.isoformat(), "updated": updated.isoformat(), "number": number},
            )
    days = by_day(ledger, 14, noon.date())
    ledger.close()
    assert [one.day.isoformat() for one in days] == [f"2026-11-{n:02}" for n in range(7, 21)]
    told = {
        one.day.day: (one.came, one.closed, one.otherwise) for one in days if one.came or one.closed or one.otherwise
    }
    assert told == {11: (1, 0, 0), 18: (3, 0, 0), 19: (0, 1, 1), 20: (1, 1, 0)}
    assert days[-1].begins == 1795132800


def test_the_floors_questions_read_an_index_not_every_item(home: Home) -> None:
    ledger = open_ledger(home)
    with ledger.database.reading() as connection:
        for column in ("created", "updated"):
            plan = connection.execute(
                text(f"EXPLAIN QUERY PLAN SELECT {column} FROM items WHERE {column} >= '2026-11-07'")
            )
            assert f"items_by_{column}" in str(plan.all())
    ledger.close()
