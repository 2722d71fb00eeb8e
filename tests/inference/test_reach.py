"""Which calls a rule can get, compared with what the router decides for every call there is."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference import rules as rules_file
from inference.asked import RouteRequest, Sensitivity
from inference.catalogue import Catalogue
from inference.reach import STAGES, Finding, review, unreached
from inference.router import decide
from inference.rules import Rule, Rules
from tests.inference.catalogues import stocked_box

NONE = Catalogue()


def rules(*whens: dict[str, Any]) -> Rules:
    made = [{"name": f"r{n}", "when": when, "candidates": [f"m{n}"]} for n, when in enumerate(whens)]
    return Rules(rule=tuple(Rule.model_validate(one) for one in made))


def found(*whens: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one.kind, one.rule) for one in unreached(rules(*whens))]


def test_a_rule_after_one_without_conditions_is_never_reached() -> None:
    (finding,) = unreached(rules({}, {"task": "chat"}))
    assert (finding.kind, finding.rule) == ("unreachable", "r1") and "'r0' before it" in finding.text


def test_a_rule_whose_conditions_never_hold_is_never_reached() -> None:
    (finding,) = unreached(rules({"attempt": {"max": 0}}))
    assert finding.text == "no call reaches it: its conditions never hold"


def test_a_rule_that_several_before_it_share_out_is_never_reached() -> None:
    low, high = {"prompt_tokens": {"max": 999}}, {"prompt_tokens": {"min": 1000}}
    (finding,) = unreached(rules(low, high, {"task": "repair"}))
    assert finding.rule == "r2" and "'r0' and 'r1'" in finding.text
    assert found(low, {"prompt_tokens": {"min": 1001}}, {"task": "repair"})[-1][0] == "overlap"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"repo": ["team-*"]}, {"repo": ["team-a", "team-b*"]}),
        ({"needs": ["tools"]}, {"needs": ["tools", "stream"]}),
        ({"sensitivity": {"max": "internal"}}, {"sensitivity": {"max": "public"}}),
        ({"time": {"from": "20:00", "to": "08:00"}}, {"time": {"from": "22:00", "to": "02:00", "days": "fri"}}),
        ({"severity": {"max": 4}}, {"severity": {"min": 1, "max": 2}}),
        ({"task": ["chat", "repair"], "load": {"min": 2}}, {"task": "chat", "load": {"min": 3}, "team": "a"}),
    ],
)
def test_the_exception_comes_first_or_is_never_reached(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert found(second, first) == []
    assert found(first, second) == [("unreachable", "r1")]


def test_rules_that_share_calls_though_neither_is_the_exception_are_told_with_an_example() -> None:
    (finding,) = unreached(rules({"task": "repair"}, {"language": "python"}))
    assert finding.kind == "overlap" and "task repair, language python" in finding.text
    same = rules({"task": "repair"}, {"language": "python"})
    alike = [rule.model_copy(update={"candidates": ("m",)}) for rule in same.rule]
    assert list(unreached(Rules(rule=tuple(alike)))) == []


def test_the_default_rules_have_nothing_to_warn_of() -> None:
    box = stocked_box()
    assert review(rules_file.parse(rules_file.default_text(), box), box, {}) == []


def test_names_that_nothing_has_are_told_with_the_nearest() -> None:
    made = rules({"stage": "plann", "key": ["edit*", "ci"], "team": "a"})
    findings = review(made, NONE, {"key": ["editor"], "team": ["a"]})
    assert [(one.kind, one.text) for one in findings] == [
        ("unknown", "there is no stage 'plann'; the nearest known one is 'plan'"),
        ("unknown", "there is no key 'ci'; the nearest known one is 'editor'"),
    ]


def test_a_rule_about_a_task_for_which_nobody_is_admitted_is_told() -> None:
    made = Rules(rule=(Rule.model_validate({"name": "r", "when": {"task": "review"}, "candidates": ["coder-7b"]}),))
    (finding,) = review(made, stocked_box(), {})
    assert finding.kind == "nobody" and "'review'" in finding.text


def test_the_stages_are_those_of_the_line() -> None:
    from appliance.line.runner import STAGES as of_the_line

    assert ("signal", *of_the_line) == STAGES


numbers = st.one_of(
    st.none(), st.builds(lambda a, b: {"min": min(a, b), "max": max(a, b)}, st.integers(0, 4), st.integers(0, 4)),
    st.builds(lambda a: {"min": a}, st.integers(0, 4)),
)  # fmt: skip
whens = st.fixed_dictionaries(
    {},
    optional={
        "task": st.lists(st.sampled_from(["chat", "repair"]), min_size=1),
        "repo": st.lists(st.sampled_from(["a", "b", "a*", "*b", "*"]), min_size=1, max_size=2),
        "needs": st.lists(st.sampled_from(["tools", "stream"])),
        "attempt": numbers,
        "prompt_tokens": numbers,
        "sensitivity": st.sampled_from([{"max": "internal"}, {"min": "secret"}]),
        "time": st.sampled_from([{"from": "22:00", "to": "06:00"}, {"days": ["sat", "sun"]}, {"to": "12:00"}]),
    },
)
CALLS = [
    RouteRequest(task=task, repo=repo, needs=needs, attempt=attempt, prompt_tokens=tokens, sensitivity=level, at=at)
    for task, repo, needs, attempt, tokens, level, at in product(
        ("chat", "repair", "review"), ("", "a", "b", "ab", "c"), ((), ("tools",), ("tools", "stream")), (0, 2, 4),
        (0, 3, 5), (Sensitivity.internal, Sensitivity.secret),
        (None, *(datetime(2026, 1, 9, 3) + timedelta(hours=h) for h in (0, 11, 20, 48))),
    )
]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(whens, min_size=2, max_size=5), st.integers(0, 6))
def test_no_call_ever_reaches_what_is_said_to_be_unreachable(made: list[dict[str, Any]], offset: int) -> None:
    parsed = rules(*made)
    unreachable = {one.rule for one in unreached(parsed) if one.kind == "unreachable"}
    reached = {decide(call, parsed, NONE).rule for call in CALLS[offset::7]}
    assert not unreachable & reached


@settings(max_examples=25, deadline=None)
@given(st.lists(st.fixed_dictionaries({}, optional={
    "task": st.sampled_from(["chat", "repair"]), "attempt": numbers, "sensitivity": st.just({"max": "internal"}),
}), min_size=2, max_size=5))  # fmt: skip
def test_all_that_is_unreachable_is_found(made: list[dict[str, Any]]) -> None:
    parsed = rules(*made)
    calls = [
        RouteRequest(task=task, attempt=attempt, sensitivity=level)
        for task, attempt, level in product(("chat", "repair", "review"), range(7), Sensitivity)
    ]
    reached = {decide(call, parsed, NONE).rule for call in calls}
    said = {one.rule for one in unreached(parsed) if one.kind == "unreachable"}
    assert said == {rule.name for rule in parsed.rule} - reached


def test_a_finding_is_plain_data() -> None:
    assert Finding(rule="r", kind="overlap", text="t").model_dump() == {"rule": "r", "kind": "overlap", "text": "t"}
