"""Forges are told what is new, once; one that is away is told later and holds up nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import NotFound, Unavailable
from appliance.line.outgoing import Outgoing
from appliance.work import Proposal, State
from tests.line.forge import NotedForge
from tests.line.test_heard import BRANCH, HEAD, World


class NoClone:
    """A clone that is only closed."""

    def __init__(self) -> None:
        self.closed = 0

    def workspace(self, commit: str) -> Any:
        return self

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.ledger.close()


def outgoing(world: World, copies: NoClone | None = None) -> Outgoing:
    return Outgoing(world.ledger, lambda _: world.forge, lambda _: copies or NoClone(), "http://box")


def said(forge: NotedForge) -> list[str]:
    return [str(one[3]) for one in forge.heard if one[0] == "say"]


def test_what_was_told_is_not_told_again_not_even_by_a_line_that_starts_anew(world: World) -> None:
    world.item(stage="build")
    doer = outgoing(world)
    assert doer.tell() == 1 and said(world.forge) == ["W-1:progress", "W-1:question"]
    assert doer.tell() == 0
    assert outgoing(world).tell() == 1 and len(world.forge.heard) == 2
    world.ledger.command("W-1", "cancel", "ann")
    doer.tell()
    assert len(world.forge.heard) == 2, "a command alone changes nothing that is told"


def test_what_a_killed_line_did_not_tell_is_told_by_the_next(world: World) -> None:
    world.item()
    outgoing(world)
    assert outgoing(world).tell() == 1 and said(world.forge)


def test_a_forge_that_is_away_is_told_later_and_the_rest_is_not_lost(world: World) -> None:
    world.item(stage="build")
    doer = outgoing(world)
    world.forge.broken = Unavailable("away", "wait")
    assert doer.tell() == 0
    world.forge.broken = None
    assert doer.tell() == 0, "it is left alone for a while"
    world.clock.pass_(2.5)
    assert doer.tell() == 1 and len(said(world.forge)) == 2


def test_what_the_forge_will_never_take_is_not_said_for_ever(world: World) -> None:
    world.item(stage="build")
    world.forge.broken = NotFound("there is no such issue", "")
    doer = outgoing(world)
    assert doer.tell() == 1 and doer.tell() == 0


def test_a_cancelled_item_s_request_is_withdrawn_over_what_the_box_left_there_alone(world: World) -> None:
    world.item(State.CANCELLED, "build")
    copies = NoClone()
    outgoing(world, copies).tell()
    (withdrawn,) = [one for one in world.forge.heard if one[0] == "withdraw"]
    assert withdrawn[1:3] == (BRANCH, HEAD) and copies.closed == 1


def test_the_watch_has_ship_look_again_once_for_each_thing_that_changed(world: World) -> None:
    owed = Proposal(number="9", branch=BRANCH, commit=HEAD, blockers=("1 more approval",))
    world.item(proposal=owed)
    doer, world.forge.request = outgoing(world), owed
    doer.watch()
    assert world.commands == []
    world.forge.request = owed.with_(blockers=(), approved_by=("ann",))
    doer.watch()
    doer.watch()
    assert [(verb, by) for verb, by, _ in world.commands] == [("look", "gitea")]


def test_the_watch_leaves_alone_what_does_not_wait_for_a_forge(world: World) -> None:
    world.item(stage="build")
    world.forge.request = Proposal(number="9", branch=BRANCH, commit="c" * 40)
    outgoing(world).watch()
    assert world.commands == []
