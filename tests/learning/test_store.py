from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from appliance.errors import LimitExceeded, NotFound, Unavailable, UsageError
from appliance.learning.queries import QUERIES, prepared
from appliance.learning.store import Store
from appliance.ledger import Ledger, open_ledger
from tests.learning.world import tell, with_repositories


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = with_repositories(open_ledger(tmp_path / "ledger.db"))
    tell(opened, range(1, 13))
    yield opened
    opened.close()


def test_the_same_rows_come_out_however_the_events_are_cut_into_batches(
    ledger: Ledger, store: Store, tmp_path: Path
) -> None:
    store.take_over(ledger.tail(0, 10_000))
    for size in (4, 50):
        other = Store(tmp_path / f"by{size}.duckdb", 128)
        while events := ledger.tail(other.watermark()[0], size):
            other.take_over(events)
        assert other.digest() == store.digest()
        other.close()


def test_events_told_twice_are_kept_once(ledger: Ledger, store: Store) -> None:
    events = ledger.tail(0, 40)
    store.take_over(events)
    before = store.digest()
    assert store.take_over(events) == 40
    assert store.digest() == before


def test_a_gap_in_the_events_is_refused_with_nothing_changed(ledger: Ledger, store: Store) -> None:
    events = ledger.tail(0, 10)
    with pytest.raises(ValueError, match="do not follow number 0"):
        store.take_over(events[1:])
    assert store.watermark()[0] == 0 and store.counted() == (0, 0, 0)


def test_an_item_has_one_row_with_its_newest_state_and_all_its_seconds(ledger: Ledger, store: Store) -> None:
    while events := ledger.tail(store.watermark()[0], 5):
        store.take_over(events)
    rows = store.ask("SELECT item, repo, title, state, wall_seconds FROM items", {}, 5)
    assert sorted(row["item"] for row in rows) == sorted(f"W-{n}" for n in range(1, 13))
    for row in rows:
        history = [event.payload for event in ledger.history(row["item"]) if "to" in event.payload]
        assert row["state"] == history[-1]["to"]
        assert row["wall_seconds"] == pytest.approx(sum(said["wall_seconds"] for said in history))
        assert row["repo"] in ("shop", "wms") and row["title"].startswith("it breaks")


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_every_named_question_has_an_answer(name: str, ledger: Ledger, store: Store) -> None:
    store.take_over(ledger.tail(0, 10_000))
    given = {"days": 30} if "days" in QUERIES[name].parameters else {}
    for parameters in ({}, given):
        assert isinstance(store.ask(*prepared(name, parameters), seconds=5), list)


def test_questions_are_narrowed_by_their_parameters_and_not_by_text_in_them(ledger: Ledger, store: Store) -> None:
    store.take_over(ledger.tail(0, 10_000))
    only = store.ask(*prepared("outcomes", {"repo": "shop"}), seconds=5)
    assert {row["repo"] for row in only} == {"shop"}
    assert store.ask(*prepared("outcomes", {"repo": "' OR 1=1 --"}), seconds=5) == []


def test_a_release_that_was_taken_back_says_when_and_by_what(ledger: Ledger, store: Store) -> None:
    tell(ledger, range(13, 60))
    while events := ledger.tail(store.watermark()[0], 7):
        store.take_over(events)
    rows = store.ask("SELECT * FROM releases JOIN items USING (item)", {}, 5)
    back = [row for row in rows if row["state"] == "rolled_back"]
    assert back and len(back) < len(rows)
    for row in rows:
        assert (row["reverted"] is not None, row["revert"] == "f" * 40) == (row in back, row in back)


def test_how_long_stages_took_is_right_to_a_step_however_the_events_came(ledger: Ledger, store: Store) -> None:
    while events := ledger.tail(store.watermark()[0], 7):
        store.take_over(events)
    told = {row["stage"]: row for row in store.ask(*prepared("stage_durations", {"repo": "shop"}), seconds=5)}
    exact = store.ask("SELECT runs.stage, count(*) AS runs, avg(runs.wall_seconds) AS mean,"
                      " max(runs.wall_seconds) AS longest,"
                      " quantile_disc(runs.wall_seconds, 0.5) AS median FROM stage_runs AS runs JOIN items USING (item)"
                      " WHERE items.repo = 'shop' AND runs.stage <> 'signal' GROUP BY runs.stage", {}, 5)  # fmt: skip
    assert set(told) == {row["stage"] for row in exact}
    for row in exact:
        found = told[row["stage"]]
        assert found["runs"] == row["runs"] and found["mean"] == pytest.approx(row["mean"], abs=0.002)
        for name in ("median", "longest"):
            assert row[name] <= found[name] * 1.001 and found[name] <= row[name] * 2 ** (1 / 8) * 1.001


def test_every_table_of_the_ledgers_facts_is_filled(ledger: Ledger, store: Store) -> None:
    tell(ledger, range(13, 60))
    store.take_over(ledger.tail(0, 10_000))
    for table in ("signals", "candidates", "findings", "reviews", "releases", "decisions"):
        assert store.ask(f"SELECT * FROM {table}", {}, 5), table


def test_a_question_cannot_write_read_files_or_load_anything(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("token")
    for sql in (
        "DELETE FROM events",
        "CREATE TABLE x (a INTEGER)",
        f"SELECT * FROM read_text('{tmp_path}/secret')",
        f"COPY events TO '{tmp_path}/out.csv'",
        f"ATTACH '{tmp_path}/other.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
    ):
        with pytest.raises(Unavailable):
            store.ask(sql, {}, 5)
    assert not (tmp_path / "out.csv").exists() and not (tmp_path / "other.duckdb").exists()


def test_a_question_that_takes_too_long_is_cut_off_and_the_store_goes_on(ledger: Ledger, store: Store) -> None:
    with pytest.raises(LimitExceeded, match="took more than"):
        store.ask("SELECT count(*) FROM range(100000000) a, range(100000) b", {}, 0.2)
    assert store.take_over(ledger.tail(0, 10)) == 10


def test_closing_breaks_off_questions_under_way(store: Store, tmp_path: Path) -> None:
    opened = Store(tmp_path / "other.duckdb", 128)
    ended: list[str] = []
    asking = threading.Event()

    def ask() -> None:
        asking.set()
        try:
            opened.ask("SELECT count(*) FROM range(100000000) a, range(100000) b", {}, 60)
        except Unavailable as error:
            ended.append(error.message)

    thread = threading.Thread(target=ask)
    thread.start()
    asking.wait()
    while not opened._asking:
        pass
    opened.close()
    thread.join()
    assert ended
    with pytest.raises(Unavailable):
        opened.ask("SELECT 1", {}, 5)


def test_unknown_questions_and_parameters_are_named() -> None:
    with pytest.raises(NotFound, match="no question 'nonsense'"):
        prepared("nonsense", {})
    with pytest.raises(UsageError, match="no parameter 'rep'"):
        prepared("outcomes", {"rep": "x"})
    with pytest.raises(UsageError, match="must be of type int"):
        prepared("outcomes", {"days": "1"})
    with pytest.raises(UsageError, match="must be of type int"):
        prepared("outcomes", {"days": True})


def test_a_file_laid_out_by_another_release_is_not_taken(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "old.duckdb")) as old:
        old.execute("CREATE TABLE events (seq BIGINT)")
    with pytest.raises(duckdb.Error, match="another release"):
        Store(tmp_path / "old.duckdb", 128)
