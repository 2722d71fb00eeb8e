"""What following the learned policy saved, week by week: choices counted, means as the versions say. Pure.

An estimate, not a measurement: each choice that took a version's new first candidate is counted with what that
candidate's first tries took on average (seconds, model-seconds, tokens) against what those of the candidate took that
the rule put first, both as the version was judged. Choices left to chance are not following. Those that went by a
report's meaning (predictors) are not in it either: no such pair of means is known of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from appliance.learning.said import mapping, mappings, text, texts
from appliance.work import Noun

PARTS = ("seconds", "model_seconds", "tokens")


class Saved(Noun):
    """One week (its Monday, UTC). Below nought: the new order takes more, for more that holds."""

    week: str
    choices: int
    seconds: float
    model_seconds: float | None = None
    """None where the versions do not say, like those of older releases; likewise `tokens`."""
    tokens: float | None = None


class Cell(NamedTuple):
    """A place where a version puts another candidate first, and what such a choice spares."""

    rule: str
    language: str
    repo: str
    first: str
    less: Mapping[str, float | None]


def saved(rows: Sequence[Mapping[str, Any]], evaluations: Mapping[int, Any]) -> list[Saved]:
    """Sums of rows of the question `policy_weeks`, in their order; `evaluations` are the versions' own, by number.
    Weeks with no choice to count are absent."""
    known = {number: list(cells(evaluation)) for number, evaluation in evaluations.items()}
    weeks: dict[str, dict[str, Any]] = {}
    for row in rows:
        less = _less(known.get(row["version"], []), row)
        followed = row["choices"] - row["explored"]
        if less is None or not followed:
            continue
        week = weeks.setdefault(row["week"], {"choices": 0, "seconds": 0.0, "model_seconds": None, "tokens": None})
        week["choices"] += followed
        for part in PARTS:
            if (each := less[part]) is not None:
                week[part] = (week[part] or 0.0) + followed * each
    return [Saved(week=week[:10], **_rounded(sums)) for week, sums in weeks.items()]


def cells(evaluation: Any) -> Iterator[Cell]:
    """What an evaluation says, read leniently: versions were written by every release there was. A place whose order
    did not change spares nothing and is told all the same: it may be the exception from a wider one."""
    told = evaluation if isinstance(evaluation, list) else mapping(evaluation).get("rules")
    for one in mappings(told):
        takes = {text(each.get("candidate")): each for each in mappings(one.get("candidates"))}
        order, before = texts(one.get("order")), texts(one.get("before"))
        if one.get("changes") is not True or not order or not before or order[0] == before[0]:
            continue
        new, old = takes.get(order[0], {}), takes.get(before[0], {})
        less = {part: _difference(old.get(part), new.get(part)) for part in PARTS}
        yield Cell(text(one.get("rule")), text(one.get("language")), text(one.get("repo")), order[0], less)


def _difference(old: Any, new: Any) -> float | None:
    figures = [one for one in (old, new) if isinstance(one, int | float) and not isinstance(one, bool)]
    return float(figures[0] - figures[1]) if len(figures) == 2 else None


def _less(known: Sequence[Cell], row: Mapping[str, Any]) -> Mapping[str, float | None] | None:
    """What one such choice spared; None when it did not follow the version, or its times are not known."""
    fitting = [
        one
        for one in known
        if one.rule == row["rule"] and one.repo in (row["repo"], "") and one.language in (row.get("language", ""), "")
    ]
    narrowest = max(fitting, key=lambda one: (bool(one.repo), bool(one.language)), default=None)
    if narrowest is None or narrowest.first != row["chosen"] or narrowest.less["seconds"] is None:
        return None
    return narrowest.less


def _rounded(sums: Mapping[str, Any]) -> dict[str, Any]:
    return {part: round(value, 3) if isinstance(value, float) else value for part, value in sums.items()}
