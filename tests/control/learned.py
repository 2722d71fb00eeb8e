"""A console whose learning process is there: a ledger with a history, the real store behind its socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from appliance.config import Home
from appliance.events import Event, Fact
from appliance.learning.door import Door
from appliance.learning.policies import Policies
from appliance.learning.service import Learning
from appliance.ledger import Ledger
from appliance.settings import Settings
from tests.learning.world import tell, with_repositories

EVALUATION: dict[str, Any] = {
    "rule": "code repair", "repo": "", "before": ["large", "small"], "order": ["small", "large"], "gain": 0.21,
    "needed": 0.08, "changes": True, "why": "better by 0.210, 0.080 were needed",
    "offpolicy": {"tries": 40, "effective_new": 14.0, "effective_old": 22.0, "gain": 0.182, "unsure": 0.06,
                  "conclusive": True, "why": "+0.182 ± 0.060 over 40 choices that were left to chance"},
    "candidates": [
        {"candidate": "small", "tries": 40, "quality": 0.93, "unsure": 0.04, "seconds": 2.5, "tokens": 400,
         "model_seconds": 1.5, "waited_seconds": 0.2, "worth": 0.9},
        {"candidate": "large", "tries": 38, "quality": 0.95, "unsure": 0.03, "seconds": 21.0, "tokens": 5400,
         "model_seconds": 18.0, "waited_seconds": None, "worth": 0.7},
    ],
}  # fmt: skip


@contextmanager
def learning(home: Home) -> Iterator[Learning]:
    """The store, caught up with the ledger, answering at its socket."""
    made = Learning(home, Settings())
    try:
        made.catch_up()
        with Door(home, made.answer):
            yield made
    finally:
        made.close()


def live(ledger: Ledger, words: str = "") -> None:
    """Items, frictions, a replay with two contenders; `words` go wherever a name or text comes from outside."""
    with_repositories(ledger)
    tell(ledger, range(100, 130))

    def append(fact: Fact, subject: str, /, **payload: Any) -> None:
        ledger.append(Event(kind=fact, subject=subject, payload=payload))

    repo = words or "shop"
    for number in (100, 101, 102):
        append(Fact.FRICTION_FOUND, f"W-{number}", repo=repo, own=False, kind="errors", place=f"stage build {words}",
               times=3, evidence=["event 12", f"event 15 {words}", "event 16, attempt 1, trajectory-ab12.json step 7"],
               at="2026-11-26T10:00:00.000+00:00",
               words=f"a stage failed and was tried again: 3 times, stage build {words}")  # fmt: skip
    contenders = [f"coder {words}".strip(), "search"]
    append(Fact.REPLAY_STARTED, f"replay:{repo}", run=1, contenders=contenders, tasks=[f"M-{n}" for n in range(12)])
    for n in range(12):
        for contender in contenders:
            right = n % 6 > 0 if contender == "search" else n % 3 > 0
            append(Fact.REPLAY_RAN, f"replay:{repo}", repo=repo, run=1, task=f"M-{n}", kind="slip", contender=contender,
                   model="" if contender == "search" else f"{contender}:ab12", outcome="plausible", first=right,
                   selected=right, wrong=n == 0, held=4, tried=20 + n, prompt_tokens=900, completion_tokens=80,
                   model_seconds=1.5, seconds=12.5)  # fmt: skip
    append(Fact.REPLAY_ENDED, f"replay:{repo}", run=1, words=f"no difference can be shown {words}")


def publish(home: Home, ledger: Ledger, words: str = "") -> Policies:
    """Two versions; the first is in use."""
    policies = Policies(home, ledger)
    rule = f"code repair {words}".strip()
    preference = {"rule": rule, "task": "repair", "repo": "", "order": ["small", "large"], "evidence": 78}
    for _ in range(2):
        policies.publish([preference], [{**EVALUATION, "rule": rule}], datetime.now(UTC))
    policies.promote(1, f"ada {words}".strip())
    return policies
