"""Routing rules: `policy/routes.toml`, read into frozen data or refused with every problem named.

The first rule whose conditions all hold names the candidates. A condition that a rule does not state always holds.
Unknown keys and unknown models are errors: a typing error must never widen what a rule allows.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from appliance.errors import ConfigError
from inference.catalogue import SEARCH, WILDCARD, Catalogue
from inference.conditions import Between, Hours, Levels, Part, When, Words, known_words, listed, nearest
from inference.parameters import Parameters
from models.card import TASKS

DEFAULT_ROUTES = "default_routes.toml"
"""The rules of a box whose home has no `policy/routes.toml`: package data beside this module."""


class Objective(Part):
    """What matters, as weights."""

    quality: float = Field(0.0, ge=0)
    cost: float = Field(0.0, ge=0, description="of model-seconds")
    speed: float = Field(0.0, ge=0)
    tokens: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _not_nothing(self) -> Objective:
        if not (self.quality or self.cost or self.speed or self.tokens):
            raise ValueError("at least one weight must be above zero")
        return self


OBJECTIVES: Mapping[str, Objective] = {
    "quality": Objective(quality=1.0),
    "cost": Objective(cost=1.0),
    "speed": Objective(speed=1.0),
}
"""What `auto:quality`, `auto:cost` and `auto:speed` stand for."""

BALANCED = Objective(quality=0.6, cost=0.3, speed=0.1)


LOST, BUSY, FAILED = "lost", "busy", "failed"


class Retry(Part):
    """How often the same model is tried again, and after what."""

    times: int = Field(2, ge=0, le=10, description="tries after the first")
    pause_seconds: float = Field(0.1, gt=0, le=30, description="before the second try; doubled before each other one")
    on: Annotated[
        tuple[str, ...], BeforeValidator(listed), known_words("reason to try again", (LOST, BUSY, FAILED))
    ] = Field((LOST, BUSY, FAILED), description="the engine went away, had no room (429, 503), failed (500, 502, 504)")


Mode = Literal["apply", "observe", "off"]


class Rule(Part):
    """When all of `when` holds, the candidates in order, then the fallback; and how their calls are made."""

    name: str = Field(min_length=1)
    when: When = When()
    candidates: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(min_length=1)
    objective: Objective = BALANCED
    fallback: Words = ()
    retry: Retry | None = Field(None, description="None for the settings of the gateway")
    parameters: Parameters = Parameters()
    queue_seconds: float | None = Field(None, ge=0, le=3600, description="longest wait for a model; None as set")
    learning: Mode = "observe"


class Rules(Part):
    """A whole rules file."""

    rule: tuple[Rule, ...] = ()


def default_text() -> str:
    """The rules a fresh box starts with, as TOML."""
    return resources.files("inference").joinpath(DEFAULT_ROUTES).read_text(encoding="utf-8")


def load(file: Path, catalogue: Catalogue) -> Rules:
    """Read a rules file; the default rules when there is none.

    Raises:
        ConfigError: not TOML, an unknown key (with the nearest known one), a wrong value, or a model the box lacks.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        # Ours name the default embedder, which a box may have removed: then the router leaves it out, with the reason.
        return Rules.model_validate(tomllib.loads(default_text()))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the rules in {file}: {error}", "make it a readable UTF-8 text file") from error
    return parse(text, catalogue, str(file))


def parse(text: str, catalogue: Catalogue, source: str = "the rules") -> Rules:
    """Rules from TOML text. Raises ConfigError as `load` does, with all problems in one message."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}", "mend the line named") from error
    try:
        rules = Rules.model_validate(raw)
    except ValidationError as error:
        problems = [_in_words(problem, raw) for problem in error.errors()]
    else:
        problems = [*_doubled(rules.rule), *_unknown_tasks(rules.rule), *_unknown_models(rules.rule, catalogue)]
        if not problems:
            return rules
    raise ConfigError(
        f"{source}: " + "; ".join(problems), "mend the file; `appliance route check FILE` tests it without using it"
    )


def _doubled(rules: Iterable[Rule]) -> list[str]:
    seen: set[str] = set()
    doubled = []
    for rule in rules:
        if rule.name in seen:
            doubled.append(f"two rules are named {rule.name!r}")
        seen.add(rule.name)
    return doubled


def _unknown_tasks(rules: Iterable[Rule]) -> list[str]:
    """Tasks that no model can be admitted for: a rule about them could never name anybody."""
    return [
        f"rule {rule.name!r} is about the unknown task {task!r}; {nearest(task, TASKS)}"
        for rule in rules
        for task in rule.when.task
        if task not in TASKS
    ]


def _unknown_models(rules: Iterable[Rule], catalogue: Catalogue) -> list[str]:
    problems = []
    for rule in rules:
        for name in (*rule.candidates, *rule.fallback):
            if name == WILDCARD or catalogue.find(name):
                continue
            if name != SEARCH:
                problems.append(f"rule {rule.name!r} names the unknown model {name!r} ({catalogue.near(name)})")
            elif rule.when.task != ("repair",):
                problems.append(f"rule {rule.name!r} names {SEARCH!r}, which only a rule with task = ['repair'] may")
    return problems


KEYS: Mapping[str, type[Part]] = {
    "": Rules, "rule": Rule, "when": When, "objective": Objective, "retry": Retry, "parameters": Parameters,
    "sensitivity": Levels, "time": Hours,
    **dict.fromkeys(("prompt_tokens", "load", "severity", "attempt"), Between),
}  # fmt: skip


def _in_words(problem: Any, raw: Mapping[str, Any]) -> str:
    """One problem, said with the rule's own name instead of its number."""
    path = list(problem["loc"])
    tables = [part for part in path[:-1] if isinstance(part, str)]
    where = ""
    if len(path) > 1 and path[0] == "rule" and isinstance(path[1], int):
        where = f"rule {_name_of(raw, path[1])}: "
        path = path[2:]
    dotted = ".".join(str(part) for part in path) or "the rule"
    if problem["type"] != "extra_forbidden":
        return f"{where}{dotted}: {problem['msg'].removeprefix('Value error, ')}"
    fields = KEYS.get(tables[-1] if tables else "", Rules).model_fields
    known = [field.alias or name for name, field in fields.items()]
    return f"{where}{dotted}: unknown key; {nearest(str(path[-1]), known)}"


def _name_of(raw: Mapping[str, Any], index: int) -> str:
    try:
        return repr(str(raw["rule"][index]["name"]))
    except (KeyError, IndexError, TypeError):
        return f"number {index + 1}"
