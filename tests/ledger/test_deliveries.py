from __future__ import annotations

import pytest

from appliance.errors import NotFound
from appliance.ledger import Ledger
from appliance.news import Delivery, DeliveryState
from appliance.work import MirrorHealth

SENT = Delivery(source="gitea", repo="shop", id="7f", event="issues")


def test_a_message_is_kept_as_it_came_until_somebody_settles_it(ledger: Ledger) -> None:
    kept, new = ledger.deliveries.take(SENT, b"\xff raw \x00")
    assert (new, kept.number, ledger.deliveries.raw(1)) == (True, 1, b"\xff raw \x00")
    assert ledger.deliveries.waiting() == [kept]
    settled = ledger.deliveries.settle(1, DeliveryState.REFUSED, "it is no JSON")
    assert (settled.state, settled.why) == ("refused", "it is no JSON")
    assert ledger.deliveries.waiting() == []
    assert ledger.deliveries.list("shop", DeliveryState.REFUSED) == [settled]


def test_a_replay_is_known_by_its_sender_repository_and_id(ledger: Ledger) -> None:
    first, _ = ledger.deliveries.take(SENT, b"{}")
    assert ledger.deliveries.take(SENT, b"[]") == (first, False)
    assert ledger.deliveries.raw(1) == b"{}"
    assert ledger.deliveries.take(SENT.with_(source="forgejo"), b"{}")[1]


def test_settled_messages_can_be_forgotten_and_waiting_ones_never(ledger: Ledger) -> None:
    for number in range(3):
        ledger.deliveries.take(SENT.with_(id=str(number)), b"{}")
    ledger.deliveries.settle(1, DeliveryState.DONE, "")
    assert ledger.deliveries.forget(below=3) == 1
    assert [one.number for one in ledger.deliveries.list()] == [3, 2]
    with pytest.raises(NotFound):
        ledger.deliveries.get(1)


def test_a_mirrors_health_and_cursor_go_with_the_repository(ledger: Ledger) -> None:
    assert (ledger.forges.health("shop"), ledger.forges.cursor("shop")) == (MirrorHealth(), "")
    ledger.forges.note_health("shop", MirrorHealth(failures=2, error="away"))
    ledger.forges.set_cursor("shop", "17")
    assert (ledger.forges.health("shop").failures, ledger.forges.cursor("shop")) == (2, "17")
    ledger.remove_repository("shop")
    assert (ledger.forges.health("shop"), ledger.forges.cursor("shop")) == (MirrorHealth(), "")


def test_what_a_forge_was_told_is_remembered_for_each_item(ledger: Ledger) -> None:
    ledger.forges.note_told("W-1", "status:test", "aa")
    ledger.forges.note_told("W-1", "status:test", "bb")
    assert ledger.forges.told("W-1") == {"status:test": "bb"}
    assert ledger.forges.told("W-2") == {}
