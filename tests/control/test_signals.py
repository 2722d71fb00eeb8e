"""The inbox of signals: narrowed by what is known of them; what says the same together, and taken apart; as it came."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import root
from appliance.config import render
from appliance.ledger.inbox import Narrowed, inbox, same_as
from appliance.ledger.lease import Worker
from appliance.line.commands import decide
from appliance.news import Delivery, DeliveryState
from appliance.settings import Settings
from appliance.user import Role
from appliance.work import Kind, Signal, State, TrackedRepository
from control import passwords
from control.inbox import narrowed, together
from tests.control.world import Console, move, open_one

TOKEN = "ghp_" + "a1B2" * 6


@pytest.fixture
def heard(console: Console) -> Console:
    """W-2 says the same as W-1, W-3 as W-2; W-4 is another; S-5 has no item yet."""
    ledger = console.ledger
    console.home.settings_file.write_text(render(Settings()))
    for name in ("shop", "till"):
        ledger.add_repository(TrackedRepository(name=name, url="https://git.example/x", branch="main"))
    for title, state, twin, kind in (
        ("Totals are off", State.NEEDS_HUMAN, "", Kind.BUG), ("The totals are wrong", State.DUPLICATE, "W-1", Kind.BUG),
        ("Sums are wrong", State.DUPLICATE, "W-2", Kind.BUG), ('A "till" wish', State.NEEDS_HUMAN, "", Kind.FEATURE),
    ):  # fmt: skip
        item = open_one(ledger, title, "100% of them")
        move(ledger, item, "which page?", state=state, duplicate_of=twin, kind=kind, severity=2 if twin else 3,
             stage="plan", waiting_for="which page?" if state is State.NEEDS_HUMAN else "")  # fmt: skip
    ledger.receive(Signal(id="", repo="till", title="Alert", source="hook:alertmanager"))
    return console


def ids(console: Console, **given: str) -> list[str]:
    """What the API lists, by the address."""
    answer = console.stranger().get(
        "/api/v1/signals", query_string=given, headers={"Authorization": f"Bearer {console.token}"}
    )
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.get_json()["signals"]]


def cli(console: Console, *words: str) -> Result:
    return CliRunner().invoke(root, ["--home", str(console.home.root), *words])


def apply(console: Console) -> None:
    """Take up what people said, as the line does."""
    for one in console.ledger.open_commands():
        console.ledger.claims.apply(
            one.number, one.item, Worker.here(), lambda now, one=one: decide(now, one.verb, one.by, one.text)
        )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["S-5", "S-4", "S-3", "S-2", "S-1"]),
        ({"repo": "till"}, ["S-5"]),
        ({"state": "unopened"}, ["S-5"]),
        ({"state": "duplicate"}, ["S-3", "S-2"]),
        ({"kind": "feature"}, ["S-4"]),
        ({"severity": "2"}, ["S-3", "S-2"]),
        ({"source": "hook"}, ["S-5"]),
        ({"source": "hook:alertmanager", "repo": "till"}, ["S-5"]),
        ({"q": "WRONG"}, ["S-3", "S-2"]),
        ({"q": "100%"}, ["S-4", "S-3", "S-2", "S-1"]),
        ({"q": '"till"'}, ["S-4"]),
        ({"q": "wrong", "severity": "2", "repo": "shop"}, ["S-3", "S-2"]),
        ({"since": "2999-01-01"}, []),
        ({"until": "2999-01-01", "kind": "feature"}, ["S-4"]),
    ],
)  # fmt: skip
def test_the_list_is_narrowed_alike_for_programs_pages_and_the_command_line(
    given: dict[str, str], expected: list[str], heard: Console
) -> None:
    assert ids(heard, **given) == expected
    page = heard.browser().client.get("/signals", query_string=given).text
    assert sorted(set(re.findall(r'href="/signals/(S-\d+)"', page))) == sorted(expected)
    options = [f"--{name.replace('q', 'text')}={value}" for name, value in given.items()]
    listed = cli(heard, "--json", "signal", "list", *options)
    assert [one["id"] for one in json.loads(listed.output)] == expected


def test_what_was_chosen_stays_in_the_form_and_leads_on(heard: Console) -> None:
    page = heard.browser().get('/signals?q="till"&kind=feature&since=2020-01-01').text
    assert 'value="&#34;till&#34;"' in page and "<option selected>feature" in page and 'value="2020-01-01"' in page
    first = heard.program("GET", "/api/v1/signals?repo=shop&limit=2").get_json()
    assert "repo=shop" in first["next"] and "before=3" in first["next"]
    then = heard.program("GET", first["next"]).get_json()
    assert [one["id"] for one in then["signals"]] == ["S-2", "S-1"] and then["next"] == ""


@pytest.mark.parametrize("query", ["state=gone", "kind=x", "severity=9", "since=monday", "q=" + "x" * 201])
def test_a_filter_that_cannot_be_is_refused_with_what_can(query: str, heard: Console) -> None:
    answer = heard.program("GET", f"/api/v1/signals?{query}")
    assert answer.status_code == 400 and answer.get_json()["error"]["hint"]
    assert heard.browser().get(f"/signals?{query}").status_code == 400


def test_duplicates_of_duplicates_stand_under_the_one_that_carries_on(heard: Console) -> None:
    rows = together(inbox(heard.ledger, Narrowed(), 100))
    assert [(row.heard.signal.id, [one.signal.id for one in row.under]) for row in rows] == [
        ("S-5", []), ("S-4", []), ("S-1", ["S-3", "S-2"]),
    ]  # fmt: skip
    alone = together(inbox(heard.ledger, narrowed({"state": "duplicate"}), 1))
    assert [row.heard.twin for row in alone] == ["W-2"], "on another page than its head it keeps its place"
    assert [one.signal.id for one in same_as(heard.ledger, "W-1")] == ["S-2", "S-3"]
    page = heard.browser().get("/signals").text
    assert "1 more says the same" in page and 'class="under"' in page
    told = heard.program("GET", "/api/v1/signals/S-3").get_json()
    assert told["carried_by"] == "W-1" and [one["id"] for one in told["duplicates"]] == ["S-2"]


def test_two_items_that_are_said_to_be_duplicates_of_each_other_do_not_hang_the_page(heard: Console) -> None:
    with heard.ledger.database.writing() as connection:
        connection.exec_driver_sql("UPDATE items SET twin = 'W-3' WHERE id = 'W-2'")
    assert heard.browser().get("/signals").status_code == 200
    assert heard.browser().get("/signals/S-3").status_code == 200


def test_a_duplicate_that_is_none_sets_out_anew_and_is_taken_for_one_no_more(heard: Console) -> None:
    browser = heard.browser()
    assert "It is no duplicate" in browser.get("/signals/S-2").text
    assert browser.post("/items/W-2/split", text="").status_code == 400
    assert browser.post("/items/W-2/split", text="another page").status_code == 303
    apply(heard)
    item = heard.ledger.item("W-2")
    assert (item.state, item.stage, item.duplicate_of, item.told_apart) == (State.RECEIVED, "triage", "", ("W-1",))
    assert [one.signal.id for one in same_as(heard.ledger, "W-1")] == []
    assert "no duplicate of W-1: another page" in browser.get("/items/W-2").text
    assert heard.program("POST", "/api/v1/signals/S-3/split", json={"why": "other"}).status_code == 202
    assert heard.program("POST", "/api/v1/signals/S-1/split", json={"why": "other"}).status_code == 409
    assert heard.program("POST", "/api/v1/signals/S-5/merge", json={"into": "W-1"}).status_code == 409
    assert heard.program("POST", "/api/v1/signals/S-4/merge", json={"into": "W-1"}).status_code == 202
    assert cli(heard, "signal", "split", "S-1", "--why", "x").exit_code == 1
    apply(heard)
    assert heard.ledger.item("W-4").duplicate_of == "W-1" and heard.ledger.item("W-3").state is State.RECEIVED


def test_questions_stand_with_what_was_said_to_them(heard: Console) -> None:
    heard.ledger.command("W-1", "answer", "ada", "the last page")
    page = heard.browser().get("/signals/S-1").text
    assert "because which page?" in page and "ada</strong> answered: the last page" in page
    asked: list[dict[str, Any]] = heard.program("GET", "/api/v1/signals/S-1").get_json()["questions"]
    assert [(one["words"], one["verb"], one["by"]) for one in asked] == [("because which page?", "answer", "ada")]
    assert "Nobody has said anything yet" in heard.browser().get("/signals/S-4").text
    assert "ada said answer: the last page" in cli(heard, "signal", "show", "S-1").output


def test_what_came_in_is_shown_as_it_came_without_secrets_and_never_as_a_page(heard: Console) -> None:
    raw = f"<script>alert(1)</script> Authorization: Bearer {TOKEN}".encode()
    heard.ledger.deliveries.take(Delivery(source="generic", repo="till", id="d", size=len(raw)), raw)
    heard.ledger.deliveries.settle(1, DeliveryState.DONE, "filed", "S-5")
    page = heard.browser().get("/signals/S-5").text
    assert "&lt;script&gt;" in page and TOKEN not in page and f"{len(raw)} bytes" in page and "delivery 1" in page
    answer = heard.browser().get("/signals/S-5/raw")
    assert answer.mimetype == "text/plain" and TOKEN not in answer.text and "<script>" in answer.text
    assert answer.headers["Content-Disposition"] == 'attachment; filename="S-5.txt"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    received = heard.program("GET", "/api/v1/signals/S-5").get_json()["received"]
    assert received["size"] == len(raw) and received["delivery"] == 1 and TOKEN not in received["text"]
    assert TOKEN not in cli(heard, "signal", "show", "S-5", "--raw").output
    assert '"title": "Totals are off"' in heard.browser().get("/signals/S-1/raw").text, (
        "filed by hand: the record of it"
    )


def test_only_who_runs_the_box_is_offered_the_download(heard: Console) -> None:
    heard.ledger.users.add("dev", Role.DEVELOPER, "test")
    heard.ledger.users.set_password("dev", "dev", passwords.hash_password("seven green kettles hum"))
    client = heard.stranger()
    client.post("/sign-in", data={"name": "dev", "password": "seven green kettles hum"})
    assert "/signals/S-1/raw" not in client.get("/signals/S-1").text
    assert client.get("/signals/S-1/raw").status_code == 403
    assert client.get("/signals/S-1").status_code == 200


def test_an_empty_inbox_teaches_and_an_empty_answer_says_how_to_go_on(console: Console) -> None:
    assert "appliance signal add" in console.browser().get("/signals").text
    assert "All signals" in console.browser().get("/signals?q=nothing").text
