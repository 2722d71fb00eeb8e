"""What the results of a replay show: shares with their intervals, and whether two contenders really differ. Pure.

Intervals are Wilson's (E. B. Wilson, JASA 22, 1927), 95 %. Two contenders who tried the same tasks are compared by the
tasks that only one of them solved, with the exact form of McNemar's test (Psychometrika 12, 1947).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from appliance.line.replay.tasks import Tried

Z = 1.959964
"""Of the normal distribution, for 95 %."""
COSTS: Mapping[str, Callable[[Tried], float]] = {
    "candidates": lambda row: row.tried,
    "tokens": lambda row: row.prompt_tokens + row.completion_tokens,
    "seconds": lambda row: row.seconds,
}
DOUBT = 0.05
"""Chance of error below which a difference is said to be one."""


def wilson(right: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share; all there is (0 to 1) when nothing was tried.

    >>> [round(bound, 3) for bound in wilson(8, 10)]
    [0.49, 0.943]
    """
    if of == 0:
        return 0.0, 1.0
    share, square = right / of, Z * Z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = Z * math.sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def mcnemar(only_one: int, only_other: int) -> float:
    """Chance of so uneven a split of the tasks that only one solved, if both were as good (two-sided, exact).

    >>> mcnemar(0, 6)
    0.03125
    """
    of = only_one + only_other
    tail = sum(math.comb(of, k) for k in range(min(only_one, only_other) + 1))
    return min(1.0, 2 * tail / (1 << of))


def needed() -> int:
    """Tasks that only one contender solves, all the same one, before a difference can be said: 6.

    >>> needed()
    6
    """
    return next(n for n in range(1, 50) if mcnemar(0, n) < DOUBT)


def summary(contender: str, rows: Sequence[Tried]) -> dict[str, Any]:
    """One contender's figures."""
    of = len(rows)
    shares = {
        name: {"right": count, "of": total, "share": round(count / total, 4) if total else None,
               "interval": [round(bound, 4) for bound in wilson(count, total)]}
        for name, count, total in (
            ("first", sum(row.first for row in rows), of),
            ("selected", sum(row.selected for row in rows), of),
            ("false_accepts", sum(row.wrong for row in rows), sum(row.selected or row.wrong for row in rows)),
        )
    }  # fmt: skip
    return {
        "contender": contender, "models": sorted({row.model for row in rows if row.model}), "tasks": of, **shares,
        "asked": sum(row.outcome == "ambiguous" for row in rows), "errors": sum(row.outcome == "error" for row in rows),
        "held_back": sum(row.held > 0 for row in rows), "candidates": sum(row.tried for row in rows),
        "tokens": sum(row.prompt_tokens + row.completion_tokens for row in rows),
        "model_seconds": round(sum(row.model_seconds for row in rows), 2),
        "seconds": round(sum(row.seconds for row in rows), 2),
    }  # fmt: skip


def comparison(one: str, other: str, rows: Iterable[Tried]) -> dict[str, Any]:
    """Two contenders on the tasks that both tried."""
    by: dict[str, dict[str, Tried]] = {one: {}, other: {}}
    for row in rows:
        by.get(row.contender, {})[row.task] = row
    both = sorted(by[one].keys() & by[other].keys())
    spent = {
        name: [round(sum(cost(by[who][task]) for task in both), 3) for who in (one, other)]
        for name, cost in COSTS.items()
    }
    only_one = sum(by[one][task].selected and not by[other][task].selected for task in both)
    only_other = sum(by[other][task].selected and not by[one][task].selected for task in both)
    return {
        "one": one, "other": other, "tasks": len(both), "only_one": only_one, "only_other": only_other,
        "both": sum(by[one][task].selected and by[other][task].selected for task in both),
        "p": round(mcnemar(only_one, only_other), 5), "spent": spent,
        "words": "; ".join([verdict(one, other, only_one, only_other, len(both)), *dearer(one, spent)]),
    }  # fmt: skip


def dearer(one: str, spent: Mapping[str, Sequence[float]]) -> list[str]:
    """How much more or less the first took than the second on the tasks that both tried, in words.

    >>> dearer("new", {"candidates": [60, 100], "tokens": [0, 0]})
    ['new took 40 % fewer candidates (60 against 100)']
    """
    return [
        f"{one} took {abs(100 * mine / theirs - 100):.0f} % {'more' if mine > theirs else 'fewer'} {name} "
        f"({mine:g} against {theirs:g})"
        for name, (mine, theirs) in spent.items()
        if theirs and mine != theirs
    ]


def verdict(one: str, other: str, only_one: int, only_other: int, tasks: int) -> str:
    """What a comparison says, in words.

    >>> verdict("new", "old", 7, 0, 20)
    'new is better: it alone solved 7 of 20 tasks, old alone 0 (a chance of 0.016 if both were as good)'
    """
    p = mcnemar(only_one, only_other)
    split = f"alone solved {only_one} of {tasks} tasks, {other} alone {only_other}"
    if p < DOUBT and only_one > only_other:
        return f"{one} is better: it {split} (a chance of {p:.2g} if both were as good)"
    if p < DOUBT:
        return f"{other} is better: {one} {split} (a chance of {p:.2g} if both were as good)"
    if only_one + only_other < needed():
        return (
            f"too little to say: {one} {split}, and {needed()} tasks that only one solves are the least that can show "
            "a difference"
        )
    return f"no difference can be shown: {one} {split} (a chance of {p:.2g} if both were as good)"


def in_words(figures: Mapping[str, Any]) -> list[str]:
    """One contender's figures, for people."""
    name, of = figures["contender"], figures["tasks"]
    models = f" ({', '.join(figures['models'])})" if figures["models"] else ""
    lines = [f"{name}{models}: {of} tasks"]
    for key, words in (("first", "right at the first answer"), ("selected", "right in what it would ship")):
        lines.append(f"  {words}: {share(figures[key])}")
    lines.append(f"  shipped though wrong (false accepts): {share(figures['false_accepts'])}")
    if figures["held_back"] < of:
        lines.append(
            f"  for {of - figures['held_back']} task(s) no failing test could be held back, so less would show"
        )
    lines.append(
        f"  {figures['candidates']} candidates tested, {figures['tokens']} tokens, {figures['model_seconds']:.1f} s of "
        f"models, {figures['seconds']:.1f} s in all; {figures['asked']} times it would have asked a person; "
        f"{figures['errors']} errors"
    )
    return lines


def share(row: Mapping[str, Any]) -> str:
    """A share in words.

    >>> share({"right": 8, "of": 10, "share": 0.8, "interval": [0.49, 0.943]})
    '8 of 10, 80 % (95 % sure: 49 to 94 %)'
    """
    if not row["of"]:
        return "nothing to say yet"
    low, high = row["interval"]
    return (
        f"{row['right']} of {row['of']}, {100 * row['share']:.0f} % (95 % sure: {100 * low:.0f} to {100 * high:.0f} %)"
    )
