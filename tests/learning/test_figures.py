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
from tests.learning.world import Telling


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
    words = in_words({"autonomy": [shop], "review_precision": []})
    assert words[0] == "shop: 3 shipped; median 3 min from signal to ship, nine of ten in 5 min"
    assert words[1] == "  without a person: 2 of 3 (too few to say a share)"
    many = in_words({"autonomy": [{**shop, "shipped": 40, "alone": 30}], "review_precision": []})
    assert many[1] == "  without a person: 30 of 40, 75 % (95 % sure: 60 to 86 %)"
    assert in_words({"autonomy": [], "review_precision": []}) == ["nothing was shipped yet"]


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
    assert "accepted 2 of 3 (too few" in in_words({"autonomy": [], "review_precision": [row]})[1]


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
