"""Sums for each UTC day, kept exact in the transaction of the rows they are made of: a question about years reads
thousands of rows and not millions. They are whole numbers, so the order in which they are added up is of no matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.learning.tables import TABLES

if TYPE_CHECKING:
    import duckdb

STEPS = 8
"""Steps of duration from one number of milliseconds to its double: each is 9 % longer than the one before."""

STAGES = """
SELECT runs.happened::DATE AS day, coalesce(items.repo, '') AS repo, runs.stage, {step} AS step, 1 AS runs,
    round(greatest(runs.wall_seconds, 0) * 1000)::BIGINT AS milliseconds
FROM stage_runs AS runs LEFT JOIN items USING (item) WHERE runs.seq > $after AND runs.stage <> 'signal'
"""
"""What each run of a stage after an event adds to `stage_days`."""


ATTEMPTS = """
SELECT tries.happened::DATE AS day, coalesce(items.repo, '') AS repo, tries.rule,
    CASE WHEN tries.strategy = 'search' THEN 'search' ELSE tries.model END AS model, 1 AS attempts,
    coalesce(tries.prompt_tokens, 0) AS prompt_tokens, coalesce(tries.completion_tokens, 0) AS completion_tokens,
    round(greatest(coalesce(tries.model_seconds, 0), 0) * 1000)::BIGINT AS model_milliseconds,
    round(greatest(tries.wall_seconds, 0) * 1000)::BIGINT AS milliseconds
FROM attempts AS tries LEFT JOIN items USING (item) WHERE tries.seq > $after
"""
"""What each try to build a change after an event adds to `attempt_days`."""


def step_of(seconds: str) -> str:
    """SQL: the step of a duration."""
    return f"ceil(log2(least(greatest({seconds} * 1000, 1), 1e9)) * {STEPS})::INTEGER"


def longest(share: float) -> str:
    """SQL: the seconds that this share of the calls took at most, over rows of `step` and `upto` of `total`."""
    return f"round(power(2, min(step) FILTER (upto >= {share} * total) / {float(STEPS)}) / 1000, 3)"


def add_stages(connection: duckdb.DuckDBPyConnection, after: int) -> None:
    """Add the runs of stages, and the tries, that came with the events after this one."""
    add_up(connection, "stage_days", STAGES.format(step=step_of("runs.wall_seconds")), {"after": after})
    add_up(connection, "attempt_days", ATTEMPTS, {"after": after})


def add_up(
    connection: duckdb.DuckDBPyConnection, table: str, adds: str, parameters: dict[str, int] | None = None
) -> None:
    """Add to a table's sums of the days that the new rows are of, within the caller's transaction."""
    columns = TABLES[table]
    sums = [name for name, kind in columns.items() if kind == "BIGINT"]
    keys = [name for name in columns if name not in sums]
    added = ", ".join(keys + [f"sum({name})::BIGINT AS {name}" for name in sums])
    made = f"CREATE OR REPLACE TEMP TABLE added AS SELECT {added} FROM ({adds}) GROUP BY ALL"  # noqa: S608
    connection.execute(made, parameters)
    connection.execute(
        f"INSERT INTO added BY NAME SELECT * FROM {table} WHERE day IN (SELECT DISTINCT day FROM added)"  # noqa: S608
    )
    connection.execute(f"DELETE FROM {table} WHERE day IN (SELECT DISTINCT day FROM added)")  # noqa: S608
    connection.execute(f"INSERT INTO {table} BY NAME SELECT {added} FROM added GROUP BY ALL")  # noqa: S608
