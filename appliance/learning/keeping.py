"""How long the store keeps what, by the settings; and giving room back to the disk.

What is removed here is removed from the spool too, so that a store built anew has the same rows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from appliance.learning import spool
from appliance.settings import LearningSettings

log = logging.getLogger("appliance.learning")

OF_CALLS: Mapping[str, str] = {
    "model_calls": "happened < $first", "decisions": "source = 'gateway' AND happened < $first",
    "call_days": "day < $first", "call_speeds": "day < $first",
}  # fmt: skip
"""Tables of calls, and which of their rows are of days before the first one that is kept."""

TEXTS: Mapping[str, tuple[str, ...]] = {
    "signals": ("title", "author"), "items": ("title",), "incidents": ("title",), "reviews": ("person", "words"),
    "stage_runs": ("reason",), "verdicts": ("reason",), "findings": ("message",), "lessons": ("words", "why"),
    "model_calls": ("person",),
}  # fmt: skip
"""Columns with words of people, or about what they said."""

DECIDED = ("stage_runs", "verdicts", "releases", "lessons")
"""Tables that name who decided: a rule, a model, or `person:` and a name."""

ASKED_LATER = ("OutcomeLearned", "FrictionFound", "ReplayStarted", "ReplayRan", "ReplayEnded")
"""Events whose payloads are figures that questions read; those of all others may hold anybody's words."""

WORTH_BYTES = 64 * 1024 * 1024
WORTH_SHARE = 0.3
"""Room in the file that is given back: at least so much, and such a part of it."""


def first_day(days: int, now: datetime) -> date | None:
    """The first day that is kept; None when all are."""
    return (now.astimezone(UTC) - timedelta(days=days)).date() if days else None


def drop_files(folder: Path, first: date) -> list[str]:
    """Remove the spool's files of calls of days before `first`; their names."""
    old = [file for file in spool.files(folder) if spool.day_of(file.name) < f"{first:%Y%m%d}"]
    for file in old:
        file.unlink(missing_ok=True)
    return [file.name for file in old]


def keep(connection: duckdb.DuckDBPyConnection, settings: LearningSettings, now: datetime) -> int:
    """Remove what is older than the settings say, within the caller's transaction; rows removed or emptied."""
    changed = 0
    if first := first_day(settings.calls_days, now):
        for table, old in OF_CALLS.items():
            changed += _count(connection.execute(f"DELETE FROM {table} WHERE {old}", {"first": first}))  # noqa: S608
        gone = {"name": f"usage-{first:%Y%m%d}.jsonl"}
        connection.execute("DELETE FROM spool_files WHERE file < $name", gone)
    if first := first_day(settings.texts_days, now):
        changed += sum(_count(connection.execute(one, {"first": first})) for one in _emptying())
    return changed


def _emptying() -> Iterator[str]:
    """The statements that empty what people said, and their names, before `$first`."""
    for table, columns in TEXTS.items():
        at = "opened" if table == "items" else "happened"
        emptied = ", ".join(f"{name} = ''" for name in columns)
        some = " OR ".join(f"{name} <> ''" for name in columns)
        yield f"UPDATE {table} SET {emptied} WHERE {at} < $first AND ({some})"  # noqa: S608 - our own names
    for table in DECIDED:
        yield (
            f"UPDATE {table} SET decided_by = 'person' WHERE happened < $first"  # noqa: S608 - as above
            " AND starts_with(decided_by, 'person:')"
        )
    yield "UPDATE decisions SET meaning = NULL WHERE happened < $first AND meaning IS NOT NULL"
    yield "UPDATE events SET subject = 'user' WHERE happened < $first AND starts_with(subject, 'user ')"
    yield (
        "UPDATE events SET payload = NULL WHERE happened < $first AND payload IS NOT NULL"  # noqa: S608 - as above
        f" AND kind NOT IN {ASKED_LATER}"
    )
    yield (
        "UPDATE events SET payload = json_object('facts', payload -> '$.facts') WHERE happened < $first"
        " AND kind = 'OutcomeLearned' AND json_keys(payload) <> ['facts']"
    )


def _count(done: duckdb.DuckDBPyConnection) -> int:
    row = done.fetchone()
    return int(row[0]) if row else 0


def is_worth_it(connection: duckdb.DuckDBPyConnection, removed: int) -> bool:
    """Is there so much free room in the file that writing it anew pays? Room between rows that stay is not free to
    DuckDB, so what was just removed counts as well."""
    row = connection.execute(
        "SELECT block_size, total_blocks, free_blocks, (SELECT count(*) FROM model_calls)"
        " + (SELECT count(*) FROM decisions) FROM pragma_database_size() WHERE database_name = current_database()"
    ).fetchone()
    assert row is not None, "there is a database"
    block, total, free, left = map(int, row)
    share = max(free / max(total, 1), removed / max(left + removed, 1))
    return total * block * share >= WORTH_BYTES and share >= WORTH_SHARE


def compact(file: Path) -> None:
    """Write a closed store's file anew without its free room. Killed at any moment, there is the old one or the new.

    Raises duckdb.Error, with the old file as it was.
    """
    fresh = file.with_name(f"{file.name}.compact")
    fresh.unlink(missing_ok=True)
    before = file.stat().st_size
    # this connection sees no SQL but ours, so it may open files
    with duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}) as copying:
        for name, path, mode in (("old", file, " (READ_ONLY)"), ("new", fresh, "")):
            where = str(path).replace("'", "''")
            copying.execute(f"ATTACH '{where}' AS {name}{mode}")
        copying.execute("COPY FROM DATABASE old TO new")
        copying.execute("DETACH new")
        copying.execute("DETACH old")
    fresh.replace(file)
    log.info("%s was written anew: %d bytes instead of %d", file.name, file.stat().st_size, before)
