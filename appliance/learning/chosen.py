"""The router's and the line's decisions with what came of them, as one question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARAMETERS: Mapping[str, Any] = {
    "repo": "", "item": "", "rule": "", "chosen": "", "source": "", "days": 0, "before": 0, "most": 100,
}  # fmt: skip
"""`before`: microseconds since 1970, 0 for now. `most` rows; those of one moment come together, even if more."""

WANTED = """SELECT * FROM decisions WHERE
 ($repo = '' OR repo = $repo OR item IN (SELECT item FROM items WHERE repo = $repo AND item <> ''))
 AND ($item = '' OR item = $item)
 AND ($rule = '' OR rule = $rule) AND ($chosen = '' OR chosen = $chosen) AND ($source = '' OR source = $source)
 AND ($days = 0 OR happened > (now() AT TIME ZONE 'UTC') - to_days($days))
 AND ($before = 0 OR happened < make_timestamp($before))"""

DECISIONS = f"""WITH wanted AS ({WANTED}),
 shown AS (SELECT * FROM wanted WHERE happened >=
  (SELECT min(happened) FROM (SELECT happened FROM wanted ORDER BY happened DESC LIMIT $most))),
 tries AS (SELECT seq, list({{'n': n, 'strategy': strategy, 'model': model, 'outcome': outcome, 'tried': tried,
   'seconds': wall_seconds}} ORDER BY n) AS tries FROM attempts WHERE seq IN (SELECT seq FROM shown) GROUP BY seq),
 told AS (SELECT seq, payload->'$.facts.route' AS reasons, payload->>'$.to' AS state_after
  FROM events WHERE seq IN (SELECT seq FROM shown WHERE source = 'line'))
 SELECT epoch_us(shown.happened) AS moment, shown.happened, shown.source,
  shown.item, coalesce(nullif(shown.repo, ''), items.repo, '') AS repo, shown.task,
  shown.stage, shown.language, shown.asked_model, shown.prompt_tokens, shown.severity, shown.attempt, shown.rule,
  shown.candidates, shown.chosen, shown.suggested, shown.policy_version, shown.propensity, shown.explored,
  shown.call, reasons, tries, items.title, items.state, model_calls.model AS answered_by, model_calls.status,
  model_calls.error, model_calls.seconds, model_calls.completion_tokens
 FROM shown LEFT JOIN tries USING (seq) LEFT JOIN told USING (seq)
 LEFT JOIN items ON items.item = shown.item AND shown.item <> ''
 LEFT JOIN model_calls ON model_calls.call = shown.call AND shown.call <> ''
 ORDER BY shown.happened DESC, shown.seq DESC"""  # noqa: S608 - our own words
