"""Tells forges what they should know of items, and sees what they decided about waiting ones.

What an item's people should see is worked out anew each time (`telling.py`) and compared with what was told; only the
difference is said. A forge that is away is told later, and holds up neither the line nor the other forges: this runs as
a job of its own, for a bounded time.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from appliance.errors import Conflict, FactoryError, NotFound, PolicyRefused, Unavailable
from appliance.ledger import Ledger
from appliance.line.commands import ON_THE_FORGE
from appliance.line.telling import Closing, Comment, Remarks, Status, Telling, Withdrawal, inline, wanted
from appliance.ports import Draft, Forge, Workspace
from appliance.work import Proposal, State, TrackedRepository, WorkItem

log = logging.getLogger("appliance.line")

BUDGET = 20.0
"""Seconds one turn may take; what is left over is told in the next one."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
"""Seconds until a forge that did not answer is told again."""
AT_START = 1000
"""Newest items that a line looks at when it starts: what a killed one did not tell is told then."""
SEEN = "seen"
"""What `told` calls the request as the watch saw it last."""


class Copies(Protocol):
    """What is needed of a mirror: a clone to delete a branch with."""

    def workspace(self, commit: str) -> Workspace: ...


@dataclass
class Away:
    """A repository whose forge did not answer."""

    until: float
    pause: float


class Outgoing:
    """What one ledger's forges are told. For one thread."""

    def __init__(
        self,
        ledger: Ledger,
        forge_of: Callable[[TrackedRepository], Forge],
        mirror_of: Callable[[TrackedRepository], Copies],
        address: str,
    ) -> None:
        self._ledger = ledger
        self._forge_of = forge_of
        self._mirror_of = mirror_of
        self._address = address
        self._seq = -1
        self._due: dict[str, None] = {}
        """Items with news, in the order in which they came."""
        self._away: dict[str, Away] = {}

    def tell(self) -> int:
        """Say what is new; how many items are done with. Ends after BUDGET seconds."""
        self._gather()
        until, told = self._now() + BUDGET, 0
        for id in tuple(self._due):
            if self._now() >= until:
                break
            told += self._tell_of(id)
        return told

    def watch(self) -> None:
        """Look at the requests that items wait for, and have those looked at again where something changed."""
        until = self._now() + BUDGET
        for item in self._ledger.items(states=[State.NEEDS_HUMAN], limit=AT_START):
            waits = item.stage in ON_THE_FORGE and item.proposal and item.proposal.number
            if waits and not self._is_away(item.repo) and self._now() < until:
                self._attempt(item.repo, lambda item=item: self._look(item))  # type: ignore[misc]

    def _gather(self) -> None:
        if self._seq < 0:
            self._seq = self._ledger.tip()[0]
            self._due |= dict.fromkeys(item.id for item in reversed(self._ledger.items(limit=AT_START)))
            return
        while events := self._ledger.tail(self._seq):
            self._seq = events[-1].seq
            self._due |= dict.fromkeys(event.subject for event in events if event.subject.startswith("W-"))

    def _tell_of(self, id: str) -> bool:
        """Bring one item's forge up to date; False when it has to be tried again."""
        try:
            item = self._ledger.item(id)
            tracked = self._ledger.repository(item.repo)
        except NotFound:  # the repository was removed
            self._due.pop(id, None)
            return True
        if self._is_away(item.repo):
            return False
        if self._attempt(item.repo, lambda: self._bring(item, tracked)):
            self._due.pop(id, None)
            return True
        return False

    def _bring(self, item: WorkItem, tracked: TrackedRepository) -> None:
        """Say whatever differs from what was told. Raises as the forge does, with the rest unsaid."""
        told = self._ledger.forges.told(item.id)
        events = [event.payload for event in self._ledger.history(item.id)]
        for one in wanted(item, events, self._address, told):
            if tracked.forge == "plain" and not isinstance(one, Withdrawal):
                continue
            sha256 = hashlib.sha256(one.model_dump_json().encode(errors="replace")).hexdigest()
            if told.get(one.what) == sha256:
                continue
            try:
                self._say(one, item, tracked)
            except (Unavailable, PolicyRefused):
                raise
            except FactoryError as error:  # it will not take this, however often it is said
                log.warning("%s: %s is not told to the forge, %s", item.id, one.what, error.message)
            self._ledger.forges.note_told(item.id, one.what, sha256)

    def _say(self, telling: Telling, item: WorkItem, tracked: TrackedRepository) -> None:
        forge = self._forge_of(tracked)
        match telling:
            case Comment():
                forge.say(telling.origin, telling.mark, telling.text)
            case Status():
                forge.status(telling.commit, telling.gate, telling.verdict, telling.text, telling.url)
            case Remarks():
                forge.review(telling.proposal, telling.findings)
            case Closing():
                forge.close(telling.origin)
            case Withdrawal():
                workspace = self._mirror_of(tracked).workspace(telling.base)
                try:
                    wanted = draft_of(item, telling.proposal, tracked.branch)
                    forge.withdraw(workspace, wanted.with_(over=telling.proposal.commit), telling.why)
                finally:
                    workspace.close()

    def _look(self, item: WorkItem) -> None:
        """Give the command `look` when the request is not as it was seen last."""
        assert item.proposal is not None
        tracked = self._ledger.repository(item.repo)
        seen = self._forge_of(tracked).proposal(draft_of(item, item.proposal, tracked.branch))
        imprint = hashlib.sha256(seen.model_dump_json().encode() if seen else b"").hexdigest()
        before = self._ledger.forges.told(item.id).get(SEEN, "")
        pending = any(one.item == item.id for one in self._ledger.open_commands())
        if before == imprint or pending:
            return
        if before or differs(seen, item.proposal):
            why = inline(in_words(seen))
            try:
                self._ledger.command(item.id, "look", tracked.forge, why)
            except Conflict:  # it does not wait any more
                return
        self._ledger.forges.note_told(item.id, SEEN, imprint)

    def _attempt(self, repo: str, act: Callable[[], None]) -> bool:
        """Do something with a forge; where it does not answer, leave it alone for a while."""
        try:
            act()
        except FactoryError as error:
            before = self._away.get(repo)
            pause = min(LONGEST_PAUSE, before.pause * 2) if before else FIRST_PAUSE
            self._away[repo] = Away(self._now() + pause, pause)
            log.warning("the forge of %s: %s; again in %.0f s (%s)", repo, error.message, pause, error.hint)
            return False
        self._away.pop(repo, None)
        return True

    def _is_away(self, repo: str) -> bool:
        away = self._away.get(repo)
        return away is not None and self._now() < away.until

    def _now(self) -> float:
        return self._ledger.clock.monotonic()


def draft_of(item: WorkItem, proposal: Proposal, target: str) -> Draft:
    """Enough of a draft to find the request by."""
    return Draft(item=item.id, branch=proposal.branch, target=target, title=item.title, text="")


def differs(seen: Proposal | None, known: Proposal) -> bool:
    """Is a request otherwise than the item knows it? Approvals, too, are news."""
    return seen is None or seen.with_(url="") != known.with_(url="")


def in_words(seen: Proposal | None) -> str:
    """How a request stands, in a few words."""
    if seen is None:
        return "its request is not there any more"
    approved = f"approved by {', '.join(seen.approved_by)}" if seen.approved_by else "approved by nobody"
    owed = f"; it waits: {'; '.join(seen.blockers)}" if seen.blockers else ""
    return f"its request is {seen.state}, {approved}{owed}"
