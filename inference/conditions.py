"""The conditions of a routing rule, and whether they hold for a call. Pure.

A condition that a rule does not state always holds. One that is stated about something the call does not say (its
repository, its severity) does not hold: a rule must not widen because a caller was silent.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from inference.asked import NEEDS, Level, RouteRequest

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES: Final = 24 * 60
CLOCK = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")


def listed(value: Any) -> Any:
    """A single word may stand for a list of one."""
    return [value] if isinstance(value, str) else value


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like this one, said in words; empty when there is none."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return f"the nearest known one is {near[0]!r}" if near else ""


def known_words(what: str, known: tuple[str, ...]) -> AfterValidator:
    """Refuses words that are not among `known`, naming the nearest that is."""

    def check(words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if word not in known:
                raise ValueError(f"unknown {what} {word!r}; {nearest(word, known)}")
        return words

    return AfterValidator(check)


def _minute(value: Any) -> Any:
    found = CLOCK.fullmatch(value) if isinstance(value, str) else None
    minute = int(found[1]) * 60 + int(found[2]) if found else DAY_MINUTES + 1
    if minute > DAY_MINUTES:
        raise ValueError('must be a time of day like "08:30"')
    return minute


Words = Annotated[tuple[str, ...], BeforeValidator(listed)]
Minute = Annotated[int, BeforeValidator(_minute)]


class Part(BaseModel):
    """A piece of a rules file: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Between(Part):
    """A range of whole numbers, both ends included."""

    min: int | None = Field(None, ge=0)
    max: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> Between:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self

    def holds(self, value: int) -> bool:
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    @property
    def words(self) -> str:
        if self.min is None:
            return f"at most {self.max}"
        return f"at least {self.min}" if self.max is None else f"between {self.min} and {self.max}"


class Levels(Part):
    """Bounds on sensitivity, both included."""

    min: Level | None = None
    max: Level | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Levels:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min.name} is above max {self.max.name}")
        return self


class Hours(Part):
    """Times of day, on some days of the week or on all. A span over midnight belongs to the day on which it begins."""

    begin: Minute = Field(0, alias="from", description="minutes since midnight")
    end: Minute = Field(DAY_MINUTES, alias="to", description="minutes since midnight, not included")
    days: Annotated[tuple[str, ...], BeforeValidator(listed), known_words("day", DAYS)] = DAYS

    @model_validator(mode="after")
    def _not_empty(self) -> Hours:
        if self.begin == self.end:
            raise ValueError("`from` and `to` are the same; leave both out for the whole day")
        if not self.days:
            raise ValueError("`days` names no day")
        return self

    def holds(self, at: datetime) -> bool:
        return self.holds_minute(at.weekday(), at.hour * 60 + at.minute)

    def holds_minute(self, day: int, minute: int) -> bool:
        """Whether this minute of this day (0 is Monday) is in the span."""
        if self.begin < self.end:
            return DAYS[day] in self.days and self.begin <= minute < self.end
        return (minute >= self.begin and DAYS[day] in self.days) or (minute < self.end and DAYS[day - 1] in self.days)

    @property
    def words(self) -> str:
        span = f"{self.begin // 60:02}:{self.begin % 60:02} to {self.end // 60:02}:{self.end % 60:02}"
        return span if self.days == DAYS else f"{span} on {', '.join(self.days)}"


class When(Part):
    """The conditions of a rule: a list holds when it contains the call's value; `repo` and `key` take glob patterns."""

    task: Words = ()
    stage: Words = ()
    language: Words = ()
    team: Words = ()
    repo: Words = ()
    key: Words = ()
    needs: Annotated[tuple[str, ...], BeforeValidator(listed), known_words("need", NEEDS)] = Field(
        (), description="what the call must need, all of them"
    )
    prompt_tokens: Between | None = None
    load: Between | None = Field(None, description="other calls in flight")
    severity: Between | None = Field(None, description="of the item, 1 is worst")
    attempt: Between | None = Field(None, description="which try at the item, from 1")
    sensitivity: Levels | None = None
    time: Hours | None = None


WORDS = ("task", "stage", "language", "team")
PATTERNS = ("repo", "key")
NUMBERS = ("prompt_tokens", "load", "severity", "attempt")
UNKNOWN_AT_ZERO = frozenset({"severity", "attempt"})


def mismatches(when: When, request: RouteRequest) -> Iterator[str]:
    """The conditions that do not hold, in words."""
    for name in WORDS:
        if (wanted := getattr(when, name)) and (given := getattr(request, name)) not in wanted:
            yield f"{name} is {given or 'not given'}, not {' or '.join(wanted)}"
    for name in PATTERNS:
        if (wanted := getattr(when, name)) and not _like(getattr(request, name), wanted):
            yield f"{name} is {getattr(request, name) or 'not given'}, not {' or '.join(wanted)}"
    if when.needs and (missing := [need for need in when.needs if need not in request.needs]):
        yield f"the request does not need {' or '.join(missing)}"
    for name in NUMBERS:
        if (span := getattr(when, name)) is not None:
            yield from _outside(name, span, getattr(request, name))
    if when.sensitivity is not None:
        yield from _beyond(when.sensitivity, request)
    if when.time is not None and (request.at is None or not when.time.holds(request.at)):
        yield f"the time is {request.at.strftime('%a %H:%M') if request.at else 'not given'}, not {when.time.words}"


def conditions_in_words(when: When) -> str:
    """Why a rule whose conditions hold does hold."""
    stated = [name for name in When.model_fields if getattr(when, name)]
    return "holds: " + ", ".join(stated) if stated else "has no conditions"


def _like(given: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(given, pattern) for pattern in patterns)


def _outside(name: str, span: Between, given: int) -> Iterator[str]:
    if not given and name in UNKNOWN_AT_ZERO:
        yield f"{name} is not given, not {span.words}"
    elif not span.holds(given):
        shown = f"prompt of {given} tokens" if name == "prompt_tokens" else f"{name} {given}"
        yield f"{shown} is not {span.words}"


def _beyond(levels: Levels, request: RouteRequest) -> Iterator[str]:
    if levels.max is not None and request.sensitivity > levels.max:
        yield f"sensitivity is {request.sensitivity.name}, above {levels.max.name}"
    if levels.min is not None and request.sensitivity < levels.min:
        yield f"sensitivity is {request.sensitivity.name}, below {levels.min.name}"
