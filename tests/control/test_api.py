"""The JSON API does what the pages do, and errors have one shape."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.lesson import Lesson
from appliance.news import Delivery
from appliance.user import Role
from tests.control.world import Console, Site, open_one


def test_a_signal_is_filed_and_found_again(console: Console, site: Site) -> None:
    answer = console.program("POST", "/api/v1/signals", json={"repo": "shop", "title": "t", "body": "b", "kind": "bug"})
    assert answer.status_code == 201 and answer.json is not None
    again = console.program("GET", answer.headers["Location"]).json
    assert again == answer.json and again["source"] == "api" and again["item"] == ""


def test_an_item_comes_whole_with_its_events_and_what_may_be_asked(console: Console, site: Site) -> None:
    item = console.program("GET", f"/api/v1/items/{site.waiting}").json
    assert item is not None
    assert {"id", "state", "plan", "attempts", "change", "verdicts", "autonomy", "waiting_for", "cost"} <= set(item)
    assert [event["kind"] for event in item["events"]] == ["ItemOpened", "SignalTriaged"]
    assert item["commands"] == ["approve", "answer", "retry", "merge", "take", "reject", "cancel"]


def test_a_command_is_noted_once_and_answered_with_its_number(console: Console, site: Site) -> None:
    answer = console.program("POST", f"/api/v1/items/{site.waiting}/commands", json={"verb": "approve"})
    assert answer.status_code == 202 and answer.json == {"number": 1, "item": f"/api/v1/items/{site.waiting}"}
    assert [command.verb for command in console.ledger.open_commands()] == ["approve"]


def test_lists_are_narrowed_and_limited(console: Console, site: Site) -> None:
    found = console.program("GET", "/api/v1/items?state=needs_human&limit=1").json
    assert found is not None and [item["id"] for item in found["items"]] == [site.ambiguous]
    status = console.program("GET", "/api/v1/status").json
    assert status is not None and status["items"] == {"needs_human": 2, "received": 1} and not status["well"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/api/v1/items/W-99", None, 404, "not_found"),
        ("GET", "/api/v1/signals/S-99", None, 404, "not_found"),
        ("GET", "/api/v1/repositories/nope", None, 404, "not_found"),
        ("GET", "/api/v1/nothing", None, 404, "not_found"),
        ("DELETE", "/api/v1/items", None, 405, "usage"),
        ("GET", "/api/v1/items?state=nonsense", None, 400, "usage"),
        ("GET", "/api/v1/items?limit=0", None, 400, "usage"),
        ("GET", "/api/v1/items?limit=x", None, 400, "usage"),
        ("GET", "/api/v1/items?before=x", None, 400, "usage"),
        ("GET", "/api/v1/items?before=9999999999999999999", None, 400, "usage"),
        ("GET", "/events?after=x", None, 400, "usage"),
        ("POST", "/api/v1/signals", [], 400, "usage"),
        ("POST", "/api/v1/signals", {"repo": "shop"}, 400, "usage"),
        ("POST", "/api/v1/signals", {"repo": "shop", "title": "t", "extra": 1}, 400, "usage"),
        ("POST", "/api/v1/signals", {"repo": "other", "title": "t"}, 404, "not_found"),
        ("POST", "/api/v1/signals", {"repo": "shop", "title": "x" * 2_000_000}, 413, "limit"),
        ("POST", "/api/v1/items/W-1/commands", {"verb": "explode"}, 400, "usage"),
        ("POST", "/api/v1/items/W-1/commands", {"verb": "reject"}, 400, "usage"),
        ("POST", "/api/v1/items/W-1/commands", {"verb": "merge", "text": "W-99"}, 400, "usage"),
        ("POST", "/api/v1/items/W-1/commands", {"verb": "merge", "text": "W-1"}, 400, "usage"),
        ("POST", "/api/v1/items/W-3/commands", {"verb": "approve"}, 409, "conflict"),
        ("POST", "/api/v1/items/W-99/commands", {"verb": "cancel"}, 404, "not_found"),
    ],
)
def test_what_is_wrong_is_said_in_one_shape_and_changes_nothing(
    method: str, path: str, body: Any, status: int, code: str, console: Console, site: Site
) -> None:
    before = console.ledger.tip()
    answer = console.program(method, path, **({} if body is None else {"json": body}))
    assert answer.status_code == status and answer.json is not None
    assert set(answer.json) == {"error"} and set(answer.json["error"]) == {"code", "message", "hint"}
    assert answer.json["error"]["code"] == code
    assert console.ledger.tip() == before


def test_a_surprise_is_answered_in_the_same_shape_without_its_traceback(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("inner secret")

    monkeypatch.setattr(console.ledger, "counts", break_down)
    answer = console.program("GET", "/api/v1/status")
    assert answer.status_code == 500 and "inner secret" not in answer.text and "Traceback" not in answer.text
    assert console.program("GET", "/items").status_code == 500


def test_health_is_open_and_says_nothing_else(console: Console, site: Site) -> None:
    assert console.stranger().get("/healthz").json == {"status": "ok"}


@pytest.mark.parametrize("noun", ["items", "signals", "lessons", "deliveries", "audit"])
def test_pages_hold_everything_once_while_more_comes_in(noun: str, console: Console, site: Site) -> None:
    def more(n: int) -> None:
        open_one(console.ledger, f"more {n}")
        console.ledger.lessons.add(Lesson(text=f"name the unit {n}"), "ada")
        console.ledger.deliveries.take(Delivery(source="gitea", repo="shop", id=str(n), size=2), b"{}")

    def number(one: dict[str, Any]) -> int:
        return int(str(one.get("id") or one.get("number") or one.get("seq")).rpartition("-")[2])

    for n in range(5):
        more(n)
    name = "events" if noun == "audit" else noun
    before = [number(one) for one in program(console, f"/api/v1/{noun}?limit=1000")[name]]
    assert before == sorted(before, reverse=True) and len(before) >= 5
    read: list[int] = []
    address = f"/api/v1/{noun}?limit=2"
    while address:
        answer = console.program("GET", address)
        assert answer.json is not None
        assert len(answer.json[name]) == 2 or not answer.json["next"]
        read += [number(one) for one in answer.json[name]]
        address = answer.json["next"]
        assert answer.headers.get("Link", "") == (f'<{address}>; rel="next"' if address else "")
        more(100 + len(read))
    assert read == before, "nothing twice, nothing left out, and what came meanwhile is on no later page"


def test_a_page_keeps_what_narrows_the_list_and_its_exact_end_leads_nowhere(console: Console, site: Site) -> None:
    found = program(console, "/api/v1/items?state=needs_human&repo=shop&limit=1")
    assert found["next"].startswith("/api/v1/items?state=needs_human&repo=shop&limit=1&before=")
    assert [item["id"] for item in program(console, found["next"])["items"]] == [site.waiting]
    assert program(console, found["next"])["next"] == ""
    assert program(console, "/api/v1/items?limit=3")["next"] == "", "there are just three"


@pytest.mark.parametrize("path", ["/api/v1/items", "/api/v1/items/W-1", "/api/v1/signals/S-1", "/api/v1/me"])
def test_who_has_an_answer_already_gets_none_until_it_changes(path: str, console: Console, site: Site) -> None:
    first = console.program("GET", path)
    seen = {"If-None-Match": first.headers["ETag"]}
    again = console.program("GET", path, headers=seen)
    assert (again.status_code, again.data) == (304, b"") and again.headers["ETag"] == first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    if "item" in path:
        console.program("POST", f"/api/v1/items/{site.waiting}/commands", json={"verb": "cancel"})
        open_one(console.ledger, "more")
        assert console.program("GET", path, headers=seen).status_code == 200


def test_a_browser_keeps_nothing_of_the_api(console: Console, site: Site) -> None:
    answer = console.browser().client.get("/api/v1/items")
    assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-store"


def test_a_change_of_what_has_changed_since_is_refused_and_changes_nothing(console: Console, site: Site) -> None:
    lesson = console.ledger.lessons.add(Lesson(text="name the unit"), "ada")
    console.ledger.users.add("ada", Role.VIEWER, "test")
    calls = [
        (f"/api/v1/items/{site.waiting}", "POST", "/commands", {"verb": "retry"}, {"verb": "cancel"}),
        (f"/api/v1/lessons/{lesson.id}", "POST", "/edit", {"text": "name units"}, {"text": "or not"}),
        (f"/api/v1/lessons/{lesson.id}", "POST", "/retire", {"why": "old"}, {"why": "older"}),
        ("/api/v1/users/ada", "PATCH", "", {"role": "operator"}, {"role": "developer"}),
    ]
    for path, method, verb, mine, theirs in calls:
        read = {"If-Match": console.program("GET", path).headers["ETag"]}
        assert console.program(method, path + verb, json=mine, headers=read).status_code < 300, path
        tip = console.ledger.tip()
        late = console.program(method, path + verb, json=theirs, headers=read)
        assert late.status_code == 412 and late.json is not None and late.json["error"]["code"] == "changed", path
        assert console.ledger.tip() == tip


def program(console: Console, path: str) -> dict[str, Any]:
    """What a program reads there."""
    answer = console.program("GET", path)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())
