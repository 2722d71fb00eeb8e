"""Lessons for programs and on pages: read, confirmed, retired, edited, written down."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.lesson import Evidence, Lesson, LessonState, Scope, Source
from tests.control.world import Console, Site, move

TEXT = "rates are cents <script>alert(1)</script>"


@pytest.fixture
def taught(console: Console, site: Site) -> Console:
    """A filled console, and one lesson that a person's rejection taught."""
    console.ledger.lessons.propose(
        Lesson(
            text=TEXT, scope=Scope(repo="shop", path="rates.py"), source=Source.REJECTION, home="shop",
            evidence=(Evidence(repo="shop", item=site.waiting, path="rates.py"),),
        )
    )  # fmt: skip
    return console


def asked(console: Console, method: str, path: str, status: int, **sent: Any) -> dict[str, Any]:
    answer = console.program(method, f"/api/v1/lessons{path}", **sent)
    assert answer.status_code == status, answer.text
    return dict(answer.get_json())


def test_a_program_writes_down_a_lesson_and_finds_it_by_state_and_repository(taught: Console) -> None:
    new = {"text": "name the unit", "scope": {"language": "python"}}
    kept = asked(taught, "POST", "", 201, json=new)
    assert (kept["id"], kept["state"], kept["by"]) == ("L-2", "confirmed", "person:console")

    def listed(query: str) -> list[str]:
        return [one["id"] for one in asked(taught, "GET", query, 200)["lessons"]]

    assert listed("") == listed("?repo=shop") == ["L-2", "L-1"]
    assert listed("?state=proposed") == ["L-1"] and listed("?limit=1") == listed("?repo=tools") == ["L-2"]


def test_a_program_reads_a_lesson_with_its_uses_and_effect_and_moves_and_edits_it(taught: Console) -> None:
    shown = asked(taught, "GET", "/L-1", 200)
    assert shown["uses"] == [] and "too little to say" in shown["effect"]["in_words"]
    assert asked(taught, "POST", "/L-1/confirm", 200, json={"why": "true"})["state"] == "confirmed"
    edited = asked(taught, "POST", "/L-1/edit", 200, json={"text": "whole cents"})
    assert (edited["text"], edited["scope"]["path"]) == ("whole cents", "rates.py")
    assert asked(taught, "POST", "/L-1/retire", 200, json={"why": "gone"})["why"] == "gone"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/L-99", None, 404),
        ("GET", "?state=loud", None, 400),
        ("GET", "?limit=0", None, 400),
        ("POST", "", {"text": " "}, 400),
        ("POST", "", {"text": "x", "scope": {"repo": "nope"}}, 404),
        ("POST", "", {"text": "x", "extra": 1}, 400),
        ("POST", "/L-1/edit", {}, 400),
        ("POST", "/L-1/edit", {"text": ""}, 400),
        ("POST", "/L-1/explode", {}, 404),
        ("POST", "/L-99/confirm", {}, 404),
    ],
)
def test_what_a_program_cannot_have_is_refused(
    taught: Console, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    assert asked(taught, method, path, status, json=body)["error"]["message"]


def test_a_move_that_a_lessons_life_does_not_know_is_a_conflict(taught: Console) -> None:
    asked(taught, "POST", "/L-1/retire", 200, json={})
    error = asked(taught, "POST", "/L-1/retire", 409, json={})["error"]
    assert "cannot become retired" in error["message"] and "confirmed" in error["hint"]


@pytest.mark.parametrize("path", ["", "/L-1/confirm", "/L-1/retire", "/L-1/edit"])
def test_a_stranger_changes_no_lesson(taught: Console, path: str) -> None:
    answer = taught.stranger().post(f"/api/v1/lessons{path}", json={"text": "mine"})
    assert answer.status_code in (401, 403)
    assert taught.ledger.lessons.get("L-1").state is LessonState.PROPOSED
    assert len(taught.ledger.lessons.all()) == 1


def test_the_list_can_be_narrowed_and_its_text_stays_text(taught: Console) -> None:
    page = taught.browser().get("/lessons?state=proposed&repo=shop").text
    assert 'href="/lessons/L-1"' in page and "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert "No such lesson" in taught.browser().get("/lessons?state=retired").text
    assert taught.browser().get("/lessons?state=loud").status_code == 400


def test_an_empty_list_teaches_what_lessons_are(console: Console) -> None:
    page = console.browser().get("/lessons").text
    assert "Nothing learned yet" in page and "appliance learn lessons add" in page


def test_a_lesson_is_shown_with_its_evidence_effect_and_commands(taught: Console, site: Site) -> None:
    page = taught.browser().get("/lessons/L-1").text
    assert "<script>alert" not in page and f'href="/items/{site.waiting}"' in page and "too little to say" in page
    assert "appliance learn lessons confirm L-1" in page and "appliance learn lessons retire L-1" in page


def test_a_person_confirms_edits_and_retires_by_forms(taught: Console) -> None:
    browser = taught.browser()
    assert browser.post("/lessons/L-1/confirm", why="true").status_code == 303
    assert browser.post("/lessons/L-1/edit", text="whole cents", repo="", language="python").status_code == 303
    edited = taught.ledger.lessons.get("L-1")
    assert (edited.state, edited.text, edited.scope) == (LessonState.CONFIRMED, "whole cents", Scope(language="python"))
    assert browser.post("/lessons/L-1/retire").status_code == 303
    assert taught.ledger.lessons.get("L-1").state is LessonState.RETIRED
    assert browser.post("/lessons/L-1/explode").status_code == browser.post("/lessons/L-9/edit", text="x").status_code
    assert browser.post("/lessons/L-1/explode").status_code == 404


def test_words_that_cannot_be_are_shown_again_with_what_is_wrong(taught: Console) -> None:
    answer = taught.browser().post("/lessons/L-1/edit", text=" ", repo="nope")
    assert answer.status_code == 400 and "problem" in answer.text
    assert taught.ledger.lessons.get("L-1").text == TEXT


def test_a_form_without_the_sessions_token_changes_no_lesson(taught: Console) -> None:
    assert taught.browser().client.post("/lessons/L-1/confirm", data={}).status_code in (400, 403)
    assert taught.stranger().post("/lessons/L-1/confirm").status_code in (302, 303, 401, 403)
    assert taught.ledger.lessons.get("L-1").state is LessonState.PROPOSED


def test_an_item_links_to_the_lessons_it_used(taught: Console, site: Site) -> None:
    move(taught.ledger, site.live, "told", lessons_used=("L-1",))
    assert 'href="/lessons/L-1"' in taught.browser().get(f"/items/{site.live}").text
