"""How rows get into a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import duckdb
import orjson

from appliance.learning.said import Row
from appliance.learning.tables import TABLES

SHAPES: Mapping[str, Any] = {"JSON": "VARCHAR", "VARCHAR[]": ["VARCHAR"]}
"""How DuckDB's JSON reader is told of types that it names otherwise; JSON is text that need not be read twice."""


@cache
def _statement(table: str) -> str:
    shape = json.dumps([{name: SHAPES.get(kind, kind) for name, kind in TABLES[table].items()}])
    return f"INSERT INTO {table} SELECT row.* FROM (SELECT unnest(from_json_strict(?, '{shape}')) AS row)"  # noqa: S608 - our own names


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Row]) -> None:
    """Rows go over as one JSON text: for each value of a list DuckDB looks for packages that are not here."""
    if rows:
        connection.execute(_statement(table), [orjson.dumps(rows).decode()])
