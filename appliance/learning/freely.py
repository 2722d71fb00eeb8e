"""What people may ask in SQL of their own: one SELECT over the store's tables, and nothing that reaches beyond them.

DuckDB itself parses it (`json_serialize_sql` takes nothing but SELECT), and every table and table function in it has to
be one of those known here. The connection may open no file anyway; this says so before it tries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.errors import UsageError
from appliance.learning.tables import TABLES

PARSE = "SELECT json_serialize_sql(?)"

LONGEST = 20_000
"""Characters of a question."""

FUNCTIONS = frozenset({"range", "generate_series", "unnest", "json_each", "json_tree"})
"""Functions that may stand for a table."""

MOST_ROWS = 100_000


def check(parsed: str) -> None:
    """Raises UsageError when what DuckDB's parser made of a question is not one SELECT over the store's tables."""
    told = json.loads(parsed)
    if told["error"]:
        why = "it is no SELECT" if "Only SELECT" in told["error_message"] else told["error_message"]
        raise UsageError(f"this cannot be asked: {why}", "ask with one SELECT, or WITH … SELECT")
    if len(told["statements"]) != 1:
        raise UsageError(f"{len(told['statements'])} statements cannot be asked at once", "ask with one SELECT")
    nodes = list(_nodes(told))
    known = {*TABLES, *(name.lower() for node in nodes for name in _named_here(node))}
    for node in nodes:
        if node.get("type") == "TABLE_FUNCTION":
            name = str(node["function"].get("function_name", "")).lower()
            if name not in FUNCTIONS:
                raise UsageError(
                    f"{name}() cannot be asked from", f"functions that can: {', '.join(sorted(FUNCTIONS))}"
                )
        if node.get("type") == "BASE_TABLE":
            name = str(node.get("table_name", "")).lower()
            if name not in known or node.get("schema_name") not in ("", "main") or node.get("catalog_name"):
                raise UsageError(f"there is no table {name!r}", "`appliance learn query --tables` shows all")
        if node.get("type") == "SHOW_REF":
            raise UsageError("only rows can be asked for", "`appliance learn query --tables` shows tables and columns")


def _nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in a parsed statement."""
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _named_here(node: Mapping[str, Any]) -> list[str]:
    """Names that a WITH of this node gives to its parts."""
    return [str(one["key"]) for one in node.get("cte_map", {}).get("map", ())]
