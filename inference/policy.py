"""What learning publishes for the router: `policy/policy.json`, an order of candidates for rules, and from format 2 on
what candidates are worth by what a text means. Never who may answer.

Learning replaces the file by one rename. It is read with distrust: a policy that is missing, too old or not valid in
every part means that the rules decide alone, and the reason is said. Nothing of a broken one is used.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, PrivateAttr, ValidationError, model_validator

from appliance.policy import MOST_BYTES, Predictor
from appliance.work import Noun
from inference.asked import RouteRequest

AHEAD = timedelta(hours=1)
"""How far a policy's time may lie ahead of the box's clock."""


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("names a candidate twice")
    return names


class Preference(Noun):
    """An order of candidates inside one rule, for all calls or for some."""

    rule: str = Field(min_length=1)
    task: str = Field("", description="only for this task; empty for all")
    language: str = Field("", description="only for this language; empty for all")
    repo: str = Field("", description="only for this repository; empty for all")
    order: Annotated[tuple[str, ...], AfterValidator(_each_once)] = Field(min_length=1, max_length=1000)
    evidence: int = Field(0, ge=0, description="outcomes it was learned from")

    def fits(self, request: RouteRequest) -> bool:
        return (
            self.task in ("", request.task)
            and self.language in ("", request.language)
            and self.repo in ("", request.repo)
        )

    @property
    def narrow(self) -> int:
        """How narrow it is: the narrowest that fits wins, a repository before a task, a task before a language."""
        return 4 * bool(self.repo) + 2 * bool(self.task) + bool(self.language)


class Policy(Noun):
    """A whole policy."""

    format: Literal[1, 2]
    version: int = Field(ge=1, description="grows with each one that is published")
    made: AwareDatetime
    preferences: tuple[Preference, ...] = Field((), max_length=10_000)
    predictors: tuple[Predictor, ...] = Field((), max_length=100, description="from format 2 on")
    _by_rule: dict[str, list[Preference]] = PrivateAttr(default_factory=dict)

    def model_post_init(self, _: Any) -> None:
        """Sort the preferences by rule: they are looked up at every call."""
        for one in sorted(self.preferences, key=lambda one: -one.narrow):
            self._by_rule.setdefault(one.rule, []).append(one)

    @model_validator(mode="after")
    def _no_two_alike(self) -> Self:
        seen = {(one.rule, one.task, one.language, one.repo) for one in self.preferences}
        if len(seen) != len(self.preferences):
            raise ValueError("two preferences are about the same rule, task, language and repository")
        if self.predictors and self.format == 1:
            raise ValueError("format 1 has no predictors")
        if len({(one.rule, one.task) for one in self.predictors}) != len(self.predictors):
            raise ValueError("two predictors are about the same rule and task")
        return self

    def preference(self, rule: str, request: RouteRequest) -> Preference | None:
        """The narrowest preference for a call by this rule."""
        return next((one for one in self._by_rule.get(rule, ()) if one.fits(request)), None)

    def predictor(self, rule: str, request: RouteRequest) -> Predictor | None:
        """Who foresees by what a text means in this rule; one for the very task before one for all."""
        found = [one for one in self.predictors if one.rule == rule and one.task in ("", request.task)]
        return max(found, key=lambda one: bool(one.task), default=None)


class Standing(StrEnum):
    """What is true of the policy now."""

    IN_USE = "in use"
    MISSING = "missing"
    OLD = "old"
    BROKEN = "broken"


class Learned(Noun):
    """The policy, or why the rules decide alone."""

    policy: Policy | None = None
    standing: Standing = Standing.MISSING
    why: str = Field("there is no policy yet", description="why rules decide alone; empty while they do not")

    def at(self, now: datetime, days: float) -> Learned:
        """The same at a later time: a policy older than `days` is used no longer."""
        if self.policy is None:
            return self
        age = now - self.policy.made
        if age > timedelta(days=days):
            why = f"policy {self.policy.version} is {age.days} days old, and gateway.policy_days is {days:g}"
            return Learned(standing=Standing.OLD, why=why)
        if age < -AHEAD:
            why = f"policy {self.policy.version} says it was made in the future, at {self.policy.made.isoformat()}"
            return Learned(standing=Standing.BROKEN, why=why)
        return self


RULES_ALONE = Learned()


def read_policy(file: Path) -> Learned:
    """The policy in a file; never raises."""
    try:
        with file.open("rb") as source:
            raw = source.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return RULES_ALONE
    except OSError as error:
        return _broken(f"cannot be read ({error.strerror})")
    if len(raw) > MOST_BYTES:
        return _broken(f"is larger than {MOST_BYTES} bytes")
    try:
        policy = Policy.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return _broken(f"is not valid ({where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')})")
    return Learned(policy=policy, standing=Standing.IN_USE, why="")


def _broken(what: str) -> Learned:
    return Learned(standing=Standing.BROKEN, why=f"the policy {what}")


def now() -> datetime:
    """The time that policies are compared with."""
    return datetime.now(UTC)
