"""The page Policy says what is in force and why, and changes it only knowingly, audited."""

from __future__ import annotations

import pytest

from appliance.autonomy import ALLOWS
from appliance.work import Autonomy
from tests.control.world import Console, Site


def test_the_page_says_which_level_is_in_force_and_what_stops_a_change_always(console: Console, site: Site) -> None:
    page = console.browser().get("/policy").text
    assert all(words.partition(":")[0] in page for words in ALLOWS.values()) and set(ALLOWS) == set(Autonomy)
    assert ".gitlab-ci.yml" in page and "10 files" in page and "400 lines" in page
    console.ledger.change_repository("shop", autonomy=Autonomy.HIGH)
    console.home.settings_file.write_text('[autonomy]\ncap = "medium"\n')
    page = console.browser().get("/policy").text
    assert "capped" in page and "merge request" in page
    assert "The box's cap keeps it at medium" in console.browser().get("/policy/shop?level=high").text


def test_a_level_is_changed_after_a_question_and_is_in_the_chain(console: Console, site: Site) -> None:
    browser = console.browser()
    question = browser.get("/policy/shop?level=medium").text
    assert "appliance repo set shop --autonomy medium" in question and 'name="was" value="low"' in question
    assert browser.post("/policy/shop", level="medium", was="low").status_code == 303
    assert console.ledger.repository("shop").autonomy is Autonomy.MEDIUM
    event = console.ledger.tail(console.ledger.tip()[0] - 1)[-1]
    assert event.kind == "RepositoryChanged" and event.payload["autonomy"] == "medium"
    assert event.payload["actor"]["name"] == "console"


@pytest.mark.parametrize(
    ("name", "level", "was", "status"),
    [
        ("shop", "sky", "low", 400), ("shop", "high", "medium", 400), ("shop", "high", "", 400),
        ("nope", "high", "low", 404),
    ],
    ids=["no such level", "changed meanwhile", "not seen", "no such repository"],
)  # fmt: skip
def test_what_cannot_be_changes_nothing(
    name: str, level: str, was: str, status: int, console: Console, site: Site
) -> None:
    tip = console.ledger.tip()[0]
    browser = console.browser()
    began = console.ledger.tip()[0]
    assert browser.post(f"/policy/{name}", level=level, was=was).status_code == status
    assert console.ledger.tip()[0] == began > tip and console.ledger.repository("shop").autonomy is Autonomy.LOW
    assert browser.get("/policy/shop?level=sky").status_code == 400


def test_a_program_changes_it_too(console: Console, site: Site) -> None:
    changed = console.program("PATCH", "/api/v1/repositories/shop", json={"autonomy": "medium"})
    assert changed.status_code == 200 and changed.get_json()["autonomy"] == "medium"
    for body in ({"autonomy": "sky"}, {"autonomy": "high", "url": "file:///"}, {}):
        assert console.program("PATCH", "/api/v1/repositories/shop", json=body).status_code == 400
    assert console.ledger.repository("shop").autonomy is Autonomy.MEDIUM
