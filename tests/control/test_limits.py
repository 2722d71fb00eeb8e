"""The limits of the box on page and API: compared before they are saved, refused in words, by administrators alone."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from appliance.config import load, render
from appliance.events import Fact
from appliance.settings import Settings
from appliance.user import Role
from control.views.limits import PATHS
from tests.control.test_accounts import csrf, enter, person
from tests.control.world import Console


@pytest.fixture
def box(console: Console) -> Console:
    console.home.settings_file.write_text("# ours\n" + render(Settings()))
    return console


class Form(HTMLParser):
    """What a page's form holds, as a browser would send it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._in = ""
        self._takes = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "input":
            self.fields[told.get("name") or ""] = told.get("value") or ""
        elif tag in ("textarea", "select"):
            self._in, self._takes = told.get("name") or "", tag == "textarea"
        elif tag == "option":
            self._takes = "selected" in told

    def handle_data(self, data: str) -> None:
        if self._in and self._takes:
            self.fields[self._in] = data

    def handle_endtag(self, tag: str) -> None:
        self._takes = False
        self._in = "" if tag in ("textarea", "select") else self._in


def form(page: str) -> dict[str, str]:
    return Form(page).fields


def test_limits_are_compared_saved_with_a_reason_and_in_force_at_once(box: Console) -> None:
    root = enter(box, person(box, "ada", Role.ADMINISTRATOR).name)
    sent = form(root.get("/policy/limits").text) | {"csrf": csrf(root)}
    assert sent["autonomy.cap"] == "high" and sent[PATHS].startswith(".github/**")
    same = root.post("/policy/limits", data=sent | {"do": "check"})
    assert "These are the limits in force" in same.text
    sent |= {"autonomy.max_files": "5", "autonomy.cap": "medium", PATHS: "secrets/**\r\n\r\n .ci/** "}
    compared = root.post("/policy/limits", data=sent | {"do": "check"}).text
    assert "looser" in compared and "tighter" in compared and load(box.home.settings_file) == Settings()
    refused = root.post("/policy/limits", data=sent | {"do": "save"})
    assert refused.status_code == 400 and "needs a reason" in refused.text and "secrets/**" in refused.text
    assert root.post("/policy/limits", data=sent | {"do": "save", "why": "smaller"}).status_code == 303
    made = load(box.home.settings_file).autonomy
    assert (made.max_files, made.cap, made.protected_paths) == (5, "medium", ["secrets/**", ".ci/**"])
    assert box.home.settings_file.read_text().startswith("# ours\n")
    page = root.get("/policy").text
    assert "5 files" in page and "secrets/**" in page and "changed. It holds" in page
    (event,) = box.ledger.history("limits")
    assert (event.kind, event.payload["by"], event.payload["why"]) == (Fact.LIMITS_CHANGED, "ada", "smaller")
    stale = root.post("/policy/limits", data=sent | {"do": "save", "why": "again", "autonomy.max_files": "6"})
    assert stale.status_code == 409 and "since you began" in stale.text


def test_what_cannot_be_a_limit_comes_back_with_what_was_said(box: Console) -> None:
    root = enter(box, person(box, "ada", Role.ADMINISTRATOR).name)
    sent = form(root.get("/policy/limits").text) | {"csrf": csrf(root), "do": "save", "why": "x"}
    answer = root.post("/policy/limits", data=sent | {"droid.steps": "many", "autonomy.max_files": "0"})
    assert answer.status_code == 400 and "droid.steps" in answer.text and "autonomy.max_files" in answer.text
    assert 'value="many"' in answer.text and load(box.home.settings_file) == Settings()


def test_a_settings_file_that_became_bad_is_told_on_the_page_and_caps_autonomy(box: Console) -> None:
    box.home.settings_file.write_text("[autonomy]\nmax_files = 0\n")
    told = box.program("GET", "/api/v1/policy/limits").get_json()
    assert "max_files" in told["problem"] and told["limits"][0]["value"] == '"off"'
    assert "nothing lands without a person" in box.browser().get("/policy").text
    assert (
        box.program("PATCH", "/api/v1/policy/limits", json={"changes": {"droid.steps": 3}, "why": "x"}).status_code
        == 400
    )


def test_programs_change_limits_as_the_page_does(box: Console) -> None:
    now = box.program("GET", "/api/v1/policy/limits").get_json()
    asked = {"changes": {"autonomy.max_files": 5}, "why": "smaller", "seen": now["digest"]}
    answer = box.program("PATCH", "/api/v1/policy/limits", json=asked)
    assert answer.get_json()["changes"] == [
        {"name": "autonomy.max_files", "before": "10", "after": "5", "looser": False}
    ]
    assert box.program("PATCH", "/api/v1/policy/limits", json=asked).status_code == 409
    assert (
        box.program("PATCH", "/api/v1/policy/limits", json={"changes": {"console.port": 1}, "why": "x"}).status_code
        == 400
    )
    assert enter(box, person(box, "eve", Role.OPERATOR).name).get("/policy/limits").status_code == 403
