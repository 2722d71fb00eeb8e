"""Where work rubbed: found once, counted over items, filed once, and never about what was filed itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from appliance.config import Home
from appliance.droids.account import Account, Ended
from appliance.events import STAGE_FACTS, Fact
from appliance.learning.frictions import REPEATED, TIMES, UNUSABLE, found
from appliance.learning.rubbing import WATERMARK
from appliance.learning.service import Learning
from appliance.ledger.chain import Recorded
from appliance.line import signal as opening
from appliance.settings import DroidSettings, LearningSettings, Settings
from appliance.work import Kind, Signal, State
from tests.learning.world import Telling, spooled


class Rubbed(Telling):
    """Items that go wrong."""

    def item(self, repo: str = "shop", source: str = "cli") -> str:
        got = self.ledger.receive(Signal(id="", repo=repo, title="it breaks", source=source))
        return self.ledger.open_item(got.id, opening.run(got)).id

    def stage(self, item: str, stage: str, **facts: Any) -> None:
        self.say(STAGE_FACTS[stage], item, stage=stage, to="planned", reason="so", by="rule", facts=facts)

    def unusable(self, item: str) -> None:
        detail = "coder: 3 answers in a row could not be used; the last: no edit"
        self.stage(item, "build", **{"attempt 1": {"strategy": "droid", "model": "coder", "outcome": "none", "tried": 0,
                                                   "detail": detail}})  # fmt: skip

    def history(self, item: str) -> list[Recorded]:
        return self.ledger.history(item)


@pytest.fixture
def rubbed(home: Home) -> Rubbed:
    return Rubbed(home)


@pytest.fixture
def learning(rubbed: Rubbed, home: Home) -> Iterator[Learning]:
    settings = Settings(learning=LearningSettings(friction_count=3, friction_days=7))
    made = Learning(home, settings)
    yield made
    made.close()


def look(learning: Learning) -> list[dict[str, Any]]:
    """Take everything in and look until nothing is new."""
    learning.catch_up()
    while learning.look_for_frictions():
        learning.catch_up()
    rows: list[dict[str, Any]] = learning.answer({"ask": "frictions", "with": {}})["rows"]
    return rows


def kinds(rubbed: Rubbed, item: str, *calls: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(one.kind, one.place): one.times for one in found(rubbed.history(item), calls)}


def test_a_droid_says_why_it_ended_in_the_words_that_are_looked_for() -> None:
    account = Account(DroidSettings())
    with pytest.raises(Ended) as ended:
        for _ in range(9):
            account.repeated("edit", "fails")
    assert REPEATED.search(str(ended.value))
    with pytest.raises(Ended) as ended:
        for _ in range(9):
            account.usable("no edit in it")
    assert UNUSABLE.search(str(ended.value))


def test_each_kind_is_found_with_its_evidence_and_not_before_its_threshold(rubbed: Rubbed) -> None:
    item = rubbed.item()
    for _ in range(TIMES["errors"] - 1):
        rubbed.say(Fact.STAGE_ERRED, item, stage="test", why="no room")
    for _ in range(TIMES["rephrasing"] - 1):
        rubbed.say(Fact.COMMAND_GIVEN, item, verb="answer", by="ann", text="again")
    assert kinds(rubbed, item) == {}
    rubbed.say(Fact.STAGE_ERRED, item, stage="test", why="no room")
    rubbed.say(Fact.COMMAND_GIVEN, item, verb="revise", by="bob", text="no")
    for stage in ("plan", "build", "test", "plan", "build", "test", "plan"):
        rubbed.stage(item, stage)
    rubbed.unusable(item)
    lost = {"strategy": "droid", "model": "m", "outcome": "none", "tried": 0, "detail": "m: 6 tries"}
    rubbed.stage(item, "build", **{"attempt 2": lost, "attempt 3": lost, "attempt 4": {**lost, "tried": 2}})
    long = {"error": "context_length_exceeded", "model": "coder", "at": "2026-11-02T08:00:00+00:00"}
    told = kinds(rubbed, item, {**long, "call": "a"}, {**long, "call": "b"}, {"call": "c", "error": "engine_lost"})
    assert told == {
        ("errors", "stage test"): 3, ("rephrasing", "questions to people"): 3, ("backtracking", "from test to plan"): 2,
        ("format", "build by coder"): 1, ("abandoned", "build by m"): 2, ("context", "prompts of coder"): 2,
    }  # fmt: skip
    [errors] = [one for one in found(rubbed.history(item), []) if one.kind == "errors"]
    assert len(errors.evidence) == 3 and all(where.startswith("event ") for where in errors.evidence)
    assert "ann" not in errors.words


def test_an_item_that_goes_its_way_rubs_nowhere(rubbed: Rubbed) -> None:
    item = rubbed.item()
    for stage in ("triage", "plan", "build", "test", "review", "secure", "ship", "monitor", "learn"):
        rubbed.stage(item, stage)
    assert kinds(rubbed, item) == {}


def test_too_many_of_a_kind_are_filed_once_with_the_items_that_show_it(rubbed: Rubbed, learning: Learning) -> None:
    items = [rubbed.item() for _ in range(4)]
    for item in items[:2]:
        rubbed.unusable(item)
    rubbed.unusable(rubbed.item("wms"))
    look(learning)
    assert not [one for one, _ in rubbed.ledger.signals() if one.source == "learning"]
    for item in (items[2], items[3], items[3]):
        rubbed.unusable(item)
    rows = look(learning)
    [(filed, _)] = [pair for pair in rubbed.ledger.signals() if pair[0].source == "learning"]
    assert (filed.repo, filed.kind) == ("shop", Kind.FINDING) and all(item in filed.body for item in items[:3])
    assert [(row["repo"], row["found"], row["filed"]) for row in rows] == [("shop", 4, [filed.id]), ("wms", 1, None)]
    rubbed.ledger.set_watermark(WATERMARK, 0)
    assert look(learning) == rows, "looking again finds nothing new and files nothing twice"
    assert len(rubbed.ledger.signals()) == 6


def test_what_is_still_open_is_not_filed_again_and_old_frictions_no_longer_count(
    rubbed: Rubbed, learning: Learning
) -> None:
    for _ in range(3):
        rubbed.unusable(rubbed.item())
    look(learning)
    [first] = [one for one, _ in rubbed.ledger.signals() if one.source == "learning"]
    rubbed.ledger.open_item(first.id, opening.run(first))
    rubbed.time += timedelta(days=7)
    for _ in range(3):
        rubbed.unusable(rubbed.item())
    look(learning)
    assert len([one for one, _ in rubbed.ledger.signals() if one.source == "learning"]) == 1
    rubbed.time += timedelta(days=30)
    for _ in range(2):
        rubbed.unusable(rubbed.item())
    look(learning)
    assert len([one for one, _ in rubbed.ledger.signals() if one.source == "learning"]) == 1
    rubbed.unusable(rubbed.item())
    look(learning)
    assert len([one for one, _ in rubbed.ledger.signals() if one.source == "learning"]) == 2


def test_filing_cannot_feed_itself(rubbed: Rubbed, learning: Learning) -> None:
    for _ in range(6):
        rubbed.unusable(rubbed.item(source="learning"))
    rows = look(learning)
    assert rows[0]["found"] == 6 and rows[0]["filed"] is None
    assert len(rubbed.ledger.signals()) == 6


def test_prompts_too_long_are_found_in_the_gateways_calls(rubbed: Rubbed, learning: Learning, home: Home) -> None:
    item = rubbed.item()
    line = {"at": "2026-11-02T08:00:00.000+00:00", "task": "repair", "episode": item, "item": item, "model": "small",
            "error": "context_length_exceeded", "status": 400}  # fmt: skip
    spooled(home, [{**line, "id": f"{number:032x}"} for number in range(2)])
    learning.catch_up()
    rubbed.stage(item, "build")
    [row] = look(learning)
    assert (row["kind"], row["place"], row["items"]) == ("context", "prompts of small", [item])
    assert rubbed.ledger.item(item).state is State.RECEIVED
