"""What the floor draws is what the ledger holds, on the right days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from appliance.config import Home
from appliance.ledger import open_ledger
from appliance.ledger.overview import by_day, live_counts, newest_ended, newest_live, titled, worst_waiting
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


def test_counts_and_newest_leave_out_what_ended_and_the_worst_comes_first(home: Home) -> None:
    ledger = open_ledger(home)
    fill(ledger)
    for _ in range(9):
        open_one(ledger, "more")
    with ledger.database.writing() as connection:
        connection.execute(text("UPDATE items SET state = 'closed' WHERE number = 12"))
        connection.execute(text("UPDATE items SET severity = 1 WHERE number = 2"))
    stages = {(stage, repo): count for stage, repo, count in live_counts(ledger)}
    newest = newest_live(ledger, 6)
    ended = [item.id for item in newest_ended(ledger, 8)]
    waiting = [item.id for item in worst_waiting(ledger, 20)]
    most = [item.id for item in worst_waiting(ledger, 1)]
    found = titled(ledger, "MORE", 3)
    ledger.close()
    assert sum(stages.values()) == 11 and stages[("ship", "shop")] == stages[("build", "shop")] == 1
    assert [item.id for item in newest] == [f"W-{n}" for n in (11, 10, 9, 8, 7, 6, 2, 1)]
    assert (waiting, most) == (["W-2", "W-1"], ["W-2"])
    assert ended == ["W-12"]
    assert found == [("W-12", "more"), ("W-11", "more"), ("W-10", "more")]


def test_a_title_is_looked_for_in_the_index_alone(home: Home) -> None:
    ledger = open_ledger(home)
    with ledger.database.reading() as connection:
        plan = connection.execute(
            text("EXPLAIN QUERY PLAN SELECT id, title FROM items WHERE title LIKE '%a%' ORDER BY number DESC LIMIT 9")
        )
        assert "COVERING INDEX items_by_title" in str(plan.all())
    ledger.close()
