"""What learning publishes: it re-orders inside a rule that lets it, and is not used when anything is wrong with it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import rules
from inference.asked import RouteRequest
from inference.keys import Key, Terms
from inference.permits import permitted
from inference.policy import Learned, Policy, Standing, read_policy
from inference.router import Decision, decide, reordered
from tests.inference.catalogues import stocked_box

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
PREFERENCE = {"rule": "r", "order": ["coder-32b", "coder"], "evidence": 40}


def policy(*preferences: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"format": 1, "version": 7, "made": NOW.isoformat(), "preferences": [*preferences], **more}


def learned(*preferences: dict[str, Any]) -> Learned:
    return Learned(policy=Policy.model_validate(policy(*preferences)), standing=Standing.IN_USE, why="")


def ask(known: Learned, learning: str = "apply", model: str = "auto", **request: Any) -> Decision:
    text = (
        f'[[rule]]\nname="r"\ncandidates=["search","coder-7b","coder-32b"]\nlearning="{learning}"\nwhen.task="repair"'
    )
    asked = RouteRequest.model_validate({"task": "repair", "model": model, **request})
    return decide(asked, rules.parse(text, stocked_box()), stocked_box(), known)


def test_apply_takes_the_order_over_and_says_so() -> None:
    decision = ask(learned(PREFERENCE))
    assert decision.candidates == ("search", "coder-32b", "coder-7b")  # the alias counts, search keeps its place
    assert "ordered by policy 7, learned from 40 outcomes" in decision.reasons and decision.policy_version == 7


def test_observe_only_tells_what_it_would_do() -> None:
    decision = ask(learned(PREFERENCE), "observe")
    assert decision.candidates == ("search", "coder-7b", "coder-32b")
    assert decision.suggested == ("search", "coder-32b", "coder-7b") and "would order" in decision.policy


def test_what_is_suggested_keeps_to_what_the_key_may_call() -> None:
    key = Key(id="k", name="k", sha256="a" * 64, terms=Terms(models=("coder-7b",)))
    decision = permitted(key, ask(learned(PREFERENCE), "observe"))
    assert (decision.candidates, decision.suggested) == (("search", "coder-7b"), ("search", "coder-7b"))


def test_off_takes_no_notice() -> None:
    decision = ask(learned(PREFERENCE), "off")
    assert decision.candidates[1] == "coder-7b" and decision.suggested == () and "takes no policy" in decision.policy
    assert decision.policy_version is None


def test_the_callers_own_objective_goes_before_the_policy() -> None:
    assert ask(learned(PREFERENCE), model="auto:cost").candidates == ("search", "coder-7b", "coder-32b")


def test_the_narrowest_preference_wins() -> None:
    for_go = {"rule": "r", "language": "go", "order": ["coder-7b", "coder-32b"]}
    assert ask(learned(PREFERENCE, for_go), language="go").candidates[1] == "coder-7b"
    assert ask(learned(PREFERENCE, for_go), language="python").candidates[1] == "coder-32b"
    for_shop = {"rule": "r", "repo": "shop", "order": ["coder-32b", "coder-7b"]}
    assert ask(learned(for_shop, for_go), language="go", repo="shop").candidates[1] == "coder-32b"
    assert ask(learned(for_shop, for_go), language="go", repo="wms").candidates[1] == "coder-7b"


def test_without_a_policy_the_rules_decide_alone_and_say_why() -> None:
    decision = ask(Learned())
    assert decision.candidates[1] == "coder-7b" and decision.policy == "rules alone: there is no policy yet"


def test_an_old_policy_is_not_used_any_more() -> None:
    known = learned(PREFERENCE)
    assert known.at(NOW + timedelta(days=13), 14) is known
    old = known.at(NOW + timedelta(days=15), 14)
    assert (old.policy, old.standing) == (None, Standing.OLD) and "15 days old" in old.why
    assert known.at(NOW - timedelta(hours=2), 14).standing is Standing.BROKEN


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", json.dumps(policy(PREFERENCE, format=3)), json.dumps(policy(PREFERENCE, version=0)),
        json.dumps(policy(PREFERENCE, PREFERENCE)), json.dumps(policy({**PREFERENCE, "order": []})),
        json.dumps(policy({**PREFERENCE, "order": ["a", "a"]})), json.dumps(policy({**PREFERENCE, "models": ["x"]})),
        json.dumps(policy(made="2026-11-26T12:00:00")), " " * 5_000_000, "\0",
    ],
)  # fmt: skip
def test_a_broken_policy_is_not_used_at_all(text: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(text)
    found = read_policy(file)
    assert (found.policy, found.standing) == (None, Standing.BROKEN) and found.why.startswith("the policy ")


def test_a_policy_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    assert read_policy(file).standing is Standing.MISSING
    file.write_text(json.dumps(policy(PREFERENCE)))
    assert read_policy(file) == learned(PREFERENCE)


names = st.lists(st.sampled_from("abcdefg"), unique=True)


@given(names=names, wanted=names)
def test_reordering_never_adds_or_drops_and_moves_only_what_is_wanted(names: list[str], wanted: list[str]) -> None:
    made = reordered(names, wanted)
    assert sorted(made) == sorted(names)
    assert [name for name in made if name in wanted] == [name for name in wanted if name in names]
    assert all(made[n] == name for n, name in enumerate(names) if name not in wanted)


@given(order=st.lists(st.sampled_from(["search", "coder", "coder-7b", "coder-32b", "minilm", "gone"]), min_size=1,
                      unique=True))  # fmt: skip
def test_no_policy_ever_makes_anybody_eligible(order: list[str]) -> None:
    plain, moved = ask(Learned()), ask(learned({"rule": "r", "order": order}))
    assert sorted(plain.candidates) == sorted(moved.candidates)
