"""Every message from outside can be seen with what came of it, without secrets, and be worked on again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.cli.main import root
from appliance.errors import Conflict
from appliance.news import Delivery, DeliveryState
from tests.control.world import Console, Site

TOKEN = "ghp_" + "a1B2" * 6
RAW = json.dumps({"title": "<b>Totals</b> are off", "password": "x", "log": f"Authorization: Bearer {TOKEN}"}).encode()


@pytest.fixture
def sent(console: Console, site: Site) -> Console:
    kept = console.ledger.deliveries
    generic = Delivery(source="generic", repo="shop", id="d-1", event="report", size=len(RAW), headers={"x-event": "r"})
    kept.take(generic, RAW)
    kept.settle(1, DeliveryState.DONE, "filed as S-1", "S-1")
    kept.take(Delivery(source="github", repo="shop", id="d-2", event="issues", size=2), b"{]")
    kept.settle(2, DeliveryState.REFUSED, "the message is not JSON")
    kept.take(Delivery(source="mail", repo="", id="d-3", size=99), b"")
    return console


def told(console: Console, path: str) -> Any:
    return console.program("GET", f"/api/v1/deliveries{path}").json


def test_the_list_shows_what_came_of_each_and_can_be_narrowed(sent: Console) -> None:
    assert [one["number"] for one in told(sent, "")["deliveries"]] == [3, 2, 1]
    assert [one["why"] for one in told(sent, "?state=refused&repo=shop")["deliveries"]] == ["the message is not JSON"]
    page = sent.browser().get("/deliveries?state=refused")
    assert "the message is not JSON" in page.text and "filed as" not in page.text
    assert sent.program("GET", "/api/v1/deliveries?state=lost").status_code == 400
    assert sent.browser().get("/deliveries?state=lost").status_code == 400


def test_one_message_is_shown_with_its_reason_what_it_is_read_as_and_its_bytes_without_secrets(sent: Console) -> None:
    one = told(sent, "/1")
    assert one["told"][0]["title"] == "<b>Totals</b> are off" and one["headers"] == {"x-event": "r"}
    assert TOKEN not in one["raw"] and "[redacted-" in one["raw"] and not one["problem"]
    page = sent.browser().get("/deliveries/1").text
    assert TOKEN not in page and "<b>" not in page and "&lt;b&gt;Totals" in page and "/signals/S-1" in page
    assert "not JSON" in told(sent, "/2")["problem"] and "not JSON" in sent.browser().get("/deliveries/2").text
    assert (told(sent, "/3")["raw_kept"], told(sent, "/3")["raw"]) == (False, "")
    assert "bytes are not kept" in sent.browser().get("/deliveries/3").text
    assert sent.program("GET", "/api/v1/deliveries/4").status_code == 404


def test_a_long_message_is_cut_where_it_is_shown(sent: Console) -> None:
    sent.ledger.deliveries.take(Delivery(source="generic", repo="shop", id="d-4", size=1), b"x" * 3_000_000)
    assert len(told(sent, "/4")["raw"]) < 200_000 and told(sent, "/4")["raw_cut"]


def test_a_message_waits_for_the_line_again_when_somebody_asks_and_its_bytes_are_kept(sent: Console) -> None:
    browser = sent.browser()
    assert browser.post("/deliveries/1/replay").status_code == 303
    assert [one.number for one in sent.ledger.deliveries.waiting()] == [1, 3]
    assert sent.program("POST", "/api/v1/deliveries/2/replay").status_code == 202
    assert sent.program("POST", "/api/v1/deliveries/3/replay").status_code == 409
    assert browser.client.post("/deliveries/1/replay").status_code == 403, "no CSRF token"
    assert sent.stranger().post("/api/v1/deliveries/1/replay").status_code == 401


def test_the_commands_show_and_replay_a_message(sent: Console) -> None:
    sent.home.settings_file.write_text("")
    home = ["--home", str(sent.home.root)]

    def call(*words: str) -> Any:
        return json.loads(CliRunner().invoke(root, [*home, "--json", "signal", *words]).stdout)

    assert call("delivery", "1") == told(sent, "/1")
    text = CliRunner().invoke(root, [*home, "signal", "delivery", "1"]).stdout
    assert "filed as S-1" in text and TOKEN not in text and '"kind": null' in text
    assert call("replay", "1")["state"] == "waiting"
    assert isinstance(CliRunner().invoke(root, [*home, "signal", "replay", "3"]).exception, Conflict)
