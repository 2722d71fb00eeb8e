"""The JSON API does what the pages do, and errors have one shape."""

from __future__ import annotations

from typing import Any

import pytest

from tests.control.world import Console, Site


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
    assert item["commands"] == ["approve", "answer", "retry", "merge", "reject", "cancel"]


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
