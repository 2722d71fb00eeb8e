from __future__ import annotations

from datetime import datetime

import pytest

from appliance.errors import Conflict, NotFound
from appliance.ledger import Ledger
from appliance.news import Delivery, DeliveryState
from appliance.work import MirrorHealth
from tests.ledger.world import SteppedClock

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


@pytest.fixture
def aged(ledger: Ledger, clock: SteppedClock) -> list[datetime]:
    """Three settled messages of ten bytes, a day apart, and one that waits; when each came."""
    times = []
    for number in range(4):
        kept, _ = ledger.deliveries.take(SENT.with_(id=str(number), size=10), b"0123456789")
        times.append(kept.received)
        clock.pass_(86400)
        if number != 1:
            ledger.deliveries.settle(number + 1, DeliveryState.DONE, "")
    return times


def sizes(ledger: Ledger) -> list[int]:
    return [len(ledger.deliveries.raw(one.number)) for one in reversed(ledger.deliveries.list())]


def test_bytes_are_let_go_by_age_and_messages_that_wait_never(ledger: Ledger, aged: list[datetime]) -> None:
    assert ledger.deliveries.weight() == 40
    assert ledger.deliveries.forget(aged[3], aged[0], 1000) == (2, 0)
    assert sizes(ledger) == [0, 10, 0, 10]
    assert ledger.deliveries.forget(aged[3], aged[0], 1000) == (0, 0)
    assert not ledger.deliveries.take(SENT.with_(id="0"), b"again")[1], "it is still known as a replay"


def test_bytes_over_the_limit_are_let_go_oldest_first(ledger: Ledger, aged: list[datetime]) -> None:
    assert ledger.deliveries.forget(aged[0], aged[0], 25) == (2, 0)
    assert sizes(ledger) == [0, 10, 0, 10]


def test_messages_are_deleted_whole_in_the_end(ledger: Ledger, aged: list[datetime]) -> None:
    assert ledger.deliveries.forget(aged[3], aged[3], 1000) == (2, 2)
    assert [one.number for one in ledger.deliveries.list()] == [4, 2]
    with pytest.raises(NotFound):
        ledger.deliveries.get(1)


def test_a_message_is_worked_on_again_as_long_as_its_bytes_are_kept(ledger: Ledger, aged: list[datetime]) -> None:
    assert ledger.deliveries.again(1).state == "waiting"
    assert [one.number for one in ledger.deliveries.waiting()] == [1, 2]
    ledger.deliveries.settle(1, DeliveryState.DONE, "")
    ledger.deliveries.forget(aged[1], aged[0], 1000)
    with pytest.raises(Conflict, match="not kept"):
        ledger.deliveries.again(1)


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


def test_repositories_take_turns_and_none_with_many_waiting_messages_holds_up_another(ledger: Ledger) -> None:
    for number in range(6):
        ledger.deliveries.take(Delivery(source="generic", repo="busy", id=str(number)), b"{}")
    ledger.deliveries.take(Delivery(source="generic", repo="shop", id="x"), b"{}")
    assert [(one.repo, one.number) for one in ledger.deliveries.waiting(3)] == [("busy", 1), ("shop", 7), ("busy", 2)]
    assert [one.repo for one in ledger.deliveries.waiting(3, without=["busy"])] == ["shop"]
