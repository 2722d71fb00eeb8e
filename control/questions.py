"""What people ask of the learning store: by name, or in SQL of their own. For the pages and the API."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping
from typing import Any

from appliance.errors import UsageError
from appliance.learning.queries import QUERIES, prepared
from appliance.work import Noun

GROUPS = ("repo", "model", "week")
LONGEST_DAYS = 36_500
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would calculate."""

EXAMPLES: Mapping[str, str] = {
    "Items by state": "SELECT state, count(*) AS items FROM items GROUP BY ALL ORDER BY items DESC",
    "Slow calls of the last week": "SELECT happened, task, model, round(seconds, 1) AS seconds, prompt_tokens\n"
    "FROM model_calls WHERE happened > now() - INTERVAL 7 DAY\nORDER BY model_calls.seconds DESC LIMIT 50",
    "What the router chose and why": "SELECT happened, rule, candidates, chosen, policy_version, propensity, explored\n"
    "FROM decisions ORDER BY happened DESC LIMIT 100",
    "First tries by who made them": "SELECT strategy, model, outcome, count(*) AS tries,\n"
    "round(avg(wall_seconds), 1) AS seconds "
    "FROM attempts WHERE n = 1 GROUP BY ALL ORDER BY ALL",
    "Lessons and how often they were used": "SELECT lesson, count(*) AS uses, count(DISTINCT item) AS items\n"
    "FROM lesson_uses GROUP BY ALL ORDER BY uses DESC",
    "What scanners found": "SELECT repo, tool, rule, severity, count(*) AS found\n"
    "FROM findings JOIN items USING (item) GROUP BY ALL ORDER BY found DESC",
}
"""Questions to begin with; a test asks each."""


class Asked(Noun):
    """What a page of figures is narrowed to."""

    by: str = "repo"
    repo: str = ""
    days: int = 0


class Question(Noun):
    """A figure's question, written out so that anybody can ask it."""

    name: str
    what: str
    sql: str
    parameters: Mapping[str, Any]


def asked_for(given: Mapping[str, str]) -> Asked:
    """From an address. Raises UsageError for a group or a number of days that cannot be."""
    by = given.get("by", "") or "repo"
    if by not in GROUPS:
        raise UsageError(f"figures cannot be told by {by!r}", f"one of: {', '.join(GROUPS)}")
    return Asked(by=by, repo=given.get("repo", ""), days=_whole("days", given.get("days", "") or "0"))


def parameters(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a named question from an address, each of its type; others of the address are left out.

    Raises NotFound for an unknown question, UsageError for what is no number.
    """
    _, known = prepared(name, {})
    return {
        key: _whole(key, given[key]) if isinstance(default, int) else given[key]
        for key, default in known.items()
        if given.get(key)
    }


def question(name: str, **given: Any) -> Question:
    """A named question with its parameters put in as literals: the very statement, for `learn query` and the page.

    Raises as `prepared` does.
    """
    sql, values = prepared(name, given)
    written = re.sub(r"\$([a-z]\w*)", lambda found: _literal(values[found[1]]), sql)
    return Question(name=name, what=QUERIES[name].what, sql=written, parameters=values)


def as_csv(found: Mapping[str, Any]) -> str:
    """An answer as comma-separated values, the columns' names first. A text that a spreadsheet would take for a
    formula gets an apostrophe before it."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\r\n")
    lines.writerows([[_cell(value) for value in row] for row in (found["columns"], *found["rows"])])
    return out.getvalue()


def plain(value: Any) -> Any:
    """An answer as JSON takes it: what is no number (NaN, infinity) is written as a word.

    >>> plain([1.5, float("nan"), {"a": float("inf")}])
    [1.5, 'nan', {'a': 'inf'}]
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return value


def _cell(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def _literal(value: Any) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def _whole(name: str, given: str) -> int:
    if not given.isdecimal() or not given.isascii() or int(given[:9]) > LONGEST_DAYS:
        raise UsageError(f"{name} cannot be {given!r}", f"a number from 0 to {LONGEST_DAYS}; 0 means all")
    return int(given[:9])
