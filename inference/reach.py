"""Which calls a rule can ever get: rules that never can, and rules that quarrel over the same calls. Pure.

The calls there are, seen by the rules, are a box: one side for each condition, and on each side the few values that
rules tell apart (a value they name, or any other; a number at each of their bounds; a minute at each of their hours).
A rule is a smaller box in it. What is left of a rule after all boxes before it are cut away is what it gets. Whether a
value fulfils a condition is asked of `mismatches`, which decides at run time too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any, Literal

from appliance.work import Noun
from inference.asked import NEEDS, RouteRequest, Sensitivity
from inference.catalogue import SEARCH, WILDCARD, Catalogue
from inference.conditions import DAY_MINUTES, NUMBERS, PATTERNS, WORDS, When, mismatches, nearest
from inference.rules import Rule, Rules

MAX_PIECES = 2_000
"""A rule whose rest falls into more pieces is taken to be reachable."""
STAGES = ("signal", "triage", "plan", "build", "test", "review", "secure", "ship", "monitor", "learn")
OTHER = "\N{WHITE SMALL SQUARE}other"
"""A word that no rule names."""
MONDAY = datetime(2026, 1, 5)
STAND_INS = ("", "x", "\N{WHITE SMALL SQUARE}" * 9)
"""What `*` of a pattern may stand for."""

Box = tuple[int, ...]
"""For each condition, in the order of When's fields, the values it takes, as bits."""


class Finding(Noun):
    """Something about a rule that its author should know."""

    rule: str
    kind: Literal["unreachable", "overlap", "nobody", "unknown"]
    text: str


def review(rules: Rules, catalogue: Catalogue, known: Mapping[str, Collection[str]]) -> list[Finding]:
    """All findings. `known`: for `team`, `key` and `repo` the names there are, as far as they can be known."""
    return [*unreached(rules), *nobody(rules, catalogue), *unknown(rules, {"stage": STAGES, **known})]


def unreached(rules: Rules) -> Iterator[Finding]:
    """Rules that no call can reach, and rules that share calls though neither is the exception from the other."""
    sides = {name: _values(name, rules.rule) for name in When.model_fields}
    boxes = {rule.name: _box(rule.when, sides) for rule in rules.rule}
    reached = []
    for n, rule in enumerate(rules.rule):
        takers = _takers(boxes[rule.name], [(one.name, boxes[one.name]) for one in rules.rule[:n]])
        if takers is None:
            reached.append(rule)
            continue
        by = " and ".join(repr(name) for name in takers)
        why = f"{by} before it take all of them" if takers else "its conditions never hold"
        yield Finding(rule=rule.name, kind="unreachable", text=f"no call reaches it: {why}")
    for first, second in combinations(reached, 2):
        shared = tuple(a & b for a, b in zip(boxes[first.name], boxes[second.name], strict=True))
        if not all(shared) or shared in (boxes[first.name], boxes[second.name]) or _alike(first, second):
            continue
        call = _example(shared, (first.when, second.when), sides)
        text = f"shares calls with {first.name!r}, which comes first and decides them; for example {call}"
        yield Finding(rule=second.name, kind="overlap", text=text)


def nobody(rules: Rules, catalogue: Catalogue) -> Iterator[Finding]:
    """Rules about a task for which nobody they name is admitted."""
    for rule in rules.rule:
        for task in rule.when.task:
            if not any(_may(name, task, catalogue) for name in (*rule.candidates, *rule.fallback)):
                text = f"nobody it names is admitted for {task!r}; `appliance model list` shows who is"
                yield Finding(rule=rule.name, kind="nobody", text=text)


def unknown(rules: Rules, known: Mapping[str, Collection[str]]) -> Iterator[Finding]:
    """Names in conditions that nothing on this box has."""
    for rule in rules.rule:
        for condition, names in known.items():
            for pattern in getattr(rule.when, condition):
                if not any(fnmatchcase(name, pattern) for name in names):
                    near = nearest(pattern, names)
                    text = f"there is no {condition} {pattern!r}" + (f"; {near}" if near else "")
                    yield Finding(rule=rule.name, kind="unknown", text=text)


def _may(name: str, task: str, catalogue: Catalogue) -> bool:
    if name == WILDCARD:
        return any(task in entry.tasks for entry in catalogue)
    entry = catalogue.find(name)
    return task == "repair" if name == SEARCH else entry is not None and task in entry.tasks


def _alike(first: Rule, second: Rule) -> bool:
    """Whether it makes no difference which of them decides."""
    return first.model_copy(update={"name": "", "when": When()}) == second.model_copy(
        update={"name": "", "when": When()}
    )


def _values(name: str, rules: Sequence[Rule]) -> list[Any]:
    """The values of one side of the box: enough to tell all rules apart."""
    stated = [value for rule in rules if (value := getattr(rule.when, name))]
    if name in WORDS:
        return [*sorted({word for words in stated for word in words}), OTHER]
    if name in PATTERNS:
        made = (pattern.replace("*", stand_in) for words in stated for pattern in words for stand_in in STAND_INS)
        return [*sorted(set(made)), OTHER]
    if name in NUMBERS:
        bounds = {bound for span in stated for bound in (span.min, (span.max or 0) + 1) if bound is not None}
        return sorted(n for n in {0, 1, *bounds} if name != "severity" or n <= 4)
    if name == "needs":
        return [subset for size in range(len(NEEDS) + 1) for subset in combinations(NEEDS, size)]
    if name == "sensitivity":
        return list(Sensitivity)
    minutes = {0, *(edge % DAY_MINUTES for hours in stated for edge in (hours.begin, hours.end))}
    return [None, *(MONDAY + timedelta(days=day, minutes=minute) for day in range(7) for minute in sorted(minutes))]


def _box(when: When, sides: Mapping[str, Sequence[Any]]) -> Box:
    return tuple(_bits(when, name, values) for name, values in sides.items())


def _bits(when: When, name: str, values: Sequence[Any]) -> int:
    """The values of one side that fulfil a rule's condition."""
    alone = When.model_construct(**{name: getattr(when, name)})
    if not getattr(when, name):
        return (1 << len(values)) - 1
    field = "at" if name == "time" else name
    asked = (RouteRequest.model_construct(**{field: value}) for value in values)
    return sum(1 << n for n, request in enumerate(asked) if next(mismatches(alone, request), None) is None)


def _takers(box: Box, before: Iterable[tuple[str, Box]]) -> list[str] | None:
    """The rules that take everything of a box, none for a box that holds nothing; None when something is left."""
    if not all(box):
        return []
    pieces, takers = [box], []
    for name, taken in before:
        if not all(mine & theirs for mine, theirs in zip(box, taken, strict=True)):
            continue
        left = [rest for piece in pieces for rest in without(piece, taken)]
        if left != pieces:
            takers.append(name)
        pieces = left
        if not pieces:
            return takers
        if len(pieces) > MAX_PIECES:
            return None
    return None


def without(box: Box, taken: Box) -> list[Box]:
    """What is left of a box, as boxes that share nothing.

    >>> without((0b11, 0b11), (0b01, 0b01))
    [(2, 3), (1, 2)]
    """
    if not all(mine & theirs for mine, theirs in zip(box, taken, strict=True)):
        return [box]
    pieces, rest = [], list(box)
    for n, theirs in enumerate(taken):
        if left := rest[n] & ~theirs:
            pieces.append((*rest[:n], left, *rest[n + 1 :]))
        rest[n] &= theirs
    return pieces


def _example(box: Box, whens: tuple[When, When], sides: Mapping[str, Sequence[Any]]) -> str:
    """A call in the box, told by the conditions that the two rules state."""
    told = []
    for bits, (name, values) in zip(box, sides.items(), strict=True):
        if any(getattr(when, name) for when in whens):
            value = values[(bits & -bits).bit_length() - 1]
            told.append(f"{name} {_in_words(value)}")
    return ", ".join(told)


def _in_words(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%a %H:%M")
    if isinstance(value, Sensitivity):
        return value.name
    return " and ".join(value) if isinstance(value, tuple) else str(value)
