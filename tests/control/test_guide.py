"""The first-run guide: each step knows from what is there whether it is done; it can be skipped and put away."""

from __future__ import annotations

import pytest

from appliance.events import Fact
from appliance.user import Role
from appliance.work import Signal, TrackedRepository
from control import guide as steps
from control.guide import NAMES, SAMPLE, judged
from tests.control.test_accounts import csrf, enter, person
from tests.control.world import Console


def states(console: Console) -> dict[str, str]:
    return {one["name"]: one["state"] for one in console.program("GET", "/api/v1/guide").get_json()["steps"]}


def test_a_new_box_has_every_step_before_it_and_says_so_on_the_floor(console: Console) -> None:
    assert set(states(console).values()) == {"open"}
    page = console.browser().get("/").text
    assert "First steps: 0 of 5" in page and 'href="/access"' in page


def test_steps_are_done_by_what_is_there_and_the_sample_does_not_count(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (SAMPLE, "shop"):
        console.ledger.add_repository(TrackedRepository(name=name, url="file:///x", branch="main"))
        assert states(console)["repository"] == ("done" if name == "shop" else "open")
        console.ledger.receive(Signal(id="", repo=name, title="t", source="cli"))
        assert states(console)["signal"] == ("done" if name == "shop" else "open")
    person(console, "ada", Role.OPERATOR)
    assert states(console)["administrator"] == "open"
    person(console, "root", Role.ADMINISTRATOR)
    rows = [{"tasks": ["embed"]}]
    monkeypatch.setattr(steps.EnginesClient, "models", lambda _: {"models": rows})
    assert states(console)["model"] == "open", "one that only makes vectors writes nothing"
    rows.append({"tasks": ["repair"]})
    assert {name for name, state in states(console).items() if state == "done"} == set(NAMES) - {"certificate"}


def test_a_step_can_be_skipped_the_guide_put_away_and_both_come_back(console: Console) -> None:
    root = enter(console, person(console, "root", Role.ADMINISTRATOR).name)
    sent = {"csrf": csrf(root)}
    root.post("/guide", data=sent | {"step": "model", "mark": "skipped"})
    assert states(console)["model"] == "skipped" and "First steps: 2 of 5" in root.get("/").text
    root.post("/guide", data=sent | {"step": "model", "mark": "back"})
    assert states(console)["model"] == "open"
    root.post("/guide", data=sent | {"step": "all", "mark": "away"})
    assert "First steps" not in root.get("/").text and "was put away" in root.get("/guide").text
    console.program("POST", "/api/v1/guide", json={"step": "all", "mark": "back"})
    assert "First steps" in root.get("/").text
    told = [(one.kind, one.payload["mark"], one.payload["by"]) for one in console.ledger.history("guide")]
    assert told[0] == (Fact.GUIDE_MARKED, "skipped", "root") and len(told) == 4
    for wrong in ({"step": "model", "mark": "away"}, {"step": "all", "mark": "skipped"}, {"step": "x", "mark": "back"}):
        assert root.post("/guide", data=sent | wrong).status_code == 400


def test_who_may_not_set_up_the_box_is_not_shown_how(console: Console) -> None:
    viewer = enter(console, person(console, "eve", Role.VIEWER).name)
    assert "First steps:" not in viewer.get("/").text
    assert 'href="/repositories/new"' not in viewer.get("/guide").text


def test_all_done_or_skipped_needs_no_guide() -> None:
    made = judged({"certificate": "skipped", "model": "skipped"}, dict.fromkeys(NAMES, True) | {"model": False})
    assert [one.state for one in made.steps] == ["done", "done", "skipped", "done", "done"]
    assert not made.shown and made.next is None
