"""New arguments from old ones: values like those the tests used, but moved, cut, emptied, doubled or swapped."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any

Arguments = dict[str, Any]
Pool = Mapping[type, Sequence[Any]]
"""Objects at hand by their class: what earlier calls made."""

WORDS = ("", "a", "A", "0", " ", "ab", "a b", "Zz", "é", "-1", "a,b", "\n", "x" * 12)
NUMBERS = (0, 1, -1, 2, 3, 7, 10, 100, -5)


def vary(seen: Sequence[Arguments], literals: Sequence[Any], rng: random.Random, pool: Pool) -> Arguments:
    """Arguments that are, most often, one or two changes away from one of `seen`. An object cannot be changed; another
    of its class stands in for it (Pacheco et al. 2007, "Feedback-directed random test generation")."""
    arguments = copied(rng.choice(seen))
    names = [name for name in arguments if changeable(arguments[name]) or type(arguments[name]) in pool]
    for name in rng.sample(names, min(len(names), rng.choice((1, 1, 1, 2, 3)))):
        value = arguments[name]
        if changeable(value):
            others = [other[name] for other in seen if name in other]
            arguments[name] = changed(value, literals, others, rng)
        else:
            arguments[name] = copied({"": rng.choice(pool[type(value)])})[""]
    return arguments


def copied(arguments: Arguments) -> Arguments:
    """A deep copy; a value that cannot be copied is shared."""
    try:
        return copy.deepcopy(arguments)
    except Exception:
        return dict(arguments)


def changeable(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | bytes | list | tuple | dict | set | frozenset)


def changed(value: Any, literals: Sequence[Any], others: Sequence[Any], rng: random.Random, depth: int = 3) -> Any:
    """A value of the same kind, most often."""
    if others and rng.random() < 0.15:
        return copied({"": rng.choice(others)})[""]
    same = [literal for literal in literals if type(literal) is type(value)]
    if same and not isinstance(value, str | bytes) and rng.random() < 0.2:
        return rng.choice(same)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice(
            (value + 1, value - 1, -value, value * 2, value // 2, rng.choice(NUMBERS), rng.randint(-20, 120))
        )
    if isinstance(value, float):
        return rng.choice((value + 1, value - 0.5, -value, value * 2, value / 2, 0.0, 1.0, float(round(value))))
    if isinstance(value, str):
        return _text(value, [literal for literal in same if isinstance(literal, str)], rng)
    if isinstance(value, bytes):
        return _text(value.decode("latin-1"), [], rng).encode("latin-1", "replace")
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(_sequence(list(value), literals, rng, depth))
    if isinstance(value, set | frozenset):
        return type(value)(_sequence(sorted(value, key=repr), literals, rng, depth))
    if isinstance(value, dict):
        return _mapping(value, literals, rng, depth)
    return rng.choice([None, *same]) if value is None else value


def _text(value: str, literals: Sequence[str], rng: random.Random) -> str:
    at = rng.randint(0, len(value))
    to = min(len(value), at + rng.randint(1, 3))
    piece = rng.choice([*literals, *WORDS]) if literals else rng.choice(WORDS)
    return rng.choice(
        (
            value[:at] + value[to:],
            value[:at] + piece + value[at:],
            value[:at] + piece + value[to:],
            value[:at],
            value[at:],
            value + value,
            value[::-1],
            value.swapcase(),
            value.upper(),
            value + piece,
            piece + value,
            piece,
            value[:at] + value[at:to] * 2 + value[to:],
            value.replace(" ", ""),
            f" {value} ",
            "".join(rng.sample(value, len(value))),
        )
    )


def _sequence(value: list[Any], literals: Sequence[Any], rng: random.Random, depth: int) -> list[Any]:
    move = rng.randrange(9)
    if not value:
        return [rng.choice([*NUMBERS[:4], *literals])] if move < 4 else []
    at = rng.randrange(len(value))
    if move == 0:
        return value[:at] + value[at + 1 :]
    if move == 1:
        return [*value[:at], value[at], *value[at:]]
    if move == 2:
        return value[::-1]
    if move == 3:
        return rng.sample(value, len(value))
    if move == 4:
        return value[:at]
    if move == 5:
        return value + value
    if move == 6:
        return value[at : at + 1]
    if depth and changeable(value[at]):
        return [*value[:at], changed(value[at], literals, value, rng, depth - 1), *value[at + 1 :]]
    return []


def _mapping(value: dict[Any, Any], literals: Sequence[Any], rng: random.Random, depth: int) -> dict[Any, Any]:
    result = dict(value)
    if not result or rng.random() < 0.1:
        return {}
    key = rng.choice(list(result))
    move = rng.random()
    if move < 0.3:
        del result[key]
    elif move < 0.45:
        result = dict(reversed(result.items()))
    elif depth and changeable(result[key]):
        result[key] = changed(result[key], literals, list(result.values()), rng, depth - 1)
    return result
