"""How far the box works alone, and how good its reviews are: the statements behind `appliance learn figures`.

An item counts as shipped alone when no person said anything of it before its release: approved, answered, revised,
retried. An objection is a gate's FAIL. It is accepted when the next thing a person says of the item agrees (reject,
cancel, revise, answer, retry), overruled when that is an approval, and acted on when the box built anew by itself.
"""

from __future__ import annotations

from typing import Any

GROUP = """CASE $by WHEN 'all' THEN 'all' WHEN 'model' THEN coalesce(maker, 'unknown')
 WHEN 'week' THEN date_trunc('week', {at})::VARCHAR WHEN 'gate' THEN {gate} ELSE coalesce(repo, 'unknown') END"""
"""A week by its Monday at first: to write its number for every row takes longer than all the rest."""

NAMED = """CASE $by WHEN 'week' THEN strftime("group"::DATE, '%G-W%V') ELSE "group" END"""

ASKED = "($repo = '' OR repo = $repo) AND ($days = 0 OR {at} > (now() AT TIME ZONE 'UTC') - to_days($days))"

AUTONOMY = f"""WITH told AS (SELECT {GROUP.format(at="shipped", gate="''")} AS "group", taken_back, alone,
  epoch(shipped) - epoch(coalesce(signalled, opened)) AS seconds
  FROM items WHERE shipped IS NOT NULL AND {ASKED.format(at="shipped")}),
 summed AS (SELECT "group", count(*) AS shipped, count(*) FILTER (alone) AS alone,
  count(*) FILTER (taken_back) AS reverted, quantile_cont(seconds, [0.5, 0.9]) AS took FROM told GROUP BY "group")
 SELECT {NAMED} AS "group", shipped, alone, reverted, round(took[1], 1) AS median_seconds,
 round(took[2], 1) AS p90_seconds FROM summed ORDER BY 1"""  # noqa: S608 - put together from this file alone

PRECISION = f"""WITH told AS (SELECT {GROUP.format(at="happened", gate="gate")} AS "group", fate
  FROM objections WHERE {ASKED.format(at="happened")}),
 summed AS (SELECT "group", count(*) AS objections, count(*) FILTER (fate = 'accepted') AS accepted,
  count(*) FILTER (fate = 'overruled') AS overruled, count(*) FILTER (fate = 'acted_on') AS acted_on,
  count(*) FILTER (fate = 'open') AS undecided FROM told GROUP BY "group")
 SELECT {NAMED} AS "group", objections, accepted, overruled, acted_on, undecided
 FROM summed ORDER BY 1"""  # noqa: S608 - as above

COSTS = """WITH told AS (SELECT CASE $by WHEN 'all' THEN 'all' WHEN 'model' THEN model WHEN 'rule' THEN rule
  WHEN 'week' THEN strftime(day, '%G-W%V') ELSE repo END AS "group", * FROM attempt_days
  WHERE ($repo = '' OR repo = $repo) AND ($days = 0 OR day > (now() AT TIME ZONE 'UTC')::DATE - $days))
 SELECT coalesce(nullif("group", ''), 'unknown') AS "group", sum(attempts)::BIGINT AS attempts,
 sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(completion_tokens)::BIGINT AS completion_tokens,
 sum(prompt_tokens + completion_tokens)::BIGINT AS tokens, round(sum(model_milliseconds) / 1000, 1) AS model_seconds,
 round(sum(milliseconds) / 1000, 1) AS seconds FROM told GROUP BY 1 ORDER BY 1"""
"""Of attempts at repairs; what other calls took, and how long calls waited, tells the question `calls`."""

ITEM_COSTS = """SELECT task, stage, model, count(*) AS calls, count(*) FILTER (coalesce(status, 0) <> 200) AS failed,
 sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(completion_tokens)::BIGINT AS completion_tokens,
 round(sum(seconds) - sum(coalesce(waited_seconds, 0)), 3) AS model_seconds,
 round(sum(waited_seconds), 3) AS waited_seconds
 FROM model_calls WHERE item = $item AND item <> '' GROUP BY task, stage, model ORDER BY min(happened), task, model"""

LESSONS = """WITH now AS (SELECT lesson, arg_max(state, seq) AS state FROM lessons GROUP BY lesson),
 used AS (SELECT DISTINCT item FROM lesson_uses),
 ended AS (SELECT item, state = 'closed' AND NOT taken_back AS held, item IN (SELECT item FROM used) AS used
  FROM items WHERE state IN ('closed', 'failed', 'rejected', 'rolled_back') AND ($repo = '' OR repo = $repo))
 SELECT (SELECT count(*) FROM now) AS lessons, (SELECT count(*) FROM now WHERE state = 'confirmed') AS confirmed,
 count(*) FILTER (used) AS items_with, count(*) FILTER (used AND held) AS held_with,
 count(*) FILTER (NOT used) AS items_without, count(*) FILTER (NOT used AND held) AS held_without FROM ended"""

POLICY_WEEKS = """SELECT date_trunc('week', happened)::DATE::VARCHAR AS week, rule, language, repo,
  policy_version AS version, chosen, count(*) AS choices, count(*) FILTER (explored) AS explored
 FROM decisions WHERE source = 'line' AND policy_version IS NOT NULL AND ($repo = '' OR repo = $repo)
 AND ($days = 0 OR happened > (now() AT TIME ZONE 'UTC') - to_days($days)) GROUP BY ALL ORDER BY ALL"""

REPLAYS = """WITH told AS (SELECT happened, seq, json_transform(payload, '{"repo": "VARCHAR", "run": "BIGINT",
  "task": "VARCHAR", "kind": "VARCHAR", "contender": "VARCHAR", "model": "VARCHAR", "outcome": "VARCHAR",
  "first": "BOOLEAN", "selected": "BOOLEAN", "wrong": "BOOLEAN", "prompt_tokens": "BIGINT",
  "completion_tokens": "BIGINT", "seconds": "DOUBLE"}') AS said FROM events WHERE kind = 'ReplayRan')
 SELECT happened, said.repo, said.run, said.task, said.kind, said.contender, said.model, said.outcome, said.first,
 said.selected, said.wrong, said.prompt_tokens + said.completion_tokens AS tokens, said.seconds
 FROM told WHERE ($repo = '' OR said.repo = $repo)
 AND ($days = 0 OR happened > (now() AT TIME ZONE 'UTC') - to_days($days)) ORDER BY seq"""

REPLAY_RUNS = """WITH told AS (SELECT happened, kind, subject, json_transform(payload, '{"run": "BIGINT",
  "contenders": ["VARCHAR"], "tasks": ["VARCHAR"], "why": "VARCHAR", "contender": "VARCHAR", "model": "VARCHAR",
  "outcome": "VARCHAR", "first": "BOOLEAN", "selected": "BOOLEAN", "wrong": "BOOLEAN", "tried": "BIGINT",
  "prompt_tokens": "BIGINT", "completion_tokens": "BIGINT", "model_seconds": "DOUBLE", "seconds": "DOUBLE",
  "words": "VARCHAR"}') AS said FROM events WHERE kind IN ('ReplayStarted', 'ReplayRan', 'ReplayEnded')),
 begun AS (SELECT substr(subject, 8) AS repo, subject, said.run AS run, happened AS begun, len(said.tasks) AS planned,
  coalesce(said.why, '') AS why, unnest(said.contenders) AS contender FROM told WHERE kind = 'ReplayStarted'),
 ended AS (SELECT subject, said.run AS run, any_value(said.words) AS words FROM told WHERE kind = 'ReplayEnded'
  GROUP BY ALL),
 tried AS (SELECT subject, said.run AS run, said.contender AS contender, max(happened) AS latest, count(*) AS tasks,
  list_sort(list(DISTINCT said.model) FILTER (said.model <> '')) AS models, count(*) FILTER (said.first) AS "first",
  count(*) FILTER (said.selected) AS selected, count(*) FILTER (said.wrong) AS wrong,
  count(*) FILTER (said.selected OR said.wrong) AS accepted, count(*) FILTER (said.outcome = 'ambiguous') AS asked,
  count(*) FILTER (said.outcome = 'error') AS errors, sum(said.tried)::BIGINT AS candidates,
  sum(said.prompt_tokens + said.completion_tokens)::BIGINT AS tokens,
  round(sum(said.model_seconds), 2) AS model_seconds, round(sum(said.seconds), 2) AS seconds
  FROM told WHERE kind = 'ReplayRan' GROUP BY ALL)
 SELECT repo, run, begun, ended.run IS NOT NULL AS ended, coalesce(words, '') AS words, why, planned, contender,
 latest, coalesce(models, []) AS models, coalesce(tasks, 0) AS tasks, coalesce("first", 0) AS "first",
 coalesce(selected, 0) AS selected, coalesce(wrong, 0) AS wrong, coalesce(accepted, 0) AS accepted,
 coalesce(asked, 0) AS asked, coalesce(errors, 0) AS errors, coalesce(candidates, 0) AS candidates,
 coalesce(tokens, 0) AS tokens, coalesce(model_seconds, 0) AS model_seconds, coalesce(seconds, 0) AS seconds
 FROM begun LEFT JOIN tried USING (subject, run, contender) LEFT JOIN ended USING (subject, run)
 WHERE ($repo = '' OR repo = $repo) AND ($days = 0 OR begun > (now() AT TIME ZONE 'UTC') - to_days($days))
 ORDER BY begun DESC, repo, contender"""
"""One row for each contender of a run. `accepted` is what it would have shipped, `wrong` the part of it that is."""

FRICTIONS = """WITH told AS (SELECT happened, seq, subject, json_transform(payload, '{"repo": "VARCHAR",
  "kind": "VARCHAR", "place": "VARCHAR", "words": "VARCHAR", "evidence": ["VARCHAR"]}') AS said
  FROM events WHERE kind = 'FrictionFound')
 SELECT said.repo, said.kind, said.place, count(*) AS found, min(happened) AS first, max(happened) AS last,
 list(subject ORDER BY seq)[-5:] AS items, arg_max(said.words, seq) AS latest,
 arg_max(said.evidence, seq) AS evidence,
 (SELECT list(signal ORDER BY seq) FROM signals WHERE source = 'learning' AND signals.repo = said.repo
  AND starts_with(key, 'friction:' || said.kind || ':' || said.place || ':')) AS filed
 FROM told WHERE ($repo = '' OR said.repo = $repo)
 AND ($days = 0 OR happened > (now() AT TIME ZONE 'UTC') - to_days($days))
 GROUP BY ALL ORDER BY found DESC, said.repo, said.kind, said.place"""

BY_REPO: dict[str, Any] = {"repo": "", "days": 0}
GROUPED: dict[str, Any] = {"by": "repo", **BY_REPO}
