"""The routing rules in the console: cards, a text that is checked and tried before it is saved, versions."""

from __future__ import annotations

import json

import pytest

from appliance.errors import Conflict, UsageError
from appliance.ledger.routes import Routes, digest
from appliance.user import Role
from control.router import cards, newest_calls
from tests.control.test_accounts import csrf, enter, person
from tests.control.world import Console

RULES = """
[[rule]]
name = "hard repairs"
when = { task = ["repair"], severity = { max = 2 }, time = { from = "22:00", to = "06:00" } }
candidates = ["search", "*"]
fallback = ["*"]
objective = { quality = 0.7, cost = 0.3, speed = 0.0 }
learning = "apply"

[[rule]]
name = "all else"
candidates = ["*"]
"""
CHANGED = RULES.replace('"search", "*"', '"search"')


@pytest.fixture
def ruled(console: Console) -> Console:
    console.home.settings_file.write_text("")
    console.home.routes_file.write_text(RULES)
    return console


def test_rules_are_cards_in_words() -> None:
    first, last = cards(RULES)
    assert first.conditions == ("task repair", "severity at most 2", "time from 22:00 until 06:00")
    assert (first.candidates, first.fallback, first.learning) == (("search", "*"), ("*",), "apply")
    assert (last.conditions, last.objective, last.learning) == ((), "", "observe")


@pytest.mark.parametrize("text", ["rule = 1", "[[rule]]\nwhen = 3\ncandidates = 'x'", "[rule]\nname = 1", ""])
def test_a_text_that_is_no_rules_still_makes_a_page(text: str, ruled: Console) -> None:
    ruled.home.routes_file.write_text(text)
    assert ruled.browser().get("/router").status_code == 200


def test_a_file_that_is_no_toml_is_said_to_be_none(ruled: Console) -> None:
    ruled.home.routes_file.write_text("[[rule")
    assert "not valid" in ruled.browser().get("/router").text


def test_each_save_is_a_version_with_who_and_why_and_none_is_lost(ruled: Console) -> None:
    kept = Routes(ruled.home, ruled.ledger)
    assert kept.save(CHANGED, digest(RULES), "ada", "search alone") == 1
    assert kept.text() == CHANGED
    [first] = kept.versions()
    assert (first.by, first.why, first.text, first.by_hand) == ("ada", "search alone", CHANGED, RULES)
    ruled.home.routes_file.write_text(CHANGED + "# by hand\n")
    assert kept.save(RULES, digest(CHANGED + "# by hand\n"), "bob", "back") == 2
    assert kept.version(2).by_hand == CHANGED + "# by hand\n"
    for seen, text, why in (
        (digest(CHANGED), CHANGED, "late"),
        (digest(RULES), RULES, "same"),
        (digest(RULES), "", ""),
    ):
        with pytest.raises((Conflict, UsageError)):
            kept.save(text, seen, "eve", why)
    assert kept.text() == RULES and len(kept.versions()) == 2


@pytest.mark.integration
def test_an_operator_checks_tries_and_saves_in_the_browser(ruled: Console) -> None:
    line = {"id": "c1", "asked": {"task": "repair", "severity": 1, "at": "2026-11-02T23:00:00+00:00"}}
    (ruled.home.spool / "usage-20261102.jsonl").write_text(json.dumps(line) + "\n")
    browser = enter(ruled, person(ruled, "ada", Role.OPERATOR).name)
    assert "hard repairs" in browser.get("/router").text

    def sent(do: str, text: str, seen: str = digest(RULES)) -> tuple[int, str]:
        data = {"csrf": csrf(browser), "do": do, "text": text, "seen": seen, "why": "search alone"}
        answer = browser.post("/router/edit", data=data)
        return answer.status_code, answer.text

    status, page = sent("check", CHANGED.replace("severity", "severety"))
    assert status == 400 and "severity" in page and "severety" in page, "the fault, and what was typed"
    status, page = sent("simulate", CHANGED.replace("hard repairs", "hard ones"))
    assert status == 200 and "Of the newest 1 recorded calls 0 are decided as before" in page
    assert sent("save", CHANGED, digest("another"))[0] == 409
    assert ruled.home.routes_file.read_text() == RULES
    assert sent("save", CHANGED)[0] == 303
    assert ruled.home.routes_file.read_text() == CHANGED
    page = browser.get("/router").text
    assert "Version 1 of the rules is in force" in page and "search alone" in page
    assert "These are the rules in force" in browser.get("/router/versions/1").text
    [event] = ruled.ledger.history("routing rules")
    assert event.payload["actor"]["name"] == "ada"


@pytest.mark.integration
def test_a_program_does_the_same_and_a_wrong_text_changes_nothing(ruled: Console) -> None:
    told = ruled.program("GET", "/api/v1/router/rules").get_json()
    assert (told["text"], told["digest"]) == (RULES, digest(RULES))
    wrong = {"text": "[[rule]]\nname='x'\ncandidates=['nobody-9b']", "seen": told["digest"], "why": "w"}
    refused = ruled.program("PUT", "/api/v1/router/rules", json=wrong)
    assert refused.status_code == 400 and "nobody-9b" in refused.get_json()["error"]["message"]
    assert ruled.home.routes_file.read_text() == RULES
    right = {"text": CHANGED, "seen": told["digest"], "why": "w"}
    assert ruled.program("PUT", "/api/v1/router/rules", json=right).get_json() == {"version": 1}
    assert ruled.program("GET", "/api/v1/router/versions/1").get_json()["text"] == CHANGED


def test_who_only_looks_sees_the_rules_and_may_not_change_them(ruled: Console) -> None:
    viewer = enter(ruled, person(ruled, "eve", Role.VIEWER).name)
    assert "hard repairs" in viewer.get("/router").text and "/router/edit" not in viewer.get("/router").text
    assert viewer.get("/router/edit").status_code == 403


def test_the_newest_calls_are_taken_from_the_end_of_the_newest_files(ruled: Console) -> None:
    files = [ruled.home.spool / f"usage-2026110{n}.jsonl" for n in (3, 2, 1)]
    for file in files:
        file.write_text("".join(f"{file.stem[-1]}-{n}\n" for n in range(3)))
    assert newest_calls(files, 4) == ["2-2", "3-0", "3-1", "3-2"]
