"""What a person can ask of an item, in words: the button, what it will do, what it needs, and the same on the CLI."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from appliance.by_hand import held
from appliance.ledger.ids import signal_of
from appliance.ledger.legal import LEGAL, WRITTEN
from appliance.work import Noun, WorkItem

APPROVABLE = frozenset({"review", "secure", "ship"})
"""Stages that take an approval; a test holds it to the line's own list."""


class Verb(Noun):
    """One command and how it is offered."""

    name: str
    label: str
    will: str
    asks: str = ""
    """Label of the text it needs; "" when it needs none."""
    option: str = ""
    """The CLI's option for that text."""
    tone: str = "plain"
    short: bool = False
    """The text is a name, not a sentence."""

    def cli(self, item: str, text: str = "") -> str:
        """The same command for a terminal."""
        words = f"appliance item {self.name} {item}"
        if self.name == "give_back":
            return f"appliance item take {item} --back"
        if self.name in ("merge", "split"):  # on the command line it is the signal that is said to be a duplicate
            words = f"appliance signal {self.name} {signal_of(item)}"
        return f"{words} {self.option} {shlex.quote(text or '…')}" if self.option else words


VERBS: Mapping[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(name="approve", label="Approve", tone="good",
             will="The item goes on from where it stopped. What it ships afterwards is on the server's branch "
                  "and can only be reverted, not unsaid."),
        Verb(name="answer", label="Answer", option="--text", asks="Your answer", tone="good",
             will="The answer is added to the item, and the stage that asked runs again with it."),
        Verb(name="retry", label="Retry", will="The item starts again at the stage that stopped."),
        Verb(name="merge", label="It is a duplicate", option="--into", asks="The item that says the same", short=True,
             will="The item ends as a duplicate. The other one carries on for both."),
        Verb(name="take", label="Take over",
             will="The line stops working on the item, and you make the change: fetch the commit it stands on, hand in "
                  "a patch, and it goes through the same gates. You can give the item back at any time."),
        Verb(name="give_back", label="Give it back", tone="plain",
             will="The line goes on with the item where it stood. A patch that was handed in is dropped."),
        Verb(name="split", label="It is no duplicate", option="--why", asks="Why",
             will="The item sets out anew from triage, which takes it for a duplicate of that one no more."),
        Verb(name="reject", label="Reject", option="--why", asks="Why", tone="bad",
             will="The item ends as rejected and its change is dropped. The reason is kept and shown to later work."),
        Verb(name="cancel", label="Cancel", tone="bad",
             will="The item ends as cancelled. Nothing more is done for it."),
    )
}  # fmt: skip


def offered(item: WorkItem) -> list[Verb]:
    """The commands the item's state allows, in the order they are shown."""
    legal = [verb for name, verb in VERBS.items() if item.state in LEGAL[name]]
    return [verb for verb in legal if verb.name not in _pointless(item)]


def may_write(item: WorkItem, verb: str) -> bool:
    """May a person change its plan (`plan`), or hand a patch in (`hand_in`)?"""
    return item.state in WRITTEN[verb] and not _landed(item)


def _pointless(item: WorkItem) -> set[str]:
    """What the line would refuse, though the state allows it."""
    hidden: set[str] = set() if approvable(item) else {"approve"}
    hidden |= {"approve", "answer", "retry"} if held(item) else set()
    hidden |= {"take"} if item.taken_by or _landed(item) else set()
    return hidden if item.taken_by else hidden | {"give_back"}


def _landed(item: WorkItem) -> bool:
    return item.release is not None and not item.release.reverted_by


def approvable(item: WorkItem) -> bool:
    """Is there something to approve: a change that waits at a gate? Elsewhere the line would refuse the request."""
    return item.change is not None and item.stage in APPROVABLE
