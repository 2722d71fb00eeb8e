"""The router's decision: a pure function from a request, the rules and the catalogue to candidates in order.

Rules decide who is *eligible*; the objective only orders what a rule left open. Every model that was left out is
named with the reason, and every rule with why it matched or not, so that a decision can be questioned later.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from appliance.errors import LimitExceeded, NotFound
from appliance.work import Noun
from inference.catalogue import SEARCH, WILDCARD, Catalogue, Entry
from inference.rules import BALANCED, OBJECTIVES, Between, Objective, Rule, Rules, Sensitivity, When

AUTO = "auto"
CALLER = "the caller"
"""Stands in for a rule's name when the caller named the model."""


class ContextExceeded(LimitExceeded):
    """The prompt is longer than any admitted model takes."""

    code = "context_length_exceeded"


class RouteRequest(Noun):
    """What the router needs to know; never the prompt itself."""

    task: str = "chat"
    model: str = AUTO
    stage: str = ""
    language: str = ""
    repo: str = ""
    prompt_tokens: int = Field(0, ge=0, description="an estimate is enough")
    sensitivity: Sensitivity = Sensitivity.internal
    needs: tuple[str, ...] = Field((), description="tools, json_schema, stream")
    answering: bool = Field(False, description="a model has to answer: `search` is left out")


class Considered(Noun):
    """One rule and why it holds or does not."""

    rule: str
    matched: bool
    why: str


class Decision(Noun):
    """Candidates in order of preference, the rule that named them, and why others were left out."""

    task: str
    model: str = AUTO
    candidates: tuple[str, ...] = ()
    rule: str = ""
    reasons: tuple[str, ...] = Field((), description="one line for each candidate left out, and for re-ordering")
    considered: tuple[Considered, ...] = ()
    objective: Objective = BALANCED
    learning: Literal["apply", "observe", "off"] = "off"
    refusal: str = Field("", description="why there is no candidate")
    hint: str = ""
    too_long: bool = Field(False, description="length alone left out the last candidates")

    def require(self) -> Decision:
        """Itself. Raises NotFound when nobody may answer, ContextExceeded when only the prompt's length forbids it."""
        if self.candidates:
            return self
        if self.too_long:
            raise ContextExceeded(self.refusal, self.hint)
        raise NotFound(self.refusal, self.hint)

    @property
    def summary(self) -> str:
        """Rule and reason in one line."""
        return f"{self.rule}: " + ", ".join(self.candidates) if self.candidates else self.refusal


def decide(request: RouteRequest, rules: Rules, catalogue: Catalogue) -> Decision:
    """Who may answer this request, best first."""
    name, _, aim = request.model.partition(":")
    if name != AUTO or (aim and aim not in OBJECTIVES):
        return _named(request, catalogue)
    considered: list[Considered] = []
    for rule in rules.rule:
        why_not = mismatch(rule.when, request)
        why = why_not or _conditions_in_words(rule.when)
        considered.append(Considered(rule=rule.name, matched=not why_not, why=why))
        if not why_not:
            return _by_rule(rule, request, catalogue, aim).with_(considered=tuple(considered))
    return Decision(
        task=request.task,
        model=request.model,
        considered=tuple(considered),
        refusal=f"no rule is about task {request.task!r} with these conditions",
        hint=f"`appliance route explain --task {request.task}` shows why; add a rule to policy/routes.toml",
    )


def mismatch(when: When, request: RouteRequest) -> str:
    """The first condition that does not hold, in words; empty when all hold."""
    for name in ("task", "stage", "language"):
        wanted, given = getattr(when, name), getattr(request, name)
        if wanted and given not in wanted:
            return f"{name} is {given or 'not given'}, not {' or '.join(wanted)}"
    if when.repo and not any(fnmatchcase(request.repo, pattern) for pattern in when.repo):
        return f"repo is {request.repo or 'not given'}, not {' or '.join(when.repo)}"
    missing = [need for need in when.needs if need not in request.needs]
    if missing:
        return f"the request does not need {' or '.join(missing)}"
    if when.prompt_tokens and not when.prompt_tokens.holds(request.prompt_tokens):
        return f"prompt of {request.prompt_tokens} tokens is not {_range_in_words(when.prompt_tokens)}"
    if when.sensitivity and request.sensitivity > when.sensitivity.max:
        return f"sensitivity is {request.sensitivity.name}, above {when.sensitivity.max.name}"
    return ""


def _range_in_words(wanted: Between) -> str:
    if wanted.min is None:
        return f"at most {wanted.max}"
    return f"at least {wanted.min}" if wanted.max is None else f"between {wanted.min} and {wanted.max}"


def _conditions_in_words(when: When) -> str:
    stated = [name for name in When.model_fields if getattr(when, name)]
    return "holds: " + ", ".join(stated) if stated else "has no conditions"


def _named(request: RouteRequest, catalogue: Catalogue) -> Decision:
    """The caller named the model: only admission counts, and the engine has the last word on length."""
    made = Decision(task=request.task, model=request.model, rule=CALLER)
    entry = catalogue.find(request.model)
    if entry is None:
        return made.with_(refusal=f"there is no model {request.model!r}", hint=catalogue.near(request.model))
    if request.task not in entry.tasks:
        return made.with_(
            refusal=f"model {entry.id!r} is not admitted for task {request.task!r}",
            hint=f"it may do {', '.join(entry.tasks) or 'nothing yet'}; `appliance model list` shows what each may do",
        )
    return made.with_(candidates=(entry.id,))


def _by_rule(rule: Rule, request: RouteRequest, catalogue: Catalogue, aim: str) -> Decision:
    objective = OBJECTIVES[aim] if aim else rule.objective
    listed, wild = _expand(rule, request, catalogue, objective)
    reasons: dict[str, str] = {}
    kept: list[str] = []
    for name in listed:
        entry = catalogue.find(name)
        why_not = _unfit(name, entry, request)
        if why_not:
            reasons[name] = f"{name} left out: {why_not}"
        elif (entry.id if entry else name) not in kept:
            kept.append(entry.id if entry else name)
    notes = list(reasons.values())
    if aim and len(kept) > 1:
        kept = [name for name in kept if name == SEARCH] + _by_size(kept, catalogue, objective)
        notes.append(f"ordered for {aim} by size of the model, as nothing is measured yet")
    elif wild > 1:
        notes.append("models that '*' stands for are ordered by size, as nothing is measured yet")
    made = Decision(
        task=request.task, model=request.model, candidates=tuple(kept), rule=rule.name, reasons=tuple(notes),
        objective=objective, learning=rule.learning,
    )  # fmt: skip
    if kept:
        return made
    too_long = any(LENGTH in reason for reason in reasons.values())
    return made.with_(
        refusal="; ".join([f"rule {rule.name!r} leaves no model for task {request.task!r}", *notes]),
        hint="shorten the prompt" if too_long else f"import one: `appliance model import PATH --task {request.task}`",
        too_long=too_long,
    )


def _expand(rule: Rule, request: RouteRequest, catalogue: Catalogue, objective: Objective) -> tuple[list[str], int]:
    """Candidates then fallback, each once, `*` replaced by what it stands for; and how many that were."""
    names: list[str] = []
    wild = 0
    for name in (*rule.candidates, *rule.fallback):
        if name != WILDCARD:
            names.append(name)
            continue
        admitted = [entry.id for entry in catalogue if request.task in entry.tasks]
        wild = len(admitted)
        names += _by_size(admitted, catalogue, objective)
    return list(dict.fromkeys(names)), wild


def _by_size(names: list[str], catalogue: Catalogue, objective: Objective) -> list[str]:
    """Models by size: big ones first when quality weighs at least as much as cost and speed together. `search` is no
    model and drops out."""
    big_first = objective.quality >= objective.cost + objective.speed
    entries = [entry for entry in map(catalogue.find, names) if entry]
    entries.sort(key=lambda entry: (-entry.size_bytes if big_first else entry.size_bytes, entry.id))
    return [entry.id for entry in entries]


LENGTH = "its context of"


def _unfit(name: str, entry: Entry | None, request: RouteRequest) -> str:
    """Why this candidate cannot take the request; empty when it can."""
    if name == SEARCH:
        if request.task != "repair":
            return "search only repairs"
        return "search is done by the line; it cannot answer a call" if request.answering else ""
    if entry is None:
        return "this box has no such model any more"
    if request.task not in entry.tasks:
        return f"not admitted for {request.task}"
    if entry.context_tokens < request.prompt_tokens:
        return f"{LENGTH} {entry.context_tokens} tokens is too small for {request.prompt_tokens}"
    return ""


def as_json(decision: Decision) -> Mapping[str, object]:
    """What /v1/route and `route explain --json` print."""
    return decision.model_dump(mode="json", exclude={"too_long"})
