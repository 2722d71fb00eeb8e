"""How far the box works alone, from a ledger whose answers are known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from appliance.cli.learn_figures import in_words
from appliance.config import Home
from appliance.events import STAGE_FACTS, Fact
from appliance.learning.service import Learning
from appliance.settings import Settings
from tests.learning.world import Telling, calls, spooled


class Told(Telling):
    """Tells what the stages of items say."""

    def stage(self, item: str, stage: str, to: str, **facts: Any) -> None:
        self.say(STAGE_FACTS[stage], item, stage=stage, to=to, reason="so", by="rule", facts=facts, wall_seconds=1.0)

    def person(self, item: str, verb: str) -> None:
        self.say(Fact.COMMAND_GIVEN, item, number=1, verb=verb, by="ann", text="")

    def item(self, number: int, repo: str, model: str, seconds: float, *, hand: str = "", revert: bool = False) -> None:
        """One item from its signal to its release."""
        id = f"W-{number}"
        self.say(Fact.SIGNAL_RECEIVED, f"S-{number}", repo=repo, title="t", source="cli")
        self.say(Fact.ITEM_OPENED, id, stage="signal", to="received", facts={"signal": f"S-{number}"})
        strategy = "search" if model == "search" else "droid"
        attempt = {"strategy": strategy, "model": "" if model == "search" else model, "outcome": "plausible"}
        self.stage(id, "build", "built", **{"attempt 1": attempt})
        if hand:
            self.person(id, hand)
        self.time += timedelta(seconds=seconds)
        self.stage(id, "ship", "shipped", commit="a" * 40)
        if revert:
            self.stage(id, "monitor", "rolled_back", revert="b" * 40)


@pytest.fixture
def told(home: Home) -> Told:
    return Told(home)


@pytest.fixture
def learning(told: Told, home: Home) -> Iterator[Learning]:
    made = Learning(home, Settings())
    yield made
    made.close()


def ask(learning: Learning, name: str, **given: Any) -> list[dict[str, Any]]:
    learning.catch_up()
    rows: list[dict[str, Any]] = learning.answer({"ask": name, "with": given})["rows"]
    return rows


def test_what_was_shipped_alone_is_told_by_repository_model_and_week(told: Told, learning: Learning) -> None:
    told.item(1, "shop", "search", 100)
    told.item(2, "shop", "coder-7b", 300, hand="approve")
    told.time += timedelta(days=7)
    told.item(3, "shop", "coder-7b", 200, revert=True)
    told.item(4, "wms", "search", 50)
    told.person("W-4", "reject")
    shop, wms = ask(learning, "autonomy")
    assert (shop["group"], shop["shipped"], shop["alone"], shop["reverted"]) == ("shop", 3, 2, 1)
    assert shop["median_seconds"] == 200.0
    assert (wms["shipped"], wms["alone"], wms["reverted"]) == (1, 1, 0)
    assert {row["group"]: row["shipped"] for row in ask(learning, "autonomy", by="model")} == {
        "coder-7b": 2,
        "search": 2,
    }
    assert [row["group"] for row in ask(learning, "autonomy", by="week")] == ["2026-W45", "2026-W46"]
    assert [row["shipped"] for row in ask(learning, "autonomy", repo="wms")] == [1]
    words = in_words({"autonomy": [shop], "review_precision": [], "costs": []})
    assert words[0] == "shop: 3 shipped; median 3 min from signal to ship, nine of ten in 5 min"
    assert words[1] == "  without a person: 2 of 3 (too few to say a share)"
    many = in_words({"autonomy": [{**shop, "shipped": 40, "alone": 30}], "review_precision": [], "costs": []})
    assert many[1] == "  without a person: 30 of 40, 75 % (95 % sure: 60 to 86 %)"
    assert in_words({"autonomy": [], "review_precision": [], "costs": []}) == ["nothing was shipped yet"]


def test_an_objection_counts_by_what_people_made_of_it(told: Told, learning: Learning) -> None:
    for number, verb in enumerate(["approve", "reject", "revise", "", "build"], start=1):
        item = f"W-{number}"
        told.say(Fact.SIGNAL_RECEIVED, f"S-{number}", repo="shop", title="t", source="cli")
        told.say(Fact.ITEM_OPENED, item, stage="signal", to="received", facts={"signal": f"S-{number}"})
        told.stage(item, "review", "needs_human", **{"model-review": {"verdict": "FAIL", "reason": "it deletes"}})
        if verb == "build":
            told.stage(item, "build", "built")
            told.person(item, "approve")
        elif verb:
            told.person(item, verb)
    [row] = ask(learning, "review_precision", by="gate")
    assert row == {
        "group": "model-review", "objections": 5, "accepted": 2, "overruled": 1, "acted_on": 1, "undecided": 1,
    }  # fmt: skip
    assert "accepted 2 of 3 (too few" in in_words({"autonomy": [], "review_precision": [row], "costs": []})[1]


def test_replayed_results_are_a_question_too(told: Told, learning: Learning) -> None:
    told.say(Fact.REPLAY_RAN, "replay:shop", repo="shop", run=1, task="M-1", kind="slip", contender="new", model="new",
             outcome="plausible", first=True, selected=True, wrong=False, prompt_tokens=10, completion_tokens=5,
             seconds=1.5)  # fmt: skip
    [row] = ask(learning, "replays", repo="shop")
    assert (row["task"], row["contender"], row["selected"], row["tokens"], row["seconds"]) == (
        "M-1",
        "new",
        True,
        15,
        1.5,
    )
    assert ask(learning, "replays", repo="wms") == []


def test_attempts_are_counted_in_tokens_and_seconds_of_models_by_repository_model_rule_and_week(
    told: Told, learning: Learning
) -> None:
    took = {"prompt_tokens": 900, "completion_tokens": 100, "model_seconds": 12.5, "seconds": 30.0}
    for number, (repo, model) in enumerate((("shop", "m7"), ("shop", "m32"), ("wms", "m7")), start=1):
        told.say(Fact.SIGNAL_RECEIVED, f"S-{number}", repo=repo, title="t", source="cli")
        told.say(Fact.ITEM_OPENED, f"W-{number}", stage="signal", to="received", facts={"signal": f"S-{number}"})
        tries = {"attempt 1": {"strategy": "search", "model": "", "outcome": "none", "seconds": 5.0, "tried": 9},
                 "attempt 2": {"strategy": "droid", "model": model, "outcome": "plausible", **took}}  # fmt: skip
        told.stage(f"W-{number}", "build", "built", rule=f"for {repo}", **tries)
        told.time += timedelta(days=7)
    by_repo = {row["group"]: row for row in ask(learning, "costs")}
    assert (by_repo["shop"]["attempts"], by_repo["shop"]["tokens"], by_repo["shop"]["model_seconds"]) == (4, 2000, 25.0)
    assert by_repo["shop"]["seconds"] == 70.0 and by_repo["wms"]["tokens"] == 1000
    by_model = {row["group"]: (row["attempts"], row["tokens"]) for row in ask(learning, "costs", by="model")}
    assert by_model == {"search": (3, 0), "m7": (2, 2000), "m32": (1, 1000)}
    assert {row["group"] for row in ask(learning, "costs", by="rule")} == {"for shop", "for wms"}
    weeks = ask(learning, "costs", by="week", repo="shop")
    assert [(row["group"], row["tokens"]) for row in weeks] == [("2026-W45", 1000), ("2026-W46", 1000)]
    data = {"autonomy": [], "review_precision": [], "costs": ask(learning, "costs", by="all")}
    assert in_words(data)[-1].startswith("all: 6 attempts at repairs took 3,000 tokens, 38 s of models")


def test_an_item_costs_what_its_calls_took_and_lessons_are_held_against_items_without(
    told: Told, learning: Learning, home: Home
) -> None:
    lines = [one | {"item": "W-1", "model": "m7", "task": "repair", "seconds": 2.0} for one in calls(range(3))]
    spooled(home, [*lines, *calls(range(50, 60))])
    told.item(1, "shop", "m7", 100)
    told.item(2, "shop", "m7", 100)
    for item in ("W-1", "W-2"):
        told.stage(item, "learn", "closed")
    lesson = {"from": "", "to": "confirmed", "by": "ada", "lesson": {"text": "mind the gap", "scope": {}}}
    told.say(Fact.LESSON_CONFIRMED, "L-1", **lesson)
    told.say(Fact.LESSON_USED, "L-1", item="W-1", stage="build", role="builder", rank=1, score=1.0, how="path", round=1)
    [row] = ask(learning, "item_costs", item="W-1")
    assert (row["calls"], row["model_seconds"], row["waited_seconds"]) == (3, 5.25, 0.75)
    assert row["prompt_tokens"] == sum(one["prompt_tokens"] for one in lines)
    assert ask(learning, "item_costs") == [], "calls of no item are those of nobody"
    assert ask(learning, "lessons_used") == [
        {"lessons": 1, "confirmed": 1, "items_with": 1, "held_with": 1, "items_without": 1, "held_without": 1}
    ]
