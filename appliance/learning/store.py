"""The DuckDB file. One process opens it; a batch of events or a chunk of the spool is one transaction, and so happens
exactly once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from appliance.errors import LimitExceeded, Unavailable, UsageError
from appliance.learning import freely, keeping
from appliance.learning.arrow import Stream, stream_of
from appliance.learning.calls import insert_calls
from appliance.learning.derive import derive
from appliance.learning.items import take_in
from appliance.learning.people import Forgotten, veil, veil_of_lines
from appliance.learning.rows import insert
from appliance.learning.spool import Chunk
from appliance.learning.sums import add_stages
from appliance.learning.tables import DERIVED, TABLES, definition
from appliance.ledger.chain import GENESIS, Recorded
from appliance.settings import LearningSettings

THREADS = 2
"""A question must not take the machine from the line."""

AGAIN_SECONDS = 0.05
"""An interrupt that comes between two statements of a question is lost, so it is repeated until the question ends."""

CLOSED = {
    "autoinstall_known_extensions": False, "autoload_known_extensions": False, "allow_community_extensions": False,
    "max_temp_directory_size": "4GiB", "checkpoint_threshold": "256MiB", "python_enable_replacements": False,
}  # fmt: skip
"""A missing extension would otherwise be looked for on the internet; what a question does not hold in memory must not
fill the disk; and variables of this process are no tables."""

EXPORTS = "exports"
"""The folder beside the store that SQL may write to."""
EXPORT_SECONDS = 3600.0


class Answer(NamedTuple):
    """Rows of somebody's own question."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool
    """There are more rows than were asked for."""


class Store:
    """One opened learning store. Threads ask through `ask`; only one thread takes over events."""

    def __init__(self, file: Path, memory_mb: int, people: Sequence[Forgotten] = ()) -> None:
        """A new file is begun without these `people`.

        Raises duckdb.Error when it cannot be opened as what it should be.
        """
        self._people = len(people)
        self._veil, self._veil_lines = veil(people), veil_of_lines(people)
        self.file = file
        self.exports = file.parent / EXPORTS
        self._gate = threading.Condition()
        self._asking: set[duckdb.DuckDBPyConnection] = set()
        self._closed = False
        config: dict[str, Any] = {**CLOSED, "memory_limit": f"{memory_mb}MiB", "threads": THREADS}
        self._connection = duckdb.connect(str(file), config=config)
        try:
            folder = str(self.exports).replace("'", "''")
            # in this order: SQL could read and write any file of ours, and may afterwards only in the folder of exports
            self._connection.execute(f"SET allowed_directories = ['{folder}/']")
            self._connection.execute("SET enable_external_access = false")
            self._connection.execute("SET lock_configuration = true")
            self._make_tables()
        except duckdb.Error:
            self._connection.close()
            raise

    def close(self) -> None:
        """Write everything into the file itself and let go of it, once questions under way are broken off.

        A cursor that lived on would keep the file open, and the next `connect` by the same name would get it back.
        """
        with self._gate:
            self._closed = True
            while self._asking:
                for cursor in self._asking:
                    cursor.interrupt()
                self._gate.wait(AGAIN_SECONDS)
        self._connection.close()

    def watermark(self) -> tuple[int, str]:
        """Number and hash of the newest event taken over."""
        rows = self._connection.execute("SELECT seq, hash FROM watermark").fetchall()
        if len(rows) != 1:
            raise duckdb.DataError(f"the watermark has {len(rows)} rows")
        return int(rows[0][0]), str(rows[0][1])

    def is_without(self) -> int:
        """How many people were forgotten when the file was begun."""
        row = self._connection.execute("SELECT forgotten FROM watermark").fetchone()
        return int(row[0]) if row else 0

    def keep(self, settings: LearningSettings, now: datetime) -> int:
        """Remove what is older than the settings say; rows removed or emptied."""
        with self._transaction() as connection:
            return keeping.keep(connection, settings, now)

    def has_room(self, removed: int) -> bool:
        """Is so much of the file free, after so many rows were removed, that writing it anew pays?"""
        with suppress(duckdb.TransactionException):  # a question is under way: what it sees is freed the next time
            self._connection.execute("CHECKPOINT")
        return keeping.is_worth_it(self._connection, removed)

    def counted(self) -> tuple[int, int, int]:
        """How many events there are, the lowest and the highest number. (0, 0, 0) for none."""
        row = self._connection.execute("SELECT count(*), coalesce(min(seq), 0), coalesce(max(seq), 0) FROM events")
        found = row.fetchone()
        assert found is not None, "an aggregate gives one row"
        return int(found[0]), int(found[1]), int(found[2])

    def take_over(self, events: Sequence[Recorded]) -> int:
        """Add events in one transaction. Those below the watermark are passed over. Returns the new watermark.

        Raises ValueError when they do not follow it: a gap would never be filled again.
        """
        seq, _ = self.watermark()
        fresh = [event for event in events if event.seq > seq]
        if [event.seq for event in fresh] != list(range(seq + 1, seq + 1 + len(fresh))):
            raise ValueError(f"events do not follow number {seq}")
        if not fresh:
            return seq
        batch = derive(map(self._veil, fresh))
        with self._transaction() as connection:
            for table, rows in batch.rows.items():
                insert(connection, table, rows)
            take_in(connection, batch)
            add_stages(connection, seq)
            for row in batch.reverts:
                connection.execute(REVERT, row)
            connection.execute("UPDATE watermark SET seq = ?, hash = ?", [fresh[-1].seq, fresh[-1].hash])
        return fresh[-1].seq

    def positions(self) -> dict[str, int]:
        """How far each file of the spool was taken over, in bytes."""
        return dict(self._connection.execute("SELECT file, position FROM spool_files").fetchall())

    def take_calls(self, chunk: Chunk) -> int:
        """Add the calls of a chunk of the spool in one transaction; one that was taken over is passed over.

        Returns how far its file was taken over. Raises ValueError when there is a gap before it.
        """
        position = self.positions().get(chunk.file)
        if chunk.end <= (position or 0):
            return position or 0
        if chunk.start != (position or 0):
            raise ValueError(f"{chunk.file} was read up to byte {position or 0}, not {chunk.start}")
        with self._transaction() as connection:
            if position is None:
                connection.execute("INSERT INTO spool_files VALUES (?, 0, 0, 0, '')", [chunk.file])
            damaged = insert_calls(connection, replace(chunk, text=self._veil_lines(chunk.text)))
            connection.execute(
                "UPDATE spool_files SET position = ?, lines = lines + ?, damaged = damaged + ? WHERE file = ?",
                [chunk.end, chunk.lines, damaged, chunk.file],
            )
        return chunk.end

    def set_back(self, file: str, position: int, note: str) -> None:
        """A file of the spool was shortened: go on reading where it ends now."""
        with self._transaction() as connection:
            connection.execute("UPDATE spool_files SET position = ?, note = ? WHERE file = ?", [position, note, file])

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """All of it or nothing."""
        self._connection.execute("BEGIN TRANSACTION")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def ask(self, sql: str, parameters: Mapping[str, Any], seconds: float) -> list[dict[str, Any]]:
        """Rows of one question, read-only, cut off after `seconds`. Safe from any thread.

        Raises LimitExceeded when time or memory is over, Unavailable when the store is being rebuilt.
        """
        try:
            with self._reading(seconds) as cursor:
                answer = cursor.execute(sql, dict(parameters) or None)
                names = [column[0] for column in answer.description or ()]
                return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
        except duckdb.Error as error:
            raise Unavailable(f"the learning store cannot answer: {error}", "ask again in a moment") from error

    def look(self, sql: str, most: int, seconds: float) -> Answer:
        """The first `most` rows of somebody's own SELECT, under the same limits.

        Raises UsageError when it is anything else, or wrong.
        """
        with self._looking(sql, seconds) as cursor:
            answer = cursor.execute(sql)
            names = tuple(column[0] for column in answer.description or ())
            rows = answer.fetchmany(most + 1)
            return Answer(names, tuple(rows[:most]), len(rows) > most)

    def stream(self, sql: str, most: int, seconds: float) -> Stream:
        """The same rows as Arrow. Raises as `look` does, and what `stream_of` does."""
        with self._looking(sql, seconds) as cursor:
            return stream_of(cursor.sql(sql), most)

    @contextmanager
    def _looking(self, sql: str, seconds: float) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor for somebody's own SELECT, once it is seen to be one."""
        try:
            with self._reading(seconds) as cursor:
                parsed = cursor.execute(freely.PARSE, [sql]).fetchone()
                assert parsed is not None, "a function gives one row"
                freely.check(parsed[0])
                yield cursor
        except duckdb.Error as error:
            said = str(error).partition("\n")[0]
            raise UsageError(said, "`appliance learn query --tables` shows tables and columns") from error

    def export(self, folder: Path) -> dict[str, int]:
        """Write each table as FOLDER/TABLE.parquet, all as of one moment; rows by table. FOLDER is in `exports`."""
        counted = {}
        try:
            with self._reading(EXPORT_SECONDS) as cursor:
                for table in DERIVED:
                    file = str(folder / f"{table}.parquet").replace("'", "''")
                    copy = f"COPY (SELECT * FROM {table}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)"  # noqa: S608 - our own names
                    told = cursor.execute(copy).fetchone()
                    counted[table] = int(told[0]) if told else 0
        except duckdb.Error as error:
            raise Unavailable(f"the store cannot be written out: {error}", "see that the disk has room") from error
        return counted

    @contextmanager
    def _reading(self, seconds: float) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor in a read-only transaction that is broken off after `seconds`."""
        cursor = self._cursor()
        done = threading.Event()
        clock = threading.Thread(target=_break_off, args=(cursor, seconds, done), daemon=True)
        clock.start()
        try:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            yield cursor
        except duckdb.InterruptException as error:
            if self._closed:
                raise Unavailable("the learning store was closed meanwhile", "ask again in a moment") from error
            raise LimitExceeded(f"the question took more than {seconds:g} s", "ask for less at once") from error
        except duckdb.OutOfMemoryException as error:
            raise LimitExceeded(
                "the question needs more memory than the store may use", "ask for less, or raise learning.memory_mb"
            ) from error
        finally:
            done.set()
            clock.join()
            cursor.close()
            with self._gate:
                self._asking.discard(cursor)
                self._gate.notify_all()

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._gate:
            if self._closed:
                raise Unavailable("the learning store is being built anew", "ask again in a moment")
            cursor = self._connection.cursor()
            self._asking.add(cursor)
            return cursor

    def digest(self) -> dict[str, str]:
        """SHA-256 over all rows of each table, in one order; equal for equal content."""
        found = {}
        for table in DERIVED:
            sha = hashlib.sha256()
            answer = self._connection.execute(f"SELECT * FROM {table} ORDER BY ALL")  # noqa: S608 - our own names
            while rows := answer.fetchmany(10_000):
                for row in rows:
                    sha.update(repr(row).encode())
            found[table] = sha.hexdigest()
        return found

    def _make_tables(self) -> None:
        connection = self._connection
        columns = connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
        ).fetchall()
        wanted = {(table, name, kind) for table, kinds in TABLES.items() for name, kind in kinds.items()}
        if set(columns) == wanted:
            return
        if columns:
            raise duckdb.DataError("its tables are those of another release, or not all there")
        connection.execute("BEGIN TRANSACTION")
        for table in TABLES:
            connection.execute(definition(table))
        connection.execute("INSERT INTO watermark VALUES (0, ?, ?)", [GENESIS, self._people])
        connection.execute("COMMIT")

    def _roll_back(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except duckdb.Error:
            return  # the first error has ended the transaction, and is the one to be told


def _break_off(cursor: duckdb.DuckDBPyConnection, seconds: float, done: threading.Event) -> None:
    if done.wait(seconds):
        return
    cursor.interrupt()
    while not done.wait(AGAIN_SECONDS):
        cursor.interrupt()


REVERT = """
UPDATE releases SET reverted = $happened, revert = $revert WHERE item = $item AND seq < $seq AND reverted IS NULL
"""
