"""Calls that were recorded, decided again by other rules: what would differ. Pure.

A record is one line of JSON. Three kinds are understood: a line of `spool/usage-*.jsonl`, which says under `asked`
what the router was asked; an older one without `asked`, which says part of it; and the facts of a call alone, as
`/v1/route` takes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import Field, ValidationError

from appliance.work import Noun
from inference.asked import RouteRequest
from inference.catalogue import Catalogue
from inference.policy import RULES_ALONE, Learned
from inference.router import Decision, decide
from inference.rules import Rules

EXAMPLES = 3
"""Records named for each difference."""
OLDER = ("task", "stage", "repo", "prompt_tokens")
"""What a usage line without `asked` says of its call."""


class Record(Noun):
    """One recorded call."""

    name: str = Field(description="its id, else the number of its line")
    request: RouteRequest


class Side(Noun):
    """What rules make of a call."""

    rule: str
    candidates: tuple[str, ...]
    refusal: str = ""
    actions: dict[str, Any] = Field(default_factory=dict, description="retry, parameters, queue_seconds, as far as set")

    @classmethod
    def of(cls, decision: Decision) -> Side:
        actions = {
            "retry": decision.retry.model_dump(mode="json") if decision.retry else None,
            "parameters": decision.parameters.model_dump(mode="json", exclude_defaults=True),
            "queue_seconds": decision.queue_seconds,
        }
        return cls(rule=decision.rule, candidates=decision.candidates, refusal=decision.refusal,
                   actions={name: value for name, value in actions.items() if value not in (None, {})})  # fmt: skip


class Difference(Noun):
    """Calls for which it makes the same difference."""

    before: Side
    after: Side
    calls: int
    examples: tuple[str, ...]

    @property
    def what(self) -> str:
        """What kind of difference it is, the gravest first."""
        if bool(self.before.candidates) != bool(self.after.candidates):
            return "refused from now on" if self.before.candidates else "no longer refused"
        if self.before.candidates[:1] != self.after.candidates[:1]:
            return "another model first"
        if self.before.candidates != self.after.candidates:
            return "other models after the first"
        return "other actions" if self.before.actions != self.after.actions else "another rule, the same models"


class Simulation(Noun):
    """All that would differ."""

    calls: int
    same: int
    differences: tuple[Difference, ...] = ()
    unreadable: tuple[str, ...] = Field((), description="lines that are no records, and why")


def simulate(
    lines: Iterable[str], before: Rules, after: Rules, catalogue: Catalogue, learned: Learned = RULES_ALONE
) -> Simulation:
    """Decide every record by both rules."""
    unreadable: list[str] = []
    groups: dict[str, tuple[Side, Side, list[str]]] = {}
    calls = same = 0
    for record in records(lines, unreadable):
        calls += 1
        old, new = (Side.of(decide(record.request, rules, catalogue, learned)) for rules in (before, after))
        if old == new:
            same += 1
            continue
        key = f"{old.model_dump_json()} {new.model_dump_json()}"
        groups.setdefault(key, (old, new, []))[2].append(record.name)
    found = [
        Difference(before=old, after=new, calls=len(names), examples=tuple(names[:EXAMPLES]))
        for old, new, names in groups.values()
    ]
    found.sort(key=lambda one: -one.calls)
    return Simulation(calls=calls, same=same, differences=tuple(found), unreadable=tuple(unreadable))


def records(lines: Iterable[str], unreadable: list[str]) -> Iterator[Record]:
    """The records in these lines; `unreadable` gets the others. Empty lines are passed over."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
            yield Record(name=str(raw.get("id") or f"line {number}"), request=RouteRequest.model_validate(facts(raw)))
        except ValidationError as error:
            first = error.errors()[0]
            unreadable.append(f"line {number}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
        except (ValueError, AttributeError, RecursionError) as error:
            unreadable.append(f"line {number}: {error}")


def facts(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a record says of its call."""
    if "asked" in raw:
        asked: Mapping[str, Any] = raw["asked"]
        return asked
    if "endpoint" in raw:
        return {"answering": True, **{name: raw[name] for name in OLDER if raw.get(name)}}
    return {name: value for name, value in raw.items() if name != "id"}
