"""From items in the ledger to a rule's order in the router, by the commands that a person gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.__main__ import main
from appliance.cli import learn_policy
from appliance.config import Home
from appliance.events import Event, Fact
from appliance.learning.door import Door
from appliance.learning.routing import Verdict
from appliance.learning.service import Learning
from appliance.ledger import open_ledger
from appliance.settings import Settings
from inference import rules
from inference.asked import RouteRequest
from inference.policy import read_policy
from inference.router import decide
from tests.inference.catalogues import stocked_box
from tests.learning.world import calls, spooled

ROUTES = '[[rule]]\nname = "fixes"\ncandidates = ["coder", "coder-32b"]\nlearning = "apply"\nwhen.task = "repair"\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home with 80 ended items, where the big model's changes hold and the small one's seldom do."""
    monkeypatch.setattr(learn_policy, "catalogue", lambda _box: stocked_box())
    home = Home(tmp_path)
    for folder in home.folders:
        folder.mkdir()
    home.settings_file.touch()
    home.routes_file.write_text(ROUTES)
    ledger = open_ledger(home)
    for number in range(80):
        model = ("coder-7b", "coder-32b")[number % 2]
        end(ledger, f"W-{number}", model, held=number % 2 == 1 or number % 10 == 0)
    end(ledger, "W-open", "coder-7b", held=True, state="")
    ledger.close()
    learning = Learning(home, Settings())
    try:
        learning.catch_up()
        with Door(home, learning.answer):
            yield home
    finally:
        learning.close()


def end(ledger: Any, item: str, model: str, *, held: bool, state: str = "closed") -> None:
    """An item whose first try was this model's; where that failed, another try repaired it."""
    tries = [{"strategy": "droid", "model": model, "outcome": "plausible" if held else "none", "seconds": 30.0}]
    tries += [] if held else [{"strategy": "search", "model": "", "outcome": "plausible", "seconds": 5.0}]
    facts: dict[str, Any] = {"rule": "fixes", "candidates": [model, "search"], "propensity": 0.5, "explored": False}
    facts |= {**{f"attempt {n}": one for n, one in enumerate(tries, start=1)}}
    say(ledger, Fact.ITEM_OPENED, item, "signal", "received", {"signal": f"S-{item}"})
    say(ledger, Fact.CHANGE_BUILT, item, "build", "built", facts)
    if state:
        say(ledger, Fact.OUTCOME_LEARNED, item, "learn", state, {})


def say(ledger: Any, fact: Fact, item: str, stage: str, to: str, facts: dict[str, Any]) -> None:
    told = {"stage": stage, "from": "", "to": to, "reason": "", "by": "rule", "wall_seconds": 1.0, "facts": facts}
    ledger.append(Event(kind=fact, subject=item, payload=told))


def run(home: Home, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["--home", str(home.root), "--json", "learn", *words]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def candidates(home: Home) -> tuple[str, ...]:
    ours = rules.parse(ROUTES, stocked_box())
    return decide(RouteRequest(task="repair"), ours, stocked_box(), read_policy(home.policy_file)).candidates


def test_outcomes_become_an_order_a_person_takes_it_into_use_and_back(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    [rule] = run(home, capsys, "report")["rules"]
    small, big = sorted(rule["candidates"], key=lambda one: one["quality"])
    assert (small["candidate"], small["tries"], big["candidate"], big["tries"]) == ("coder-7b", 40, "coder-32b", 40)
    assert candidates(home) == ("coder-7b", "coder-32b")
    assert run(home, capsys, "train")["published"] == 1 and run(home, capsys, "train")["published"] is None
    assert candidates(home) == ("coder-7b", "coder-32b")  # published is not promoted
    run(home, capsys, "promote", "1")
    assert candidates(home) == ("coder-32b", "coder-7b")
    assert run(home, capsys, "rollback", "--why", "I liked it better before")["policy"] == 0
    assert candidates(home) == ("coder-7b", "coder-32b")


def test_the_report_says_it_in_words(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(home.root), "learn", "report"]) == 0
    said = capsys.readouterr().out
    assert "rules decide alone" in said and "better: coder-32b, coder-7b" in said and "40 tries" in said


def test_the_report_tells_what_a_try_takes_in_tokens_seconds_of_models_and_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(learn_policy, "catalogue", lambda _box: stocked_box())
    home = Home(tmp_path)
    for folder in home.folders:
        folder.mkdir()
    home.settings_file.touch()
    home.routes_file.write_text(ROUTES)
    ledger = open_ledger(home)
    took = {"prompt_tokens": 900, "completion_tokens": 100, "model_seconds": 12.0}
    for number in range(12):
        model = ("coder-7b", "coder-32b")[number % 2]
        attempt = {"strategy": "droid", "model": model, "outcome": "plausible", "seconds": 30.0, **took}
        say(ledger, Fact.ITEM_OPENED, f"W-{number}", "signal", "received", {"signal": f"S-{number}"})
        say(ledger, Fact.CHANGE_BUILT, f"W-{number}", "build", "built", {"rule": "fixes", "attempt 1": attempt})
        say(ledger, Fact.OUTCOME_LEARNED, f"W-{number}", "learn", "closed", {})
    waits = [
        {"item": "W-0", "model": "coder-7b", "waited_seconds": 1.5}, {"item": "W-0", "model": "coder-7b"},
        {"item": "W-0", "model": "coder-32b"}, {"item": "W-0", "model": "coder-7b", "task": "review"},
        {"item": "W-0", "model": "coder-7b", "at": "2999-01-01T00:00:00+00:00"},
    ]  # fmt: skip
    given = {"waited_seconds": 0.5, "task": "repair", "at": "2020-01-01T00:00:00+00:00"}
    spooled(home, [one | {**given, **said} for one, said in zip(calls(range(5)), waits, strict=True)])
    ledger.close()
    learning = Learning(home, Settings())
    learning.catch_up()
    with Door(home, learning.answer):
        small, big = run(home, capsys, "report")["rules"][0]["candidates"]
        assert main(["--home", str(home.root), "learn", "report"]) == 0
    learning.close()
    assert (small["tokens"], small["waited_seconds"]) == (1000, 2.0), "the calls of its first try, and no others"
    assert small["model_seconds"] == round((5 * 12 + 10) / 6, 3), "waiting for an engine is no model's time"
    assert (big["model_seconds"], big["waited_seconds"]) == (12.0, None)
    said = capsys.readouterr().out
    assert "30 s (12 s of models), 1,000 tokens, 6 tries" in said and "(11.7 s of models, 2 s waiting)" in said


def test_a_policy_that_choices_left_to_chance_prove_promotes_itself_where_the_site_wants_it(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    home.settings_file.write_text('[learning]\npromote = "auto"\n')
    told = run(home, capsys, "train")
    assert (told["published"], told["promoted"]) == (1, True)
    (rule,) = told["rules"]
    assert rule["offpolicy"]["conclusive"] and rule["offpolicy"]["gain"] > rule["offpolicy"]["unsure"]
    learned = read_policy(home.policy_file)
    assert learned.policy is not None and learned.policy.version == 1
    assert run(home, capsys, "train")["published"] is None, "the same evidence publishes nothing twice"


def test_a_training_killed_before_its_promotion_is_finished_by_the_next_and_what_was_taken_back_stays_back(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, capsys, "train")["promoted"] is False  # all that one killed right after publishing leaves behind
    home.settings_file.write_text('[learning]\npromote = "auto"\n')
    told = run(home, capsys, "train")
    assert (told["published"], told["promoted"], candidates(home)) == (None, True, ("coder-32b", "coder-7b"))
    assert run(home, capsys, "train")["promoted"] is False, "once is enough"
    run(home, capsys, "rollback")
    assert run(home, capsys, "train")["promoted"] is False and candidates(home) == ("coder-7b", "coder-32b")


def test_what_is_inconclusive_promotes_nothing_by_itself() -> None:
    lucky = Verdict(
        rule="r", before=("a", "b"), order=("b", "a"), gain=1, needed=0, changes=True, why="", candidates=()
    )
    assert not learn_policy.proved([lucky]) and not learn_policy.proved([])
