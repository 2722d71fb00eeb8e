"""The routing rules as cards, and what a changed text would do: checked and tried out before it is saved."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.work import Noun
from control.desk import Desk
from control.own_command import asked

MOST_CALLS = 5000
"""Recorded calls that a changed text is tried on, the newest."""
MOST_BYTES = 16 * 1024 * 1024
"""Read of the end of a spool file for that."""
LIMITS = {"min": "at least", "max": "at most", "from": "from", "to": "until"}
ON_THE_CARD = frozenset({"name", "when", "candidates", "fallback", "objective", "learning"})


class Card(Noun):
    """One rule in words."""

    name: str
    conditions: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    objective: str = ""
    learning: str = ""
    more: tuple[str, ...] = ()


class Warned(Noun):
    """What is odd about a rule, though valid."""

    rule: str
    text: str


def cards(text: str) -> list[Card]:
    """The rules of a text, in order. Raises ValueError when it is not TOML; what is not valid is shown as it is."""
    rules = tomllib.loads(text).get("rule", [])
    return [_card(rule) for rule in rules if isinstance(rule, Mapping)] if isinstance(rules, list) else []


def _card(rule: Mapping[str, Any]) -> Card:
    return Card(
        name=str(rule.get("name", "")),
        conditions=tuple(f"{name.replace('_', ' ')} {in_words(said)}" for name, said in _mapping(rule, "when").items()),
        candidates=_names(rule.get("candidates")),
        fallback=_names(rule.get("fallback")),
        objective=", ".join(f"{name} {said}" for name, said in _mapping(rule, "objective").items()),
        learning=str(rule.get("learning", "observe")),
        more=tuple(
            f"{name.replace('_', ' ')}: {in_words(said)}" for name, said in rule.items() if name not in ON_THE_CARD
        ),
    )


def in_words(said: Any) -> str:
    """A condition's value.

    >>> in_words({"max": 2}), in_words(["repair", "review"])
    ('at most 2', 'repair or review')
    """
    if isinstance(said, Mapping):
        return " ".join(f"{LIMITS.get(name, name)} {in_words(part)}" for name, part in said.items())
    return " or ".join(map(str, said)) if isinstance(said, list) else str(said)


def _mapping(rule: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = rule.get(name)
    return found if isinstance(found, Mapping) else {}


def _names(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def check(desk: Desk, text: str) -> list[Warned]:
    """What is odd about a text. Raises ConfigError with all its faults when it is not valid."""
    with _file(text) as file:
        told = asked(desk, "route", "check", str(file))
    return [Warned(rule=one["rule"], text=one["text"]) for one in told["warnings"]]


def simulate(desk: Desk, text: str) -> dict[str, Any]:
    """What a text would have decided otherwise, of the newest recorded calls. Raises as `check` does."""
    lines = newest_calls(sorted(desk.home.spool.glob("usage-*.jsonl"), reverse=True))
    if not lines:
        check(desk, text)
        return {"calls": 0, "same": 0, "differences": [], "unreadable": []}
    with _file(text) as file, _file("\n".join(lines)) as calls:
        told: dict[str, Any] = asked(desk, "route", "simulate", str(calls), "--rules", str(file), seconds=60.0)
        return told


def newest_calls(files: Sequence[Path], most: int = MOST_CALLS) -> list[str]:
    """The last lines of the spool, oldest first; `files` from the newest."""
    found: list[str] = []
    for file in files:
        if len(found) >= most:
            break
        with file.open("rb") as source:
            size = source.seek(0, 2)
            source.seek(max(0, size - MOST_BYTES))
            lines = source.read().decode("utf-8", "replace").splitlines()
        found = [*lines[1 if size > MOST_BYTES else 0 :][-(most - len(found)) :], *found]
    return found


@contextmanager
def _file(text: str) -> Iterator[Path]:
    """A text as a file that only this process's user reads, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="appliance-routes-") as folder:
        file = Path(folder) / "routes.toml"
        file.write_text(text, encoding="utf-8")
        yield file
