"""SQL of people's own: what may be asked, what may not, and what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from nanoarrow import ArrayStream

from appliance.errors import LimitExceeded, UsageError
from appliance.learning.store import Store
from appliance.learning.tables import DERIVED
from appliance.ledger import open_ledger
from tests.learning.world import tell, with_repositories


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    ledger = with_repositories(open_ledger(tmp_path / "ledger.db"))
    tell(ledger, range(1, 13))
    opened = Store(tmp_path / "learning.duckdb", 128)
    opened.take_over(ledger.tail(0, 10_000))
    ledger.close()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM items",
        "select repo, count(*) from main.items group by all order by 1",
        "WITH mine AS (SELECT * FROM items), theirs AS (SELECT * FROM mine) SELECT * FROM theirs",
        "FROM events SELECT kind",
        "SELECT unnest(files) FROM candidates",
        "SELECT * FROM range(3)",
        "SELECT payload->>'$.to' FROM events; ",
        "SELECT * FROM items WHERE item IN (SELECT item FROM attempts) -- a remark; and another",
        "TABLE verdicts",
    ],
)
def test_one_select_over_the_tables_is_answered(sql: str, store: Store) -> None:
    assert store.look(sql, 5, 5).columns


@pytest.mark.parametrize(
    "sql",
    [
        "", "selct", "DELETE FROM items", "DROP TABLE items", "SELECT 1; SELECT 2", "SELECT 1; DELETE FROM items",
        "WITH x AS (DELETE FROM items RETURNING *) SELECT * FROM x", "PRAGMA database_list", "SET threads = 9",
        "CALL pragma_version()", "ATTACH 'x.duckdb'", "COPY items TO 'x.csv'", "EXPLAIN SELECT 1", "CHECKPOINT",
        "SELECT * FROM read_text('/etc/hostname')", "SELECT * FROM 'x.csv'", "SELECT * FROM glob('/*')",
        "SELECT * FROM checkpoint()", "SELECT * FROM enable_logging()", "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table('items')", "SELECT * FROM duckdb_settings()", "SELECT * FROM nowhere",
        "SELECT * FROM information_schema.tables", "SELECT * FROM sqlite_master", "SHOW TABLES", "DESCRIBE items",
        "SELECT (SELECT content FROM read_text('/etc/hostname'))", "SELECT nothing FROM items", "SELECT 1/'x'",
        "SELECT * FROM range(3), LATERAL (SELECT * FROM read_blob('/etc/hostname'))", "BEGIN", "VACUUM",
        "SELECT * FROM other.main.items", "EXPORT DATABASE 'x'", "INSTALL httpfs",
    ],
)  # fmt: skip
def test_everything_else_is_refused_in_words(sql: str, store: Store) -> None:
    before = store.digest()
    with pytest.raises(UsageError) as caught:
        store.look(sql, 5, 5)
    with pytest.raises(UsageError):
        store.stream(sql, 5, 5)
    assert caught.value.hint and store.digest() == before


def test_rows_beyond_what_was_asked_for_are_said_to_be_there(store: Store) -> None:
    assert store.look("SELECT * FROM items", 5, 5).more
    found = store.look("SELECT item FROM items", 12, 5)
    assert len(found.rows) == 12 and not found.more


def test_a_question_that_takes_too_long_or_too_much_is_cut_off(store: Store) -> None:
    with pytest.raises(LimitExceeded, match="took more than"):
        store.look("SELECT count(*) FROM range(100000000) a, range(100000) b", 5, 0.2)
    with pytest.raises(LimitExceeded, match="more memory"):
        store.look("SELECT list(range) FROM range(100000000)", 5, 60)
    with pytest.raises(LimitExceeded, match="took more than"):
        store.stream("SELECT count(*) FROM range(100000000) a, range(100000) b", 5, 0.2)
    assert store.look("SELECT 1", 5, 5).rows == ((1,),)


@pytest.mark.parametrize("table", sorted(DERIVED))
def test_every_table_goes_over_in_arrow_as_it_is_in_json(table: str, store: Store) -> None:
    sql = f"SELECT * FROM {table} ORDER BY ALL"
    found, streamed = store.look(sql, 20, 5), store.stream(sql, 20, 5)
    rows = ArrayStream.from_readable(streamed.content).read_all().to_pylist()
    assert (streamed.rows, streamed.more) == (len(found.rows), found.more)
    assert [tuple(row.values()) for row in rows] == list(found.rows)
    assert not rows or tuple(rows[0]) == found.columns


def test_arrow_has_as_many_rows_as_were_asked_for_and_says_when_there_are_more(store: Store) -> None:
    few = store.stream("SELECT i, 'x' || i AS t FROM range(5000) r(i) ORDER BY i DESC", 3, 5)
    rows = ArrayStream.from_readable(few.content).read_all().to_pylist()
    assert rows == [{"i": n, "t": f"x{n}"} for n in (4999, 4998, 4997)] and few.more and few.rows == 3
    none = store.stream("SELECT 1 AS a FROM items WHERE false", 3, 5)
    assert (none.rows, none.more) == (0, False) and ArrayStream.from_readable(none.content).read_all().to_pylist() == []
    with pytest.raises(UsageError, match="cannot be written as Arrow") as caught:
        store.stream("SELECT 'a'::ENUM('a', 'b') AS e", 3, 5)
    assert "VARCHAR" in caught.value.hint
    with pytest.raises(LimitExceeded, match="longer than"):
        store.stream("SELECT repeat('x', 1000000) || i FROM range(80) r(i)", 100, 10)


def test_a_variable_of_this_process_is_no_table(store: Store) -> None:
    items_of_mine = [1, 2]
    with store._looking("SELECT 1", 5) as cursor, pytest.raises(duckdb.CatalogException):
        cursor.sql("SELECT * FROM items_of_mine")
    assert items_of_mine


def test_an_export_holds_every_table_as_it_is(store: Store) -> None:
    store.exports.mkdir()
    counted = store.export(store.exports)
    assert set(counted) == set(DERIVED) and counted["items"] == 12
    with duckdb.connect() as reader:
        for table in DERIVED:
            rows = reader.execute("SELECT * FROM read_parquet(?) ORDER BY ALL", [f"{store.exports}/{table}.parquet"])
            assert [tuple(row.values()) for row in store.ask(f"SELECT * FROM {table} ORDER BY ALL", {}, 5)] == (
                rows.fetchall()
            )
