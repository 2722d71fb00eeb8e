"""Conditions of rules: when each holds, what is said when it does not, and how hours cross midnight."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from inference.asked import NEEDS, RouteRequest, Sensitivity
from inference.conditions import DAY_MINUTES, DAYS, Hours, When, mismatches

MONDAY = datetime(2026, 11, 23, 23, 30)


def why_not(when: dict[str, Any], **request: Any) -> str:
    return "; ".join(mismatches(When.model_validate(when), RouteRequest.model_validate(request)))


@pytest.mark.parametrize(
    ("when", "holds", "fails", "words"),
    [
        ({"team": ["core"]}, {"team": "core"}, {"team": "web"}, "team is web, not core"),
        ({"key": "ci-*"}, {"key": "ci-nightly"}, {"key": "editor"}, "key is editor, not ci-*"),
        ({"needs": ["vision"]}, {"needs": ("vision", "tools")}, {"needs": ("tools",)}, "does not need vision"),
        ({"severity": {"max": 2}}, {"severity": 1}, {"severity": 3}, "severity 3 is not at most 2"),
        ({"severity": {"max": 2}}, {"severity": 2}, {}, "severity is not given"),
        ({"attempt": {"min": 2}}, {"attempt": 2}, {"attempt": 1}, "attempt 1 is not at least 2"),
        ({"load": {"min": 4, "max": 8}}, {"load": 8}, {"load": 9}, "load 9 is not between 4 and 8"),
        ({"sensitivity": {"min": "confidential"}}, {"sensitivity": "secret"}, {}, "internal, below confidential"),
        ({"time": {"from": "22:00", "to": "06:00"}}, {"at": MONDAY}, {}, "the time is not given, not 22:00 to 06:00"),
        ({"time": {"days": ["tue"]}}, {"at": MONDAY.replace(day=24)}, {"at": MONDAY}, "Mon 23:30, not 00:00"),
    ],
)  # fmt: skip
def test_a_condition_holds_or_says_why_not(
    when: dict[str, Any], holds: dict[str, Any], fails: dict[str, Any], words: str
) -> None:
    assert why_not(when, **holds) == ""
    assert words in why_not(when, **fails)


def test_every_condition_that_does_not_hold_is_named() -> None:
    said = why_not({"task": "repair", "language": "go", "attempt": {"min": 2}}, task="chat", language="python")
    assert said == "task is chat, not repair; language is python, not go; attempt is not given, not at least 2"


def test_a_span_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    friday_night = Hours.model_validate({"from": "22:00", "to": "06:00", "days": "fri"})
    assert friday_night.holds(datetime(2026, 11, 27, 22, 0)) and friday_night.holds(datetime(2026, 11, 28, 5, 59))
    assert not friday_night.holds(datetime(2026, 11, 28, 6, 0)) and not friday_night.holds(datetime(2026, 11, 27, 5, 0))


@pytest.mark.parametrize("hours", [{"from": "8:00"}, {"from": "24:30"}, {"from": "08:00", "to": "08:00"}, {"days": []}])
def test_hours_that_mean_nothing_are_refused(hours: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Hours.model_validate(hours)


minutes = st.integers(0, DAY_MINUTES - 1)


@given(begin=minutes, end=minutes, days=st.sets(st.sampled_from(DAYS), min_size=1), day=st.integers(0, 6), at=minutes)
def test_a_span_and_its_complement_cover_each_minute_of_the_week_once(
    begin: int, end: int, days: set[str], day: int, at: int
) -> None:
    if begin == end:
        return

    def clock(minute: int) -> str:
        return f"{minute // 60:02}:{minute % 60:02}"

    span = Hours.model_validate({"from": clock(begin), "to": clock(end), "days": sorted(days)})
    other = Hours.model_validate({"from": clock(end), "to": clock(begin)})
    whole = Hours.model_validate({"from": clock(begin), "to": clock(end)})
    assert whole.holds_minute(day, at) != other.holds_minute(day, at)
    assert not span.holds_minute(day, at) or whole.holds_minute(day, at)


def test_a_request_becomes_a_record_and_a_record_the_same_request() -> None:
    asked = RouteRequest(task="repair", sensitivity=Sensitivity.secret, needs=NEEDS, at=MONDAY, key="ci", attempt=2)
    assert RouteRequest.model_validate(asked.facts()) == asked
    assert asked.facts()["sensitivity"] == "secret" and "model" not in asked.facts()
