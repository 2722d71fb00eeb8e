"""The ledger's copy: taken while others write, and held to what it was when it is brought back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pysqlite3.dbapi2 as sqlite
from alembic.script import ScriptDirectory

from appliance import ledger
from appliance.backup.manifest import Books, Rows
from appliance.errors import FactoryError, Unavailable, VerificationFailed
from appliance.ledger.chain import first_break

PATIENCE_SECONDS = 30.0
ROWS_AT_ONCE = 2000


def snapshot(file: Path, into: Path) -> None:
    """Copy the ledger as it is at one moment, in one read transaction: SQLite's online backup. Writers go on.

    Raises Unavailable when either file cannot be used.
    """
    with _reading(file) as source, closing(sqlite.connect(into)) as copy, _failures_in_words(file):
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it


def read(file: Path) -> Books:
    """What a ledger's copy holds, its audit chain walked: about 100,000 events a second.

    Raises VerificationFailed when the chain is broken, or the file is no whole database.
    """
    with _reading(file) as database, _failures_in_words(file):
        (sound,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if sound != "ok":
            raise VerificationFailed(f"the ledger's copy is damaged: {sound}", "restore an older backup")
        names = [name for (name,) in database.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
        )]  # fmt: skip
        (revision,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        events, tip, problem = first_break(
            database.execute("SELECT seq, at, kind, subject, payload, prev, hash FROM events ORDER BY seq")
        )
        if problem:
            raise VerificationFailed(f"the audit chain is broken: {problem}", "compare with an older backup")
        tables = {name: _rows(database, name) for name in names}
    return Books(revision=revision, events=events, tip=tip, tables=tables)


def hold(file: Path, expected: Books) -> None:
    """Raises VerificationFailed when a restored ledger is not the one that was backed up, row for row."""
    found = read(file)
    for name, rows in expected.tables.items():
        here = found.tables.get(name)
        if here != rows:
            was = f"{here.count} rows" if here else "missing"
            raise VerificationFailed(
                f"the restored table {name} is not what was backed up: {was}, expected {rows.count} rows",
                "restore an older backup",
            )
    if found != expected:
        raise VerificationFailed("the restored ledger is not what was backed up", "restore an older backup")


def check_known(revision: str, version: str) -> None:
    """Raises VerificationFailed when this program is too old for a ledger: its tables come from a newer one."""
    scripts = ScriptDirectory(str(Path(ledger.__file__).parent / "migrations"))
    if revision not in {one.revision for one in scripts.walk_revisions()}:
        raise VerificationFailed(
            f"the backup is of a newer program ({version}, tables {revision}) than this one",
            f"install {version} or later, then restore",
        )


def _rows(database: Any, table: str) -> Rows:
    digest, count = hashlib.sha256(), 0
    keys = [(rank, name) for _, name, _, _, _, rank in database.execute(f'PRAGMA table_info("{table}")') if rank]
    order = ", ".join(f'"{name}"' for _, name in sorted(keys)) or "rowid"
    cursor = database.execute(f'SELECT * FROM "{table}" ORDER BY {order}')  # noqa: S608 - names from the schema
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        count += len(rows)
        digest.update("\n".join(map(repr, rows)).encode("utf-8", "surrogatepass"))
    return Rows(count=count, sha256=digest.hexdigest())


@contextmanager
def _reading(file: Path) -> Iterator[Any]:
    with _failures_in_words(file):
        database = sqlite.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=PATIENCE_SECONDS)
    with closing(database):
        yield database


@contextmanager
def _failures_in_words(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite.OperationalError as error:
        raise Unavailable(f"the ledger {file} cannot be read: {error}", "see that its disk has room") from error
    except sqlite.DatabaseError as error:
        raise FactoryError(f"the ledger {file} is damaged: {error}", "restore the newest backup") from error
