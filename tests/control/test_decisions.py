"""Decisions of router and line: what was asked, who was chosen and why, what came of it, narrowed and page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from appliance.config import Home
from appliance.events import Event, Fact
from appliance.ledger import open_ledger
from control.decisions import came, decision, why
from tests.control.learned import learning, live
from tests.control.world import Console

ROW: dict[str, Any] = {
    "moment": 1, "happened": "2026-11-26 10:00:00", "source": "gateway", "item": "", "repo": "shop", "task": "repair",
    "stage": "", "language": "python", "asked_model": "auto", "prompt_tokens": 900, "severity": 2, "attempt": 1,
    "rule": "small", "candidates": ["a", "b"], "chosen": "a", "suggested": "b", "policy_version": 3, "propensity": 0.05,
    "explored": True, "call": "c", "reasons": None, "tries": None, "title": None, "state": None, "answered_by": "a",
    "status": 200, "error": None, "seconds": 1.25, "completion_tokens": 40,
}  # fmt: skip


def test_the_routers_own_words_are_the_reason_and_else_what_the_choice_tells() -> None:
    assert why({**ROW, "reasons": '["task is repair", "a is cheap"]'}) == ("task is repair", "a is cheap")
    told = "; ".join(why(ROW))
    for words in ("'small' names a, then b", "policy 3", "rather have b", "left to chance", "5%"):
        assert words in told
    assert why({**ROW, "reasons": "not json", "candidates": None}) == ("not json",)


def test_what_came_of_it_is_each_try_or_the_answer_and_nothing_is_not_well() -> None:
    tries = [
        {"n": 1, "strategy": "search", "model": "", "outcome": "none", "seconds": 2.0},
        {"n": 2, "strategy": "droid", "model": "coder", "outcome": "plausible", "seconds": None},
    ]
    assert came({**ROW, "tries": tries}) == (("bad", "search found none in 2.0 s"), ("good", "coder made the change"))
    assert came(ROW) == (("good", "a answered in 1.2 s, 40 tokens"),)
    assert came({**ROW, "status": 503, "error": "away"})[0] == ("bad", "a failed with 503 in 1.2 s: away")
    assert came({**ROW, "status": None}) == (("quiet", "nothing is known of it"),)
    assert decision(ROW).asked == "repair, python; 900 tokens; severity 2; try 1"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    home = Home(tmp_path_factory.mktemp("decisions") / "home")
    for folder in (home.root, *home.folders):
        folder.mkdir()
    ledger = open_ledger(home)
    live(ledger)
    facts = {"rule": "<b>rule</b>", "candidates": ["coder"], "route": ["because it is <i>cheap</i>"], "explored": False,
             "asked": {"language": "python", "severity": 1},
             "attempt 1": {"strategy": "droid", "model": "coder", "outcome": "none", "seconds": 3.0}}  # fmt: skip
    ledger.append(
        Event(kind=Fact.CHANGE_BUILT, subject="W-100",
              payload={"stage": "build", "from": "planned", "to": "needs_human", "reason": "x", "by": "rule",
                       "wall_seconds": 1.0, "facts": facts})
    )  # fmt: skip
    ledger.close()
    made = Console(home)
    with learning(home):
        yield made
    made.ledger.close()


def rows(console: Console, query: str = "") -> list[dict[str, Any]]:
    answer = console.program("GET", f"/api/v1/decisions{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.get_json()["decisions"]
    return found


def test_the_newest_decision_is_told_with_its_reason_and_outcome(filled: Console) -> None:
    newest = rows(filled)[0]
    assert (newest["item"], newest["rule"], newest["chosen"]) == ("W-100", "<b>rule</b>", "coder")
    assert newest["why"] == ["because it is <i>cheap</i>"] and newest["came"] == [["bad", "coder found none in 3.0 s"]]
    page = filled.browser().get("/decisions").text
    assert "&lt;b&gt;rule&lt;/b&gt;" in page and "&lt;i&gt;cheap" in page and "<i>cheap" not in page
    assert 'href="/items/W-100"' in page and "coder found none" in page


def test_the_list_is_narrowed_and_goes_on_without_loss_or_doubles(filled: Console) -> None:
    every = rows(filled, "?limit=1000")
    assert len(every) > 5 and {one["item"] for one in rows(filled, "?item=W-100")} == {"W-100"}
    assert {one["chosen"] for one in rows(filled, "?chosen=search")} == {"search"}
    assert rows(filled, "?source=gateway") == [] and rows(filled, "?rule=none") == []
    assert {one["repo"] for one in rows(filled, "?repo=shop")} <= {"shop"}
    walked: list[dict[str, Any]] = []
    address = "/api/v1/decisions?limit=4"
    while address:
        answer = filled.program("GET", address).get_json()
        walked, address = walked + answer["decisions"], answer["next"]
    assert walked == every
    assert "No decision is like that" in filled.browser().get("/decisions?rule=none").text
    for bad in ("source=x", "days=-1", "before=x", "before=" + "9" * 30):
        assert filled.program("GET", f"/api/v1/decisions?{bad}").status_code == 400


def test_while_the_learning_process_is_away_the_page_is_there_and_says_so(console: Console) -> None:
    page = console.browser().get("/decisions")
    assert page.status_code == 200 and "not there just now" in page.text
    assert console.program("GET", "/api/v1/decisions").status_code == 503
