"""What was learned of routing, in words: the report of now, and what the versions of the policy say. Their files are
read leniently: a format may have learned more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from appliance.errors import FactoryError
from appliance.events import Fact
from appliance.learning.policies import SUBJECT, Policies
from appliance.ledger import Ledger
from appliance.work import Noun
from control.desk import Desk
from control.own_command import asked

REPORT_SECONDS = 60.0
STEPS = {
    Fact.POLICY_PUBLISHED: "published", Fact.POLICY_PROMOTED: "promoted", Fact.POLICY_ROLLED_BACK: "rolled back",
}  # fmt: skip
TOLD = frozenset(
    {"rule", "language", "repo", "before", "order", "gain", "needed", "changes", "why", "candidates", "offpolicy"}
)
"""What a judged rule's words say already."""


FIGURES = ("quality", "unsure", "seconds", "model_seconds", "waited_seconds", "tokens")
"""Of a candidate, each a number or not told."""


class Step(Noun):
    """One step of a version: who, when, why."""

    version: int
    what: str
    by: str
    at: str
    why: str = ""
    to: int | None = None
    """After a roll-back: the version in use again; 0 is none."""


class Known(Noun):
    """One candidate as the version's outcomes show it. None: the file does not say."""

    candidate: str
    quality: float | None = None
    unsure: float | None = None
    seconds: float | None = None
    model_seconds: float | None = None
    waited_seconds: float | None = None
    tokens: float | None = None
    tries: int | None = None


class Proof(Noun):
    """What choices that were left to chance say of the new order against the old: off-policy evaluation."""

    gain: float | None = None
    """Worth for each choice, from 0 to 1."""
    unsure: float | None = None
    tries: int | None = None
    conclusive: bool = False
    why: str = ""


class Judged(Noun):
    """One rule, or one repository in it."""

    rule: str
    language: str = ""
    repo: str = ""
    before: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    changes: bool = False
    why: str = ""
    candidates: tuple[Known, ...] = ()
    proof: Proof | None = None
    more: Mapping[str, Any] = {}
    """What else the file says of it."""

    @property
    def where(self) -> str:
        """The repository or the language it is about; "" for the whole rule."""
        return self.repo or self.language

    def saves(self) -> str:
        """What the new first candidate takes and holds, against the one before; "" where the file does not say."""
        known = {one.candidate: one for one in self.candidates}
        new, old = (known.get(order[0]) if order else None for order in (self.order, self.before))
        if not self.changes or not new or not old or new == old:
            return ""
        said = []
        if new.quality is not None and old.quality is not None:
            said.append(f"holds {new.quality:.0%} instead of {old.quality:.0%}".replace("%", "\u00a0%"))
        for part, digits, unit in (("seconds", ".3g", "s"), ("model_seconds", ".3g", "s of models"),
                                   ("tokens", ",.0f", "tokens")):  # fmt: skip
            took, before = getattr(new, part), getattr(old, part)
            if took is not None and before is not None:
                said.append(f"takes {took:{digits}} {unit} instead of {before:{digits}} {unit}")
        return "; ".join(said)


class Foresight(Noun):
    """What came of looking for who is worth most by what a report means, in one rule; `holds` when it decides."""

    rule: str
    holds: bool
    candidates: tuple[str, ...] = ()
    outcomes: int | None = None
    why: str = ""


class Version(Noun):
    """One policy file and its story."""

    number: int
    made: str = ""
    format: int | None = None
    in_use: bool = False
    judged: tuple[Judged, ...] = ()
    foresights: tuple[Foresight, ...] = ()
    more: Mapping[str, Any] = {}
    steps: tuple[Step, ...] = ()
    broken: str = ""

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.broken:
            return "cannot be read"
        return "in use" if self.in_use else (self.steps[-1].what if self.steps else "published")


def reported(desk: Desk) -> dict[str, Any]:
    """What `appliance learn report` tells: it needs rules and models. Raises Unavailable while there are no figures."""
    told: dict[str, Any] = asked(desk, "learn", "report", seconds=REPORT_SECONDS)
    return told


def versions(policies: Policies, told: Sequence[Step], most: int) -> list[Version]:
    """The newest versions, the newest first; `told` are the steps of all."""
    current = policies.current()
    return [_version(policies, number, current, told) for number in policies.versions()[: -most - 1 : -1]]


def version(policies: Policies, ledger: Ledger, number: int) -> Version:
    """One of them. Raises NotFound, unless it is the one in use, whose file may have been removed."""
    current = policies.current()
    if number not in (*policies.versions(), current):
        policies.read(number)
    return _version(policies, number, current, steps(ledger))


def steps(ledger: Ledger) -> list[Step]:
    """Every step of every version, the oldest first."""
    return [
        Step(version=_whole(said.get("version")) or 0, what=STEPS[Fact(event.kind)], by=str(said.get("by", "")),
             at=event.at, why=str(said.get("why", "")), to=_whole(said.get("to")))
        for event in ledger.history(SUBJECT) if event.kind in STEPS and (said := event.payload) is not None
    ]  # fmt: skip


def _version(policies: Policies, number: int, current: int, told: Sequence[Step]) -> Version:
    own = Version(number=number, in_use=number == current, steps=tuple(step for step in told if step.version == number))
    try:
        file: Any = policies.read(number)
    except (FactoryError, ValueError) as error:
        return own.with_(broken=f"its file cannot be read: {error}")
    if not isinstance(file, Mapping) or not isinstance(file.get("policy"), Mapping):
        return own.with_(broken="its file cannot be read: it holds no policy")
    policy = file["policy"]
    evaluation = file.get("evaluation")
    cells = evaluation if isinstance(evaluation, list) else _mapping(evaluation).get("rules")
    rest = {name: value for name, value in file.items() if name not in ("policy", "evaluation", "prospects")}
    if isinstance(evaluation, Mapping):
        rest |= {name: value for name, value in evaluation.items() if name != "rules"}
    return own.with_(
        made=str(policy.get("made", "")), format=_whole(policy.get("format")), more=rest,
        judged=tuple(judged(cell) for cell in _mappings(cells)), foresights=tuple(_foresights(policy, file)),
    )  # fmt: skip


def judged(cell: Mapping[str, Any]) -> Judged:
    """One rule's part of an evaluation."""
    said = _mapping(cell.get("offpolicy"))
    proof = Proof(
        gain=_figure(said.get("gain")), unsure=_figure(said.get("unsure")), tries=_whole(said.get("tries")),
        conclusive=said.get("conclusive") is True, why=str(said.get("why", "")),
    )  # fmt: skip
    return Judged(
        rule=str(cell.get("rule", "")), language=str(cell.get("language", "")), repo=str(cell.get("repo", "")),
        before=_names(cell.get("before")),
        order=_names(cell.get("order")), changes=cell.get("changes") is True, why=str(cell.get("why", "")),
        candidates=tuple(_known(one) for one in _mappings(cell.get("candidates"))),
        proof=proof if said else None, more={name: value for name, value in cell.items() if name not in TOLD},
    )  # fmt: skip


def _foresights(policy: Mapping[str, Any], file: Mapping[str, Any]) -> Iterator[Foresight]:
    """Those that decide, then the rules in which none was proved, each once."""
    told = {str(one.get("rule", "")): one for one in _mappings(file.get("prospects"))}
    for one in _mappings(policy.get("predictors")):
        quality, rule = _mapping(one.get("quality")), str(one.get("rule", ""))
        why = str(_mapping(told.pop(rule, None)).get("why", ""))
        yield Foresight(
            rule=rule, holds=True, candidates=_names(quality.get("models")), outcomes=_whole(quality.get("evidence")),
            why=why,
        )  # fmt: skip
    for rule, one in told.items():
        yield Foresight(
            rule=rule, holds=False, candidates=_names(one.get("candidates")), outcomes=_whole(one.get("tries")),
            why=str(one.get("why", "")),
        )  # fmt: skip


def _known(one: Mapping[str, Any]) -> Known:
    figures = {name: _figure(one.get(name)) for name in FIGURES}
    return Known(candidate=str(one.get("candidate", "")), tries=_whole(one.get("tries")), **figures)


def _figure(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _names(value: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list) else ()
