"""What may be asked of the learning store, by name. All fixed statements with typed parameters; none writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.errors import NotFound, UsageError
from appliance.events import STAGE_FACTS
from appliance.learning import calls, chosen, figures
from appliance.learning.sums import longest
from appliance.work import Noun


class Query(Noun):
    """One question. `parameters` names each with its default, whose type is the parameter's type."""

    what: str
    sql: str
    parameters: Mapping[str, Any] = {}


DURATIONS = f"""
SELECT stage, any_value(total)::BIGINT AS runs, round(any_value(milliseconds) / any_value(total) / 1000, 3) AS mean,
    {longest(0.5)} AS median, {longest(0.95)} AS p95, {longest(1)} AS longest
FROM (SELECT stage, step, sum(sum(runs)) OVER (PARTITION BY stage ORDER BY step) AS upto,
          sum(sum(runs)) OVER (PARTITION BY stage) AS total,
          sum(sum(milliseconds)) OVER (PARTITION BY stage) AS milliseconds
      FROM stage_days
      WHERE ($repo = '' OR repo = $repo) AND ($days = 0 OR day > (now() AT TIME ZONE 'UTC')::DATE - $days)
      GROUP BY stage, step)
GROUP BY stage ORDER BY list_position({list(STAGE_FACTS)}, stage), stage
"""  # noqa: S608 - our own words

COUNTED = ("events", "items", "stage_runs", "attempts", "verdicts", "model_calls", "decisions")
EACH = " UNION ALL ".join(f"SELECT '{table}' AS name, count(*) AS held FROM {table}" for table in COUNTED)  # noqa: S608 - our own names
PICKED = ", ".join(f"any_value(held) FILTER (name = '{table}') AS {table}" for table in COUNTED)

COUNTS = f"""
WITH counted AS (SELECT {PICKED} FROM ({EACH}))
SELECT counted.*, (SELECT coalesce(sum(damaged), 0)::BIGINT FROM spool_files) AS damaged_lines,
    (SELECT happened FROM events WHERE seq = 1) AS first,
    (SELECT happened FROM events WHERE seq = (SELECT seq FROM watermark)) AS last
FROM counted
"""  # noqa: S608 - as above
"""As one union: DuckDB takes ten times as long to plan a subquery for each table."""

QUERIES: Mapping[str, Query] = {
    "counts": Query(
        what="rows in the largest tables, and when the first and the last event were",
        sql=COUNTS,
    ),
    "stage_durations": Query(
        what="runs of each stage and how long they took, in seconds; all but the mean to 9 %",
        sql=DURATIONS,
        parameters={"repo": "", "days": 0},
    ),
    "outcomes": Query(
        what="items by repository, strategy and state, with the share that needed no person",
        sql="SELECT repo, coalesce(strategy, '') AS strategy, state, count(*) AS items,"
        " count(*) FILTER (without_a_person) AS without_a_person, round(avg(seconds_from_signal), 1) AS mean_seconds"
        " FROM items WHERE ($repo = '' OR repo = $repo)"
        " AND ($days = 0 OR opened > (now() AT TIME ZONE 'UTC') - to_days($days))"
        " GROUP BY ALL ORDER BY ALL",
        parameters={"repo": "", "days": 0},
    ),
    "calls": Query(
        what="calls of each model: failures, tokens, seconds", sql=calls.BY_MODEL, parameters={"repo": "", "days": 0}
    ),
    "calls_by_day": Query(
        what="calls of each day: failures, tokens, seconds",
        sql=calls.BY_DAY,
        parameters={"repo": "", "model": "", "days": 0},
    ),
    "calls_by_person": Query(
        what="calls of each person whom callers name, like the playground does: failures, tokens, seconds",
        sql=calls.BY_PERSON,
        parameters={"days": 0},
    ),
    "speeds": Query(
        what="how long good calls took, in seconds: median and 95th percentile, to 9 %",
        sql=calls.SPEEDS,
        parameters={"days": 0},
    ),
    "autonomy": Query(
        what="what was shipped, how much of it without a person, time from signal to ship in seconds, reverts",
        sql=figures.AUTONOMY,
        parameters=figures.GROUPED,
    ),
    "costs": Query(
        what="what attempts at repairs took: tokens, seconds of models, seconds in all; by repo, model, rule or week",
        sql=figures.COSTS,
        parameters=figures.GROUPED,
    ),
    "item_costs": Query(
        what="calls for one item by task, stage and model: tokens, seconds of models, seconds of waiting",
        sql=figures.ITEM_COSTS,
        parameters={"item": ""},
    ),
    "lessons_used": Query(
        what="how many lessons there are, and how many ended items held with and without one",
        sql=figures.LESSONS,
        parameters={"repo": ""},
    ),
    "choices": Query(
        what="decisions of router and line, newest first: what was asked, chosen and why, and what came of it",
        sql=chosen.DECISIONS,
        parameters=chosen.PARAMETERS,
    ),
    "policy_weeks": Query(
        what="choices of the line with a policy at hand: by week, rule, language, repository, version, who was chosen",
        sql=figures.POLICY_WEEKS,
        parameters={"repo": "", "days": 0},
    ),
    "review_precision": Query(
        what="objections of the gates, and what people made of them", sql=figures.PRECISION, parameters=figures.GROUPED
    ),
    "replays": Query(what="results of replayed tasks", sql=figures.REPLAYS, parameters=figures.BY_REPO),
    "replay_runs": Query(
        what="runs of replays, a row for each contender", sql=figures.REPLAY_RUNS, parameters=figures.BY_REPO
    ),
    "frictions": Query(what="frictions by kind and place", sql=figures.FRICTIONS, parameters=figures.BY_REPO),
}


def prepared(name: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The statement and its parameters, defaults filled in.

    Raises:
        NotFound: there is no question of that name.
        UsageError: a parameter is unknown or of the wrong type.
    """
    query = QUERIES.get(name)
    if query is None:
        raise NotFound(f"there is no question {name!r}", f"known: {', '.join(QUERIES)}")
    for parameter, value in given.items():
        if parameter not in query.parameters:
            known = ", ".join(query.parameters) or "none"
            raise UsageError(f"{name} has no parameter {parameter!r}", f"it takes: {known}")
        wanted = type(query.parameters[parameter])
        if type(value) is not wanted:
            raise UsageError(f"{parameter} of {name} must be of type {wanted.__name__}", f"it is {value!r}")
    return query.sql, {**query.parameters, **given}
