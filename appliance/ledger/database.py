"""The connection under the ledger: SQLite with its own current library, WAL, every commit on disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DatabaseError, OperationalError

from appliance.errors import ConfigError, FactoryError, Unavailable

PATIENCE_SECONDS = 10.0
"""Wait for the one write lock, among threads and among processes."""
CONNECTIONS = 32
"""Kept open at most; more are opened as they are needed."""
SAFE_SQLITE = (3, 51, 3)
"""First SQLite release without the WAL corruption under concurrent connections (sqlite.org, fixed in 3.51.3)."""


def sqlite_version() -> str:
    """Version of the SQLite library in use (bundled with pysqlite3, not the system's)."""
    return str(sqlite.sqlite_version)


class Database:
    """One SQLite file. Readers never wait for the one writer; writers queue up to ten seconds."""

    def __init__(self, file: Path) -> None:
        if tuple(int(part) for part in sqlite_version().split(".")) < SAFE_SQLITE:
            raise ConfigError(
                f"SQLite {sqlite_version()} can corrupt a database in WAL mode",
                "install the pysqlite3 of offline-wheels/runtime.lock",
            )
        self.file = file
        self.engine: Engine = create_engine(f"sqlite:///{file}", module=sqlite, pool_size=CONNECTIONS, max_overflow=-1)
        self._turn = threading.RLock()  # SQLite lets writers poll for the lock: some of many would wait for long
        event.listen(self.engine, "connect", _on_connect)
        event.listen(self.engine, "begin", _on_begin)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view. Raises Unavailable when the file cannot be read."""
        with self._failures_in_words(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The one write transaction; committed at the end, rolled back on any error."""
        with self._failures_in_words(), self._my_turn(), self.engine.connect() as plain:
            connection = plain.execution_options(writes=True)
            with connection.begin():
                yield connection

    def migrate(self) -> None:
        """Bring the tables to this release's version, in one transaction."""
        logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every opening otherwise
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.writing() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        """The threads of this process write one after the other."""
        if not self._turn.acquire(timeout=PATIENCE_SECONDS):
            raise Unavailable(f"the ledger {self.file} is being written to for too long", "try again")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _failures_in_words(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            raise Unavailable(
                f"the ledger {self.file} cannot be used: {error.orig}",
                "check free space and permissions of the home; `appliance doctor` tells more",
            ) from error
        except DatabaseError as error:
            if isinstance(error.orig, sqlite.IntegrityError):
                raise
            raise FactoryError(
                f"the ledger {self.file} is damaged: {error.orig}", "stop the box and restore the newest backup"
            ) from error


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's "begin" event below opens transactions, not the driver
    patience = f"busy_timeout={PATIENCE_SECONDS * 1000:.0f}"
    for pragma in ("journal_mode=WAL", "synchronous=FULL", patience, "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a reader that turns writer later could not wait for it
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
