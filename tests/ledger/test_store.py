from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from appliance.errors import Conflict, NotFound, Unavailable
from appliance.ledger import Ledger, open_ledger
from appliance.ledger.schema import metadata
from appliance.work import Outcome, Signal, State, WorkItem
from tests.ledger.world import open_one


def test_a_signal_for_an_unknown_repository_is_refused_and_leaves_nothing(ledger: Ledger) -> None:
    before = ledger.tip()
    with pytest.raises(NotFound, match="no repository 'ship'") as caught:
        ledger.receive(Signal(id="", repo="ship", title="x"))
    assert "known: shop" in caught.value.hint
    assert ledger.tip() == before and ledger.signals() == []


def test_opening_the_item_of_a_signal_twice_opens_one(ledger: Ledger) -> None:
    signal = ledger.receive(Signal(id="", repo="shop", title="x"))
    outcome = Outcome(item=WorkItem(id="", repo="shop", title="x"), reason="r")
    assert ledger.open_item(signal.id, outcome) == ledger.open_item(signal.id, outcome)
    assert len(ledger.items()) == 1
    assert [event.kind for event in ledger.history("W-1")] == ["ItemOpened"]
    assert ledger.signals(unopened=True) == []


def test_everything_is_there_after_reopening(ledger: Ledger, tmp_path: Path) -> None:
    item = open_one(ledger)
    ledger.command(item.id, "cancel", "ada", "no longer wanted")
    ledger.set_watermark("learning", 3)
    ledger.close()
    again = open_ledger(tmp_path / "ledger.db")
    assert again.item(item.id) == item
    assert [command.verb for command in again.open_commands()] == ["cancel"]
    assert (again.watermark("learning"), again.watermark("other")) == (3, 0)
    assert [event.seq for event in again.tail(after=2)] == [3, 4]
    again.close()


def test_a_command_the_state_forbids_is_refused_in_words(ledger: Ledger) -> None:
    item = open_one(ledger)
    with pytest.raises(Conflict, match="W-1 is received: it cannot be given 'approve'") as caught:
        ledger.command(item.id, "approve", "ada")
    assert "needs_human" in caught.value.hint
    with pytest.raises(NotFound):
        ledger.command("W-99", "cancel", "ada")
    assert ledger.open_commands() == []


def test_a_repository_with_open_items_stays(ledger: Ledger) -> None:
    open_one(ledger)
    with pytest.raises(Conflict, match="W-1"):
        ledger.remove_repository("shop")
    with pytest.raises(Conflict, match="already"):
        ledger.add_repository(ledger.repository("shop"))


def test_items_are_listed_newest_first_and_by_state(ledger: Ledger) -> None:
    open_one(ledger)
    open_one(ledger, "another")
    assert [item.id for item in ledger.items()] == ["W-2", "W-1"]
    assert ledger.items(states=[State.CLOSED]) == []
    assert ledger.counts() == {"received": 2}


def test_the_migrations_make_exactly_the_tables_of_the_schema(ledger: Ledger) -> None:
    with ledger.database.reading() as connection:
        # what FTS5 keeps is a table of its own with tables of its own, which SQLAlchemy does not know
        known = {"include_name": lambda name, kind, _of: kind != "table" or not str(name).startswith("lesson_words")}
        assert compare_metadata(MigrationContext.configure(connection, opts=known), metadata) == []


def test_every_commit_is_on_disk_before_it_is_acknowledged(ledger: Ledger) -> None:
    with ledger.database.reading() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA synchronous")) == 2


def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(Exception, match="damaged") as caught:
        open_ledger(tmp_path / "ledger.db")
    assert "backup" in caught.value.hint  # type: ignore[attr-defined]


def test_a_home_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be used"):
        open_ledger(tmp_path / "missing" / "ledger.db")


def _append_many(file: Path, count: int) -> None:
    ledger = open_ledger(file)
    for _ in range(count):
        ledger.receive(Signal(id="", repo="shop", title="from a process of its own"))
    ledger.close()


def test_processes_writing_at_once_lose_and_double_nothing(ledger: Ledger, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(tmp_path / "ledger.db", 25)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(int(signal.id[2:]) for signal, _ in ledger.signals()) == list(range(1, 76))
    assert [event.seq for event in ledger.tail()] == list(range(1, 77))


def test_a_senders_key_is_filed_once_in_each_repository(ledger: Ledger) -> None:
    first = ledger.receive(Signal(id="", repo="shop", title="disk full", key="alert:1"))
    before = ledger.tip()
    assert ledger.receive(Signal(id="", repo="shop", title="disk still full", key="alert:1")) == first
    assert ledger.tip() == before
    assert ledger.signal_of_key("shop", "alert:1") == (first, "")
    assert ledger.signal_of_key("shop", "") is None
    assert ledger.receive(Signal(id="", repo="shop", title="another")).id == "S-2"
