"""What may be said of an item, and in which states. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.errors import Conflict
from appliance.work import ENDED, State

_UNDER_WAY = frozenset(State) - ENDED - {State.SHIPPED, State.MONITORED}
_TRIAGED = _UNDER_WAY - {State.RECEIVED}

LEGAL: Mapping[str, frozenset[State]] = {
    "approve": frozenset({State.NEEDS_HUMAN}),
    "answer": frozenset({State.NEEDS_HUMAN}),
    "retry": frozenset({State.NEEDS_HUMAN, State.FAILED, State.REJECTED, State.CANCELLED, State.ROLLED_BACK}),
    "take": _TRIAGED,
    "give_back": frozenset({State.NEEDS_HUMAN}),
    "merge": _UNDER_WAY,
    "split": frozenset({State.DUPLICATE}),
    "reject": _UNDER_WAY,
    "cancel": _UNDER_WAY,
}
"""verb → states in which a person may say it. What is on the server's branch can no longer be cancelled."""

WRITTEN: Mapping[str, frozenset[State]] = {
    "plan": frozenset({State.TRIAGED, State.PLANNED, State.NEEDS_HUMAN}),
    "hand_in": _TRIAGED,
}
"""The same for what a person writes on a page of its own: a plan, a patch (see appliance/by_hand.py)."""

TOLD: Mapping[str, frozenset[State]] = {
    "look": frozenset({State.NEEDS_HUMAN}),
    "revise": frozenset({State.NEEDS_HUMAN}),
    "observe": _UNDER_WAY,
}
"""The same for what a forge tells of an item's merge request; no button says these (see appliance/line/commands.py)."""


def check_legal(verb: str, item_id: str, state: State) -> None:
    """Raises Conflict when a person may not say `verb` of an item in this state."""
    legal = {**LEGAL, **WRITTEN, **TOLD}[verb]
    if state not in legal:
        named = ", ".join(sorted(str(one) for one in legal))
        raise Conflict(f"{item_id} is {state}: it cannot be given {verb!r}", f"{verb} needs one of: {named}")
