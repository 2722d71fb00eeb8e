"""What is folded into items and objections is what their whole histories say, put together the slow way."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.events import STAGE_FACTS, Fact
from appliance.learning.queries import prepared
from appliance.learning.store import Store
from appliance.ledger.chain import Recorded

SHIPPED = """
SELECT releases.item, min(releases.happened) AS shipped, bool_or(reverted IS NOT NULL) AS taken_back,
    coalesce((SELECT min(seq) FROM reviews WHERE reviews.item = releases.item
              AND seq > (SELECT min(seq) FROM stage_runs AS runs WHERE runs.item = releases.item))
             > min(releases.seq), true) AS alone,
    (SELECT arg_max(CASE WHEN strategy = 'search' THEN 'search' ELSE model END, seq * 100 + n) FROM attempts
     WHERE attempts.item = releases.item AND outcome = 'plausible') AS maker,
    (SELECT min(signals.happened) FROM signals JOIN items USING (signal) WHERE items.item = releases.item) AS signalled
FROM releases GROUP BY releases.item ORDER BY releases.item
"""

OBJECTIONS = """
WITH told AS (SELECT seq, item, gate,
    (SELECT min(seq) FROM reviews WHERE reviews.item = verdicts.item AND reviews.seq > verdicts.seq) AS said,
    (SELECT arg_min(verb, seq) FROM reviews WHERE reviews.item = verdicts.item AND reviews.seq > verdicts.seq) AS verb,
    (SELECT min(seq) FROM stage_runs AS runs
     WHERE runs.item = verdicts.item AND runs.seq > verdicts.seq AND stage = 'build') AS rebuilt,
    (SELECT arg_max(CASE WHEN strategy = 'search' THEN 'search' ELSE model END, attempts.seq * 100 + n) FROM attempts
     WHERE attempts.item = verdicts.item AND outcome = 'plausible' AND attempts.seq <= verdicts.seq) AS maker
    FROM verdicts WHERE verdict = 'FAIL' AND gate <> 'test')
SELECT told.seq, told.item, gate, items.repo, told.maker,
    CASE WHEN said IS NOT NULL AND (rebuilt IS NULL OR said < rebuilt)
        THEN CASE verb WHEN 'approve' THEN 'overruled' ELSE 'accepted' END
        WHEN rebuilt IS NOT NULL THEN 'acted_on' ELSE 'open' END AS fate
FROM told JOIN items USING (item) ORDER BY told.seq, gate
"""


def history(seed: int, length: int) -> list[Recorded]:
    """Moves of a few items in any order, as no line would make them."""
    dice, events, opened = random.Random(seed), list[Recorded](), list[int]()
    at = datetime(2026, 11, 2, 8, tzinfo=UTC)

    def say(kind: str, subject: str, /, **payload: Any) -> None:
        nonlocal at
        at += timedelta(seconds=dice.randint(0, 90_000))
        events.append(Recorded(seq=len(events) + 1, at=at.isoformat(), kind=kind, subject=subject, payload=payload,
                               prev="", hash=str(len(events) + 1)))  # fmt: skip

    while len(events) < length:
        number = dice.randint(1, 4)
        move = dice.choice(("open", "build", "build", "review", "ship", "monitor", "person", "person"))
        if number not in opened:
            if dice.random() < 0.2:
                say(Fact.COMMAND_GIVEN, f"W-{number}", verb="approve", by="ann")
            repo = dice.choice(("shop", "wms"))
            say(Fact.SIGNAL_RECEIVED, f"S-{number}", repo=repo, title="t", source="cli")
            say(Fact.ITEM_OPENED, f"W-{number}", stage="signal", to="received", facts={"signal": f"S-{number}"})
            opened.append(number)
        elif move == "person":
            verb = dice.choice(("approve", "reject", "retry"))
            say(Fact.COMMAND_GIVEN, f"W-{number}", verb=verb, by="ann")
        elif move != "open":
            to = {"ship": "shipped", "monitor": "rolled_back"}.get(move, "needs_human")
            say(STAGE_FACTS[move], f"W-{number}", stage=move, to=to, by="rule", wall_seconds=dice.randint(0, 9) / 10,
                facts=facts(move, dice))  # fmt: skip
    return events


def facts(stage: str, dice: random.Random) -> dict[str, Any]:
    if stage == "build":
        return {f"attempt {n}": {"strategy": dice.choice(("search", "droid")), "model": dice.choice(("a", "b")),
                                 "outcome": dice.choice(("plausible", "none"))} for n in (1, 2)}  # fmt: skip
    if stage == "review":
        return {gate: {"verdict": dice.choice(("FAIL", "PASS"))} for gate in ("diff-policy", "model-review", "test")}
    return {"revert": "b" * 40} if stage == "monitor" else {"commit": "a" * 40}


@contextmanager
def taken(events: list[Recorded], cut: random.Random) -> Iterator[Store]:
    """A store that took these events over in batches cut at random."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "learning.duckdb", 128)
        done = 0
        while done < len(events):
            done = store.take_over(events[done : done + cut.randint(1, 25)])
        yield store
        store.close()


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), length=st.integers(20, 90))
def test_items_and_objections_say_what_their_histories_say_however_these_were_cut(seed: int, length: int) -> None:
    events = history(seed, length)
    with taken(events, random.Random(seed)) as store, taken(events, random.Random(seed + 1)) as other:
        columns = "item, shipped, taken_back, alone, maker, signalled"
        known = store.ask(f"SELECT {columns} FROM items WHERE shipped IS NOT NULL ORDER BY item", {}, 5)
        assert known == store.ask(SHIPPED, {}, 5)
        columns = "seq, item, gate, repo, maker, fate"
        assert store.ask(f"SELECT {columns} FROM objections ORDER BY seq, gate", {}, 5) == store.ask(OBJECTIONS, {}, 5)
        assert store.digest() == other.digest()
        [counts] = store.ask(*prepared("counts", {}), seconds=5)
        span = store.ask("SELECT min(happened) AS first, max(happened) AS last FROM events", {}, 5)[0]
        assert {name: counts[name] for name in span} == span and counts["events"] == len(events)
