"""From lines of the gateway's spool to rows: one of `model_calls` for each call, one of `decisions` where the router
chose, and the sums of the day. DuckDB reads the JSON itself, and only the fields named here: what else a line holds
never comes in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from appliance.learning.spool import Chunk
from appliance.learning.sums import add_up, longest, step_of

if TYPE_CHECKING:  # the console asks for the statements in here, and needs no database for it
    import duckdb

BY_CALLER = "the caller"
"""Stands in for a rule's name when the caller named the model: the router chose nothing."""

SHAPE: dict[str, Any] = {
    **dict.fromkeys(
        ("id", "at", "endpoint", "key", "person", "task", "stage", "repo", "item", "episode", "model", "digest",
         "engine", "quantisation", "prompt_digest", "rule", "priority", "error", "suggested", "chosen"),
        "VARCHAR",
    ),
    **dict.fromkeys(("prompt_tokens", "completion_tokens", "cached_tokens", "policy_version"), "BIGINT"),
    **dict.fromkeys(("seconds", "waited_seconds", "first_token_seconds", "propensity"), "DOUBLE"),
    **dict.fromkeys(("attempts", "status"), "INTEGER"),
    **dict.fromkeys(("stream", "explored"), "BOOLEAN"),
    **dict.fromkeys(("objective", "features"), "JSON"),
    "candidates": ["VARCHAR"],
    "asked": {
        "model": "VARCHAR", "language": "VARCHAR", "team": "VARCHAR", "prompt_tokens": "BIGINT", "severity": "INTEGER",
        "attempt": "INTEGER",
    },
}  # fmt: skip
"""Fields of a line and their types. A value of another type counts as not said."""

FRESH = f"""
CREATE OR REPLACE TEMP TABLE fresh AS
SELECT line.*
FROM (SELECT from_json(text, '{json.dumps(SHAPE)}') AS line
      FROM (SELECT unnest(string_split(?, chr(10))) AS text) WHERE json_valid(text))
"""  # noqa: S608 - our own shape
"""Every line that is JSON. A condition on its fields would have DuckDB read it twice: that comes in the next step."""

GOOD = """(SELECT * EXCLUDE ("at"), try_cast("at" AS TIMESTAMP) AS happened FROM fresh) AS told
WHERE happened IS NOT NULL AND coalesce(id, '') <> ''"""

CALLS = f"""
INSERT INTO model_calls BY NAME
SELECT id AS call, happened, endpoint, coalesce(task, '') AS task, coalesce(stage, '') AS stage,
    coalesce(repo, '') AS repo, coalesce(item, '') AS item, coalesce(episode, '') AS episode, key,
    coalesce(person, '') AS person, coalesce(asked.team, '') AS team, coalesce(model, '') AS model,
    coalesce(digest, '') AS digest, coalesce(engine, '') AS engine, coalesce(quantisation, '') AS quantisation,
    coalesce(prompt_digest, '') AS prompt_digest, coalesce(rule, '') AS rule, attempts, stream, priority,
    coalesce(prompt_tokens, 0) AS prompt_tokens, coalesce(completion_tokens, 0) AS completion_tokens, cached_tokens,
    seconds, waited_seconds, first_token_seconds, status, coalesce(error, '') AS error
FROM {GOOD}
"""  # noqa: S608 - our own words

DECISIONS = f"""
INSERT INTO decisions BY NAME
SELECT id AS call, happened, 'gateway' AS source, coalesce(item, '') AS item, coalesce(episode, '') AS episode,
    coalesce(repo, '') AS repo, coalesce(task, '') AS task, coalesce(stage, '') AS stage,
    coalesce(asked.language, '') AS language, coalesce(asked.model, 'auto') AS asked_model,
    coalesce(asked.prompt_tokens, prompt_tokens, 0) AS prompt_tokens, coalesce(asked.severity, 0) AS severity,
    coalesce(asked.attempt, 0) AS attempt, rule, coalesce(candidates, []) AS candidates,
    coalesce(chosen, candidates[1], model, '') AS chosen, coalesce(suggested, '') AS suggested, policy_version,
    propensity, coalesce(explored, false) AS explored, objective, coalesce(prompt_digest, '') AS prompt_digest, features
FROM {GOOD} AND coalesce(rule, '') NOT IN ('', '{BY_CALLER}')
"""  # noqa: S608 - our own words


DAYS: Mapping[str, str] = {
    "call_days": f"""
SELECT happened::DATE AS day, coalesce(repo, '') AS repo, coalesce(task, '') AS task, coalesce(stage, '') AS stage,
    coalesce(rule, '') AS rule, coalesce(model, '') AS model, 1 AS calls,
    (coalesce(status, 0) <> 200)::BIGINT AS failed, coalesce(prompt_tokens, 0) AS prompt_tokens,
    coalesce(completion_tokens, 0) AS completion_tokens,
    round(greatest(coalesce(seconds, 0), 0) * 1000)::BIGINT AS milliseconds,
    round(greatest(coalesce(waited_seconds, 0), 0) * 1000)::BIGINT AS waited_milliseconds
FROM {GOOD}
""",  # noqa: S608 - our own words
    "call_speeds": f"""
SELECT happened::DATE AS day, coalesce(task, '') AS task, coalesce(model, '') AS model,
    {step_of("seconds")} AS step, 1 AS calls
FROM {GOOD} AND status = 200 AND seconds IS NOT NULL
""",  # noqa: S608 - our own words
}
"""Tables of sums for each day → what one call adds to them. The sums are whole numbers, so that their order is of no
matter."""


BY_MODEL = """
SELECT model, sum(calls)::BIGINT AS calls, sum(failed)::BIGINT AS failed, sum(prompt_tokens)::BIGINT AS prompt_tokens,
    sum(completion_tokens)::BIGINT AS completion_tokens, round(sum(milliseconds) / 1000, 1) AS seconds,
    round(sum(waited_milliseconds) / 1000, 1) AS waited_seconds
FROM call_days
WHERE ($repo = '' OR repo = $repo) AND ($days = 0 OR day > (now() AT TIME ZONE 'UTC')::DATE - $days)
GROUP BY model ORDER BY calls DESC, model
"""

BY_DAY = """
SELECT day, sum(calls)::BIGINT AS calls, sum(failed)::BIGINT AS failed,
    sum(prompt_tokens + completion_tokens)::BIGINT AS tokens, round(sum(milliseconds) / 1000, 1) AS seconds
FROM call_days
WHERE ($repo = '' OR repo = $repo) AND ($model = '' OR model = $model)
    AND ($days = 0 OR day > (now() AT TIME ZONE 'UTC')::DATE - $days)
GROUP BY day ORDER BY day
"""

BY_PERSON = """
SELECT person, key, count(*) AS calls, count(*) FILTER (coalesce(status, 0) <> 200) AS failed,
    sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(completion_tokens)::BIGINT AS completion_tokens,
    round(sum(seconds), 1) AS seconds, max(happened) AS latest
FROM model_calls
WHERE person <> '' AND ($days = 0 OR happened > (now() AT TIME ZONE 'UTC') - to_days($days::INTEGER))
GROUP BY person, key ORDER BY calls DESC, person, key
"""

SPEEDS = f"""
SELECT task, model, any_value(total)::BIGINT AS calls, {longest(0.5)} AS median, {longest(0.95)} AS p95
FROM (SELECT task, model, step, sum(sum(calls)) OVER (PARTITION BY task, model ORDER BY step) AS upto,
          sum(sum(calls)) OVER (PARTITION BY task, model) AS total
      FROM call_speeds WHERE $days = 0 OR day > (now() AT TIME ZONE 'UTC')::DATE - $days
      GROUP BY task, model, step)
GROUP BY task, model ORDER BY task, model
"""  # noqa: S608 - our own words


def insert_calls(connection: duckdb.DuckDBPyConnection, chunk: Chunk) -> int:
    """Add the calls of a chunk, within the caller's transaction. Returns how many of its lines were damaged."""
    connection.execute(FRESH, [chunk.text])
    found = connection.execute(CALLS).fetchone()
    assert found is not None, "an insert tells how many rows it made"
    connection.execute(DECISIONS)
    for table, adds in DAYS.items():
        add_up(connection, table, adds)
    return chunk.lines - int(found[0])
