"""Frictions: where work on an item rubbed. Found in its events and in its model calls, each with the evidence. Pure.

==============  ==============================================================================  =====
kind            what it is                                                                      times
==============  ==============================================================================  =====
errors          a stage of the item failed and was tried again                                  3
repeats         a model gave the same answer with the same result until it was stopped          1
format          a model's answers could not be used until it was stopped                        1
abandoned       a droid's attempt ended without any change that could be tested                 2
backtracking    the item went back to an earlier stage                                          2
rephrasing      people had to answer or revise                                                  3
context         a prompt was too long for the model                                             2
==============  ==============================================================================  =====

The times are how often it must happen to one item before it counts as a friction of the item.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from appliance.events import STAGE_FACTS, Fact
from appliance.learning.said import mapping, mappings, text, whole
from appliance.ledger.chain import Recorded
from appliance.work import Noun

TIMES: Mapping[str, int] = {
    "errors": 3, "repeats": 1, "format": 1, "abandoned": 2, "backtracking": 2, "rephrasing": 3, "context": 2,
}  # fmt: skip

MEANING: Mapping[str, str] = {
    "errors": "a stage failed and was tried again",
    "repeats": "a model gave the same answer with the same result until it was stopped",
    "format": "answers of a model could not be used until it was stopped",
    "abandoned": "an attempt ended without any change that could be tested",
    "backtracking": "the item went back to an earlier stage",
    "rephrasing": "people had to answer or revise",
    "context": "a prompt was too long for the model",
}

STAGE_ENDS = {str(fact): stage for stage, fact in STAGE_FACTS.items()}
ORDER = {stage: number for number, stage in enumerate(STAGE_FACTS)}
REPEATED = re.compile(r"the same answer with the same result")
UNUSABLE = re.compile(r"answers in a row could not be used")
TOO_SMALL = re.compile(r"context is too small for the task")
"""How a droid's attempt says why it ended; a test holds them against the droid's own words."""
TOO_LONG = "context_length_exceeded"


class Sign(Noun):
    """One thing that happened, which may become a friction when it happens again."""

    kind: str
    place: str
    evidence: str
    at: str = ""


class Friction(Noun):
    """A kind of friction at one place of one item."""

    kind: str
    place: str
    times: int
    evidence: tuple[str, ...]
    at: str = ""
    words: str


def found(history: Sequence[Recorded], calls: Iterable[Mapping[str, Any]]) -> list[Friction]:
    """The frictions of one item, from its events, oldest first, and its model calls that failed."""
    signs: dict[tuple[str, str], list[Sign]] = {}
    for sign in [*_of_events(history), *_of_calls(calls)]:
        signs.setdefault((sign.kind, sign.place), []).append(sign)
    return [
        Friction(kind=kind, place=place, times=len(these), evidence=tuple(one.evidence for one in these[-10:]),
                 at=max(one.at for one in these), words=f"{MEANING[kind]}: {len(these)} times, {place}")
        for (kind, place), these in signs.items()
        if len(these) >= TIMES[kind]
    ]  # fmt: skip


def _of_events(history: Sequence[Recorded]) -> Iterator[Sign]:
    last = ""
    for event in history:
        said, where = event.payload, f"event {event.seq}"
        if event.kind == Fact.STAGE_ERRED:
            yield Sign(kind="errors", place=f"stage {text(said.get('stage'))}", evidence=where, at=event.at)
        elif event.kind == Fact.COMMAND_GIVEN and said.get("verb") in ("answer", "revise"):
            yield Sign(kind="rephrasing", place="questions to people", evidence=where, at=event.at)
        elif event.kind in STAGE_ENDS:
            stage = STAGE_ENDS[event.kind]
            if last and ORDER[stage] < ORDER[last]:
                yield Sign(kind="backtracking", place=f"from {last} to {stage}", evidence=where, at=event.at)
            last = stage
            if stage == "build":
                yield from _of_attempts(mapping(said.get("facts")), where, event.at)


def _of_attempts(facts: Mapping[str, Any], where: str, at: str) -> Iterator[Sign]:
    for name, told in facts.items():
        if not name.startswith("attempt ") or not isinstance(told, Mapping) or told.get("strategy") != "droid":
            continue
        place, detail = f"build by {text(told.get('model')) or 'a model'}", text(told.get("detail"))
        sign = {"place": place, "evidence": f"{where}, {name}", "at": at}
        if REPEATED.search(detail):
            yield Sign(kind="repeats", **sign)
        elif UNUSABLE.search(detail):
            yield Sign(kind="format", **sign)
        elif TOO_SMALL.search(detail):
            yield Sign(kind="context", **{**sign, "place": sign["place"].replace("build by", "prompts of")})
        elif not whole(told.get("tried")) and told.get("outcome") != "plausible":
            yield Sign(kind="abandoned", **sign)


def _of_calls(calls: Iterable[Mapping[str, Any]]) -> Iterator[Sign]:
    for call in mappings(list(calls)):
        if call.get("error") == TOO_LONG:
            at = text(call.get("at"))
            yield Sign(
                kind="context", place=f"prompts of {text(call.get('model')) or 'a model'}",
                evidence=f"call {text(call.get('call'))}", at=at,
            )  # fmt: skip
