"""From lines of the gateway's spool to rows: one of `model_calls` for each call, one of `decisions` where the router
chose. DuckDB reads the JSON itself, and only the fields named here: what else a line holds never comes in.
"""

from __future__ import annotations

import json
from typing import Any

import duckdb

from appliance.learning.spool import Chunk

BY_CALLER = "the caller"
"""Stands in for a rule's name when the caller named the model: the router chose nothing."""

SHAPE: dict[str, Any] = {
    **dict.fromkeys(
        ("id", "at", "endpoint", "key", "task", "stage", "repo", "item", "episode", "model", "digest", "engine",
         "quantisation", "prompt_digest", "rule", "priority", "error", "suggested", "chosen"),
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
SELECT line.* EXCLUDE ("at"), try_cast(line."at" AS TIMESTAMP) AS happened
FROM (SELECT from_json(text, '{json.dumps(SHAPE)}') AS line
      FROM (SELECT unnest(string_split(?, chr(10))) AS text) WHERE json_valid(text))
WHERE coalesce(line.id, '') <> '' AND try_cast(line."at" AS TIMESTAMP) IS NOT NULL
"""  # noqa: S608 - our own shape

CALLS = """
INSERT INTO model_calls BY NAME
SELECT id AS call, happened, endpoint, coalesce(task, '') AS task, coalesce(stage, '') AS stage,
    coalesce(repo, '') AS repo, coalesce(item, '') AS item, coalesce(episode, '') AS episode, key,
    coalesce(asked.team, '') AS team, coalesce(model, '') AS model, coalesce(digest, '') AS digest,
    coalesce(engine, '') AS engine, coalesce(quantisation, '') AS quantisation,
    coalesce(prompt_digest, '') AS prompt_digest, coalesce(rule, '') AS rule, attempts, stream, priority,
    coalesce(prompt_tokens, 0) AS prompt_tokens, coalesce(completion_tokens, 0) AS completion_tokens, cached_tokens,
    seconds, waited_seconds, first_token_seconds, status, coalesce(error, '') AS error
FROM fresh
"""

DECISIONS = f"""
INSERT INTO decisions BY NAME
SELECT id AS call, happened, 'gateway' AS source, coalesce(item, '') AS item, coalesce(episode, '') AS episode,
    coalesce(repo, '') AS repo, coalesce(task, '') AS task, coalesce(stage, '') AS stage,
    coalesce(asked.language, '') AS language, coalesce(asked.model, 'auto') AS asked_model,
    coalesce(asked.prompt_tokens, prompt_tokens, 0) AS prompt_tokens, coalesce(asked.severity, 0) AS severity,
    coalesce(asked.attempt, 0) AS attempt, rule, coalesce(candidates, []) AS candidates,
    coalesce(chosen, candidates[1], model, '') AS chosen, coalesce(suggested, '') AS suggested, policy_version,
    propensity, coalesce(explored, false) AS explored, objective, coalesce(prompt_digest, '') AS prompt_digest, features
FROM fresh
WHERE coalesce(rule, '') NOT IN ('', '{BY_CALLER}')
"""  # noqa: S608 - our own word


def insert_calls(connection: duckdb.DuckDBPyConnection, chunk: Chunk) -> int:
    """Add the calls of a chunk, within the caller's transaction. Returns how many of its lines were damaged."""
    connection.execute(FRESH, [chunk.text])
    connection.execute(CALLS)
    connection.execute(DECISIONS)
    found = connection.execute("SELECT count(*) FROM fresh").fetchone()
    assert found is not None, "an aggregate gives one row"
    return chunk.lines - int(found[0])
