"""What rubbed within one attempt of a droid, read from its trajectory (Agent Trajectory Interchange Format). Pure.

Only kinds, counts and the numbers of steps leave this module, never a word that a model, a report or a repository said:
what is found may be filed, shown and exported.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from appliance.learning.said import mapping, mappings, text, whole

MOST_BYTES = 8 * 1024 * 1024
"""Of a trajectory: a longer one is not read."""
MOST_STEPS = 1000
"""Steps that are looked at, the first."""
OUTCOMES: Mapping[str, str] = {"unusable": "unusable", "cut": "cut", "gave up": "abandoned", "context": "churn"}
"""How a droid names what came of a step (`extra.outcome`) → the kind of friction that this is a sign of."""
PASSED = "passed"


class Rub(NamedTuple):
    """One sign, at one step."""

    kind: str
    step: int


@lru_cache(maxsize=256)
def rubs(document: bytes) -> tuple[Rub, ...]:
    """The signs in a trajectory, in order. An answer that repeats the one before it is `again`; one that comes back
    after others, though it had failed, is `wavering`. What is no trajectory has none."""
    try:
        steps = mappings(mapping(json.loads(document)).get("steps")) if len(document) <= MOST_BYTES else []
    except (ValueError, RecursionError):
        return ()
    return tuple(_of_steps(steps[:MOST_STEPS]))


def _of_steps(steps: list[Mapping[str, Any]]) -> Iterator[Rub]:
    before, last = set[str](), ""
    for step in steps:
        number, outcome = whole(step.get("step_id")), text(mapping(step.get("extra")).get("outcome"))
        if kind := OUTCOMES.get(outcome):
            yield Rub(kind, number)
        if step.get("source") != "agent" or outcome == PASSED:
            continue
        answer = hashlib.sha256(" ".join(text(step.get("message")).split()).encode(errors="replace")).hexdigest()
        if answer in before:
            yield Rub("again" if answer == last else "wavering", number)
        before.add(answer)
        last = answer
