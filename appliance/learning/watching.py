"""Whether first tries hold less often since a policy was promoted: Wald's sequential probability ratio test (1945).

It may be looked at after every outcome: however often, a policy that is as good as what was before is taken back in
about one case in twenty (`ERRS`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from appliance.errors import NotFound
from appliance.events import Fact
from appliance.learning.policies import SUBJECT, Policies
from appliance.learning.routing import FIRST_TRIES
from appliance.ledger import Ledger

WORSE = 0.15
"""The fall of the share that holds which is looked for."""
ERRS = 0.05
BEFORE, LEAST_BEFORE = 200, 20
"""First tries before the promotion that are compared with: the newest, and how many there must be."""
LEAST_SINCE = 10
"""First tries since the promotion before anything is said: what was usual is an estimate too."""

Ask = Callable[[str, dict[str, Any], float], list[dict[str, Any]]]


def worse(before: Sequence[bool], since: Sequence[bool]) -> str:
    """Why the policy has to go; "" while it may stay. Both oldest first.

    >>> worse([True] * 40, [False] * 10)[:36]
    'of 10 first tries since then, 0 held'
    """
    if len(before) < LEAST_BEFORE:
        return ""
    usual = min(max((1 + sum(before)) / (2 + len(before)), WORSE + 0.05), 0.99)
    lower, evidence = usual - WORSE, 0.0
    for count, held in enumerate(since, start=1):
        evidence += math.log(lower / usual) if held else math.log((1 - lower) / (1 - usual))
        if count >= LEAST_SINCE and evidence >= math.log(1 / ERRS):
            return (
                f"of {count} first tries since then, {sum(since[:count])} held; of {len(before)} before, {sum(before)}"
            )
    return ""


def watch(policies: Policies, ledger: Ledger, ask: Ask, seconds: float) -> str:
    """Take the policy in use back if its rules' first tries hold less often since. Says why; "" when it stays."""
    number = policies.current()
    promoted = next(
        (one for one in reversed(ledger.history(SUBJECT))
         if one.kind == Fact.POLICY_PROMOTED and one.payload.get("version") == number), None,
    )  # fmt: skip
    if not number or promoted is None:
        return ""
    try:
        rules = {one["rule"] for one in policies.read(number)["policy"]["preferences"]}
    except (NotFound, ValueError, KeyError, TypeError):
        return ""  # somebody removed or broke its file: nothing says which rules it was about
    since = datetime.fromisoformat(promoted.at).timestamp()
    tries = [row for row in reversed(ask(FIRST_TRIES, {}, seconds)) if row["rule"] in rules]
    before = [bool(row["held"]) for row in tries if row["at"] < since][-BEFORE:]
    why = worse(before, [bool(row["held"]) for row in tries if row["at"] >= since])
    if why:
        policies.roll_back("learning", why)
    return why
