"""Decisions: who may answer, in which order, and why others may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import NotFound
from inference import rules
from inference.asked import RouteRequest
from inference.catalogue import Catalogue, Entry
from inference.router import CALLER, ContextExceeded, Decision, as_json, decide, explain
from tests.inference.catalogues import bare_box, stocked_box

RULES = """
[[rule]]
name = "long review"
when = { task = "review", prompt_tokens = { min = 1000 } }
candidates = ["coder-32b"]

[[rule]]
name = "repair"
when = { task = "repair", language = ["python"], repo = ["team-*"], sensitivity = { max = "internal" } }
candidates = ["search", "coder", "coder-32b"]
fallback = ["coder-7b"]
learning = "apply"

[[rule]]
name = "tools"
when = { needs = ["tools"] }
candidates = ["coder-7b"]

[[rule]]
name = "rest"
when = { task = ["chat", "embedding"] }
candidates = ["*"]
"""


def ask(catalogue: Catalogue | None = None, text: str = RULES, **request: object) -> Decision:
    box = stocked_box() if catalogue is None else catalogue
    return decide(RouteRequest.model_validate(request), rules.parse(text, stocked_box()), box)


def why_not(text: str = RULES, **request: object) -> Decision:
    return explain(RouteRequest.model_validate(request), rules.parse(text, stocked_box()), stocked_box())


def test_the_first_rule_whose_conditions_all_hold_decides() -> None:
    decision = ask(task="repair", language="python", repo="team-a")
    assert decision.rule == "repair"
    assert decision.candidates == ("search", "coder-7b", "coder-32b")
    assert decision.learning == "apply"


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"task": "repair", "language": "go", "repo": "team-a"}, "language is go, not python"),
        ({"task": "repair", "language": "python"}, "repo is not given, not team-*"),
        ({"task": "repair", "language": "python", "repo": "team-a", "sensitivity": 3}, "above internal"),
    ],
)
def test_a_condition_that_does_not_hold_is_named(request_: dict[str, object], why: str) -> None:
    decision = why_not(**request_)
    assert why in next(c.why for c in decision.considered if c.rule == "repair")


def test_no_rule_means_not_found_with_a_hint() -> None:
    with pytest.raises(NotFound) as caught:
        ask(task="dream").require()
    assert "no rule" in caught.value.message
    assert "route explain" in caught.value.hint


def test_a_model_not_admitted_for_the_task_is_left_out_with_the_reason() -> None:
    decision = ask(task="review", text='[[rule]]\nname="r"\ncandidates=["coder-7b","coder-32b"]\n')
    assert decision.candidates == ("coder-32b",)
    assert decision.reasons == ("coder-7b left out: not admitted for review",)


def test_a_context_that_is_too_small_is_left_out_with_the_reason() -> None:
    decision = ask(task="chat", prompt_tokens=5000)
    assert decision.candidates == ("coder-32b",)
    assert any("4096 tokens is too small for 5000" in reason for reason in decision.reasons)


def test_a_prompt_too_long_for_all_is_context_exceeded() -> None:
    with pytest.raises(ContextExceeded):
        ask(task="chat", prompt_tokens=50_000).require()


def test_search_answers_no_call() -> None:
    decision = ask(task="repair", language="python", repo="team-a", answering=True)
    assert decision.candidates == ("coder-7b", "coder-32b")
    assert "search left out" in decision.reasons[0]


def test_an_alias_and_its_model_are_one_candidate() -> None:
    decision = ask(task="chat", text='[[rule]]\nname="r"\ncandidates=["coder","coder-7b","*"]\n')
    assert decision.candidates == ("coder-7b", "coder-32b")


def test_a_condition_on_needs_holds_only_when_the_request_needs_it() -> None:
    assert ask(task="chat", needs=("tools", "stream")).rule == "tools"
    assert ask(task="chat", needs=("stream",)).rule == "rest"


@pytest.mark.parametrize(
    ("model", "first"),
    [("auto", "coder-32b"), ("auto:quality", "coder-32b"), ("auto:cost", "coder-7b"), ("auto:speed", "coder-7b")],
)
def test_auto_orders_by_the_objective(model: str, first: str) -> None:
    assert ask(task="chat", model=model).candidates[0] == first


def test_auto_with_an_aim_keeps_search_first() -> None:
    decision = ask(task="repair", language="python", repo="team-a", model="auto:quality")
    assert decision.candidates == ("search", "coder-32b", "coder-7b")


def test_an_unknown_aim_is_an_unknown_model() -> None:
    with pytest.raises(NotFound, match="auto:beauty"):
        ask(model="auto:beauty").require()


def test_a_named_model_needs_no_rule_but_admission() -> None:
    assert ask(task="chat", model="coder", text="").candidates == ("coder-7b",)
    assert ask(task="chat", model="coder", text="").rule == CALLER
    with pytest.raises(NotFound, match="not admitted for task 'chat'"):
        ask(task="chat", model="minilm").require()


def test_a_wrong_model_name_gets_the_near_ones() -> None:
    with pytest.raises(NotFound) as caught:
        ask(task="chat", model="coder-8b").require()
    assert "'coder-7b'" in caught.value.hint


def test_a_model_that_left_the_box_is_left_out() -> None:
    decision = ask(bare_box(), task="repair", language="python", repo="team-a")
    assert decision.candidates == ("search",)
    assert "coder-32b left out: this box has no such model any more" in decision.reasons


def test_the_default_rules_repair_by_search_on_a_bare_box() -> None:
    decision = ask(bare_box(), text=rules.default_text(), task="repair", language="python")
    assert decision.candidates == ("search",)


def test_the_default_rules_embed_with_the_bundled_model() -> None:
    assert ask(bare_box(), text=rules.default_text(), task="embedding").candidates == ("all-minilm-l6-v2",)


def test_a_chat_on_a_bare_box_is_not_found_and_says_what_to_do() -> None:
    with pytest.raises(NotFound) as caught:
        ask(bare_box(), text=rules.default_text(), task="chat").require()
    assert "model import PATH --task chat" in caught.value.hint


def test_a_decision_turns_into_json_and_says_all() -> None:
    shown = as_json(why_not(task="chat"))
    assert shown["candidates"] == ["coder-32b", "coder-7b"]
    assert {"rule", "reasons", "considered", "objective"} <= set(shown)


@given(
    task=st.sampled_from(["chat", "repair", "review", "embedding", "other"]),
    prompt_tokens=st.integers(0, 40_000),
    language=st.sampled_from(["", "python", "go"]),
    repo=st.sampled_from(["", "team-a", "x"]),
    model=st.sampled_from(["auto", "auto:cost", "coder", "minilm", "gone"]),
)
def test_no_decision_ever_names_an_ineligible_model(
    task: str, prompt_tokens: int, language: str, repo: str, model: str
) -> None:
    box = stocked_box()
    decision = ask(task=task, prompt_tokens=prompt_tokens, language=language, repo=repo, model=model)
    for name in decision.candidates:
        if name == "search":
            assert task == "repair"
            continue
        entry = box.find(name)
        assert isinstance(entry, Entry) and task in entry.tasks
        assert decision.rule == CALLER or entry.context_tokens >= prompt_tokens
    assert len(set(decision.candidates)) == len(decision.candidates)
    assert decision.candidates or decision.refusal
