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
said again      people had to say what was nearly the same as before                            2
context         a prompt was too long for the model                                             2
unusable        an answer of a model could not be used                                          4
cut             an answer of a model was cut at its limit                                       2
again           a model gave the answer again that had just failed                              3
wavering        a model came back to an answer that had failed                                  2
churn           the context was cut down in the middle of an attempt                            2
==============  ==============================================================================  =====

The times are how often it must happen to one item before it counts as a friction of the item. The last five, and some
of `abandoned` (a model gave up), are read from the trajectories that droids leave (`transcripts.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from appliance.events import STAGE_FACTS, Fact
from appliance.learning.said import mapping, mappings, text, whole
from appliance.learning.transcripts import rubs
from appliance.ledger.chain import Recorded
from appliance.work import Kept, Noun

TIMES: Mapping[str, int] = {
    "errors": 3, "repeats": 1, "format": 1, "abandoned": 2, "backtracking": 2, "rephrasing": 3, "said again": 2,
    "context": 2, "unusable": 4, "cut": 2, "again": 3, "wavering": 2, "churn": 2,
}  # fmt: skip

MEANING: Mapping[str, str] = {
    "errors": "a stage failed and was tried again",
    "repeats": "a model gave the same answer with the same result until it was stopped",
    "format": "answers of a model could not be used until it was stopped",
    "abandoned": "an attempt ended without any change that could be tested",
    "backtracking": "the item went back to an earlier stage",
    "rephrasing": "people had to answer or revise",
    "said again": "people had to say what was nearly the same as before",
    "context": "a prompt was too long for the model",
    "unusable": "an answer of a model could not be used",
    "cut": "an answer of a model was cut at its limit",
    "again": "a model gave the answer again that had just failed",
    "wavering": "a model came back to an answer that had failed",
    "churn": "the context was cut down in the middle of an attempt",
}

STAGE_ENDS = {str(fact): stage for stage, fact in STAGE_FACTS.items()}
ORDER = {stage: number for number, stage in enumerate(STAGE_FACTS)}
REPEATED = re.compile(r"the same answer with the same result")
UNUSABLE = re.compile(r"answers in a row could not be used")
TOO_SMALL = re.compile(r"context is too small for the task")
"""How a droid's attempt says why it ended; a test holds them against the droid's own words."""
TOO_LONG = "context_length_exceeded"
STEP = re.compile(r"(trajectory-[0-9a-f]+\.json) step (\d+)$")
WORD = re.compile(r"\w+")
ALIKE = 0.5
LEAST_WORDS = 4
LONGEST, MOST_SAID = 4000, 20
"""Characters of what a person said that are compared, and with how many of what was said before: the newest."""


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


class Told(NamedTuple):
    """A trajectory that a droid's attempt left, and where its events name it."""

    kept: Kept
    model: str
    where: str
    at: str


def trajectories(history: Iterable[Recorded]) -> Iterator[Told]:
    """Those of an item, the oldest first. A name that leads elsewhere is none of ours."""
    for event in history:
        if event.kind != STAGE_FACTS["build"]:
            continue
        for name, told in mapping(event.payload.get("facts")).items():
            kept = mapping(mapping(told).get("trajectory"))
            file = text(kept.get("file"))
            if name.startswith("attempt ") and file and file == PurePosixPath(file).name:
                named = Kept(file=file, sha256=text(kept.get("sha256")))
                yield Told(named, text(told.get("model")) or "a model", f"event {event.seq}, {name}", event.at)


def of_transcript(told: Told, document: bytes) -> list[Sign]:
    """What rubbed in one attempt, step by step."""
    places = {"churn": f"prompts of {told.model}", "abandoned": f"given up by {told.model}"}
    return [
        Sign(kind=rub.kind, place=places.get(rub.kind, f"answers of {told.model}"), at=told.at,
             evidence=f"{told.where}, {told.kept.file} step {rub.step}")
        for rub in rubs(document)
    ]  # fmt: skip


def step_of(evidence: str) -> tuple[str, str] | None:
    """The trajectory and the step that evidence names, for a link to it.

    >>> step_of("event 7, attempt 1, trajectory-ab.json step 3"), step_of("event 7")
    (('trajectory-ab.json', '3'), None)
    """
    named = STEP.search(evidence)
    return (named[1], named[2]) if named else None


def found(
    history: Sequence[Recorded], calls: Iterable[Mapping[str, Any]], transcripts: Iterable[Sign] = ()
) -> list[Friction]:
    """The frictions of one item: from its events, oldest first, its model calls that failed, and what rubbed in its
    trajectories."""
    signs: dict[tuple[str, str], list[Sign]] = {}
    for sign in [*_of_events(history), *_of_calls(calls), *transcripts]:
        signs.setdefault((sign.kind, sign.place), []).append(sign)
    return [
        Friction(kind=kind, place=place, times=len(these), evidence=tuple(one.evidence for one in these[-10:]),
                 at=max(one.at for one in these), words=f"{MEANING[kind]}: {len(these)} times, {place}")
        for (kind, place), these in signs.items()
        if len(these) >= TIMES[kind]
    ]  # fmt: skip


def _of_events(history: Sequence[Recorded]) -> Iterator[Sign]:
    last, said_before = "", list[frozenset[str]]()
    for event in history:
        said, where = event.payload, f"event {event.seq}"
        if event.kind == Fact.STAGE_ERRED:
            yield Sign(kind="errors", place=f"stage {text(said.get('stage'))}", evidence=where, at=event.at)
        elif event.kind == Fact.COMMAND_GIVEN and said.get("verb") in ("answer", "revise"):
            yield Sign(kind="rephrasing", place="questions to people", evidence=where, at=event.at)
            words = frozenset(WORD.findall(text(said.get("text"))[:LONGEST].casefold()))
            if any(alike(words, before) for before in said_before[-MOST_SAID:]):
                yield Sign(kind="said again", place="questions to people", evidence=where, at=event.at)
            said_before.append(words)
        elif event.kind in STAGE_ENDS:
            stage = STAGE_ENDS[event.kind]
            if last and ORDER[stage] < ORDER[last]:
                yield Sign(kind="backtracking", place=f"from {last} to {stage}", evidence=where, at=event.at)
            last = stage
            if stage == "build":
                yield from _of_attempts(mapping(said.get("facts")), where, event.at)


def alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Do two texts say nearly the same? By the share of their words that both have (Jaccard 1901); a word or two, like
    the number of a choice, say nothing.

    >>> alike(frozenset("round the sum not the parts".split()), frozenset("please round the sum and not parts".split()))
    True
    """
    both = len(one & other)
    return both >= LEAST_WORDS and both >= ALIKE * len(one | other)


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
