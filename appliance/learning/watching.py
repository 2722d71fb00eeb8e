"""Whether first tries hold less often since a policy was promoted: Page's cumulative sum (1954, "Continuous inspection
schemes"), which forgets a good time and so notices a fall whenever it comes, a model that gets worse months later too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from appliance.errors import NotFound
from appliance.events import Fact
from appliance.learning.policies import SUBJECT, Policies
from appliance.learning.routing import FIRST_TRIES, Place, order_at
from appliance.ledger import Ledger

WORSE = 0.15
"""The fall of the share that holds which is looked for."""
ALARM = 6.0
"""The sum (of log-likelihood ratios) at which a policy has to go. Simulated: one that is as good as what was before is
taken back within 1,000 first tries in about one case in ten; a fall by 0.15 is noticed after 40 to 110, one by 0.4
after 13 to 30."""
BEFORE, LEAST_BEFORE = 200, 20
"""First tries before the promotion that are compared with where the policy promised nothing: the newest, and how many
there must be."""
LEAST_SINCE = 10
"""First tries since the promotion before anything is said: what is expected is an estimate too."""

Ask = Callable[[str, dict[str, Any], float], list[dict[str, Any]]]


def worse(tries: Sequence[tuple[float, bool]]) -> str:
    """Why the policy has to go; "" while it may stay. Of each first try since its promotion, the oldest first: the
    chance that it was expected to hold with, and whether it held.

    >>> worse([(0.95, True)] * 300 + [(0.95, False)] * 6)
    'of the last 5 first tries 0 held, where 4.8 were expected'
    """
    evidence, turn = 0.0, 0
    for count, (expected, held) in enumerate(tries, start=1):
        usual = min(max(expected, WORSE + 0.05), 0.99)
        lower = usual - WORSE
        evidence += math.log(lower / usual) if held else math.log((1 - lower) / (1 - usual))
        if evidence <= 0:
            evidence, turn = 0.0, count
        if count >= LEAST_SINCE and evidence >= ALARM:
            lately = tries[turn:count]
            return (
                f"of the last {len(lately)} first tries {sum(held for _, held in lately)} held, "
                f"where {sum(chance for chance, _ in lately):.1f} were expected"
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
        told = policies.read(number)
        about = [*told["policy"]["preferences"], *(told["policy"].get("predictors") or ())]
        rules, likely = {one["rule"] for one in about}, expected(told["evaluation"], told.get("prospects") or ())
    except (NotFound, ValueError, KeyError, TypeError):
        return ""  # somebody removed or broke its file: nothing says which rules it was about
    since = datetime.fromisoformat(promoted.at).timestamp()
    tries = [row for row in reversed(ask(FIRST_TRIES, {}, seconds)) if row["rule"] in rules]
    before = [bool(row["held"]) for row in tries if row["at"] < since][-BEFORE:]
    usual = (1 + sum(before)) / (2 + len(before)) if len(before) >= LEAST_BEFORE else None
    since_then = [row for row in tries if row["at"] >= since]
    foreseen = [order_at(likely, row["rule"], row["language"], row["repo"]) for row in since_then]
    chances = (
        (usual if chance is None else chance, bool(row["held"]))
        for row, chance in zip(since_then, foreseen, strict=True)
    )
    why = worse([(chance, held) for chance, held in chances if chance is not None])
    if why:
        policies.roll_back("learning", why)
    return why


def expected(
    evaluation: Sequence[Mapping[str, Any]], prospects: Sequence[Mapping[str, Any]] = ()
) -> dict[Place, float]:
    """Place → the least chance that a first try was promised to hold with, by what the policy was published on: a
    policy may well give up quality for cost, and then says so. Where reports' meaning decides, it decides in the whole
    rule."""
    found = {}
    for cell in evaluation:
        known = {one["candidate"]: one for one in cell["candidates"]}
        chosen = known.get(cell["order"][0]) if cell["order"] else None
        if chosen:
            place = Place(cell["rule"], cell.get("language", ""), cell["repo"])
            found[place] = float(chosen["quality"]) - float(chosen["unsure"])
    for one in prospects:
        if one["foresees"]:
            found = {place: chance for place, chance in found.items() if place.rule != one["rule"]}
            spread = math.sqrt(one["quality"] * (1 - one["quality"]) / one["tries"])
            found[Place(one["rule"])] = float(one["quality"]) - spread
    return found
