"""How far the box works alone, and how good its reviews are: the statements behind `appliance learn figures`.

An item counts as shipped alone when no person said anything of it before its release: approved, answered, revised,
retried. An objection is a gate's FAIL. It is accepted when the next thing a person says of the item agrees (reject,
cancel, revise, answer, retry), overruled when that is an approval, and acted on when the box built anew by itself.
"""

from __future__ import annotations

from typing import Any

GROUP = """CASE $by WHEN 'model' THEN coalesce(maker.model, 'unknown')
 WHEN 'week' THEN strftime({at}, '%G-W%V') WHEN 'gate' THEN {gate} ELSE coalesce(items.repo, 'unknown') END"""

MAKER = """maker AS (SELECT item, arg_max(CASE WHEN strategy = 'search' THEN 'search' ELSE model END, seq) AS model
 FROM attempts WHERE $by = 'model' AND outcome = 'plausible' GROUP BY item)"""
"""Who made an item's change: search, or a model. Looked for only when asked for: it is as long as the history."""

ASKED = "($repo = '' OR items.repo = $repo) AND ($days = 0 OR {at} > (now() AT TIME ZONE 'UTC') - to_days($days))"

AUTONOMY = f"""WITH {MAKER},
 shipped AS (SELECT item, min(happened) AS at, min(seq) AS seq, bool_or(reverted IS NOT NULL) AS reverted
  FROM releases GROUP BY item),
 told AS (SELECT {GROUP.format(at="shipped.at", gate="''")} AS "group", shipped.reverted,
  epoch(shipped.at) - epoch(coalesce(signals.happened, items.opened)) AS seconds,
  coalesce(hands.first > shipped.seq, true) AS alone
  FROM shipped JOIN items USING (item) LEFT JOIN maker USING (item) LEFT JOIN signals ON signals.signal = items.signal
  LEFT JOIN (SELECT item, min(seq) AS first FROM reviews GROUP BY item) AS hands ON hands.item = shipped.item
  WHERE {ASKED.format(at="shipped.at")})
 SELECT "group", count(*) AS shipped, count(*) FILTER (alone) AS alone, count(*) FILTER (reverted) AS reverted,
 round(median(seconds), 1) AS median_seconds, round(quantile_cont(seconds, 0.9), 1) AS p90_seconds
 FROM told GROUP BY "group" ORDER BY "group" """  # noqa: S608 - put together from this file alone

PRECISION = f"""WITH {MAKER},
 objections AS (SELECT item, gate, seq, happened FROM verdicts WHERE verdict = 'FAIL' AND gate <> 'test'),
 answered AS (SELECT objections.*, (SELECT arg_min(verb, seq) FROM reviews
   WHERE reviews.item = objections.item AND reviews.seq > objections.seq) AS verb,
  (SELECT min(seq) FROM reviews WHERE reviews.item = objections.item AND reviews.seq > objections.seq) AS said,
  (SELECT min(seq) FROM stage_runs AS runs
   WHERE runs.item = objections.item AND runs.seq > objections.seq AND runs.stage = 'build') AS rebuilt
  FROM objections),
 told AS (SELECT {GROUP.format(at="answered.happened", gate="answered.gate")} AS "group",
  CASE WHEN said IS NOT NULL AND (rebuilt IS NULL OR said < rebuilt)
   THEN CASE WHEN verb = 'approve' THEN 'overruled' ELSE 'accepted' END
   WHEN rebuilt IS NOT NULL THEN 'acted_on' ELSE 'open' END AS fate
  FROM answered LEFT JOIN items USING (item) LEFT JOIN maker USING (item)
  WHERE {ASKED.format(at="answered.happened")})
 SELECT "group", count(*) AS objections, count(*) FILTER (fate = 'accepted') AS accepted,
 count(*) FILTER (fate = 'overruled') AS overruled, count(*) FILTER (fate = 'acted_on') AS acted_on,
 count(*) FILTER (fate = 'open') AS undecided
 FROM told GROUP BY "group" ORDER BY "group" """  # noqa: S608 - as above

REPLAYS = """WITH told AS (SELECT happened, seq, json_transform(payload, '{"repo": "VARCHAR", "run": "BIGINT",
  "task": "VARCHAR", "kind": "VARCHAR", "contender": "VARCHAR", "model": "VARCHAR", "outcome": "VARCHAR",
  "first": "BOOLEAN", "selected": "BOOLEAN", "wrong": "BOOLEAN", "prompt_tokens": "BIGINT",
  "completion_tokens": "BIGINT", "seconds": "DOUBLE"}') AS said FROM events WHERE kind = 'ReplayRan')
 SELECT happened, said.repo, said.run, said.task, said.kind, said.contender, said.model, said.outcome, said.first,
 said.selected, said.wrong, said.prompt_tokens + said.completion_tokens AS tokens, said.seconds
 FROM told WHERE ($repo = '' OR said.repo = $repo)
 AND ($days = 0 OR happened > (now() AT TIME ZONE 'UTC') - to_days($days)) ORDER BY seq"""

FRICTIONS = """WITH told AS (SELECT happened, seq, subject, json_transform(payload, '{"repo": "VARCHAR",
  "kind": "VARCHAR", "place": "VARCHAR", "words": "VARCHAR"}') AS said FROM events WHERE kind = 'FrictionFound')
 SELECT said.repo, said.kind, said.place, count(*) AS found, min(happened) AS first, max(happened) AS last,
 list(subject ORDER BY seq)[-5:] AS items, arg_max(said.words, seq) AS latest,
 (SELECT list(signal ORDER BY seq) FROM signals WHERE source = 'learning' AND signals.repo = said.repo
  AND starts_with(key, 'friction:' || said.kind || ':' || said.place || ':')) AS filed
 FROM told WHERE ($repo = '' OR said.repo = $repo)
 AND ($days = 0 OR happened > (now() AT TIME ZONE 'UTC') - to_days($days))
 GROUP BY ALL ORDER BY found DESC, said.repo, said.kind, said.place"""

BY_REPO: dict[str, Any] = {"repo": "", "days": 0}
GROUPED: dict[str, Any] = {"by": "repo", **BY_REPO}
