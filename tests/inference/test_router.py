"""Decisions: who may answer, in which order, and why others may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import NotFound
from inference import rules
from inference.asked import NEEDS, RouteRequest
from inference.catalogue import Catalogue, Entry
from inference.router import CALLER, ContextExceeded, Decision, as_json, decide, explain, keep_to
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


def test_a_task_that_no_model_can_do_is_told_from_one_that_none_does_yet() -> None:
    everything = rules.parse('[[rule]]\nname = "all"\ncandidates = ["*"]\n', bare_box())
    asked = {task: explain(RouteRequest(task=task), everything, bare_box()) for task in ("rerank", "rernk")}
    assert asked["rerank"].hint == "import one: `appliance model import PATH --task rerank`"
    assert asked["rernk"].hint.startswith("there is no such task; there are chat, ")


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


PROVEN = Catalogue([
    Entry(id="able", tasks=("chat",), context_tokens=999, size_bytes=2, able=("tools", "vision"), tokens_per_second=9),
    Entry(id="quick", tasks=("chat",), context_tokens=999, size_bytes=9, able=("json_schema",), tokens_per_second=90),
    Entry(id="given", tasks=("chat",), context_tokens=999, size_bytes=1),
])  # fmt: skip
ALL = '[[rule]]\nname="r"\ncandidates=["able","quick","given"]\n'


def proven(text: str = ALL, box: Catalogue = PROVEN, **request: object) -> Decision:
    return decide(RouteRequest.model_validate(request), rules.parse(text, PROVEN), box)


def test_who_failed_admission_in_what_the_call_needs_is_left_out() -> None:
    decision = proven(needs=("tools",))
    assert decision.candidates == ("able", "given")  # nobody tried the one that a person gave the task
    assert decision.reasons == ("quick left out: its admission did not pass tools",)
    assert proven(needs=("json_schema",)).candidates == ("quick", "given")
    assert proven(needs=("stream",)).candidates == ("able", "quick", "given")


def test_only_a_model_that_was_seen_to_see_is_shown_images() -> None:
    decision = proven(needs=("vision",))
    assert decision.candidates == ("able",) and "given left out: it cannot see images" in decision.reasons


def test_a_model_asked_for_by_name_is_shown_no_images_either_unless_it_sees() -> None:
    assert proven(model="able", needs=("vision",)).candidates == ("able",)
    with pytest.raises(NotFound, match="not seen to see") as caught:
        proven(model="given", needs=("vision",)).require()
    assert "model admit given" in caught.value.hint


def test_speed_is_ordered_by_measured_speed_where_all_have_it() -> None:
    box = Catalogue([entry for entry in PROVEN if entry.id != "given"])
    decision = proven('[[rule]]\nname="r"\ncandidates=["*"]\n', box, model="auto:speed")
    assert decision.candidates == ("quick", "able") and "ordered for speed by measured speed" in decision.reasons
    assert proven('[[rule]]\nname="r"\ncandidates=["*"]\n', model="auto:speed").candidates[0] == "given"


def test_the_fallback_stays_last_whatever_the_caller_aims_at() -> None:
    text = '[[rule]]\nname="r"\ncandidates=["able","given"]\nfallback=["quick"]\n'
    assert proven(text, model="auto:quality").candidates == ("able", "given", "quick")


def test_an_episode_keeps_its_model_as_long_as_it_is_a_candidate() -> None:
    kept = keep_to(proven(), "given")
    assert kept.candidates == ("given", "able", "quick") and "has served this episode" in kept.reasons[-1]
    gone = keep_to(proven(needs=("vision",)), "given")
    assert gone.candidates == ("able",) and "no candidate any more" in gone.reasons[-1]
    refused = proven(task="repair")
    assert keep_to(refused, "given") is refused and keep_to(kept, "given") is kept


@given(model=st.sampled_from(["able", "quick", "given", "gone"]), needs=st.lists(st.sampled_from(NEEDS), unique=True))
def test_keeping_an_episode_together_never_adds_or_drops_a_candidate(model: str, needs: list[str]) -> None:
    decision = proven(needs=tuple(needs))
    kept = keep_to(decision, model)
    assert sorted(kept.candidates) == sorted(decision.candidates)
    assert model not in decision.candidates or kept.candidates[0] == model


@given(
    task=st.sampled_from(["chat", "repair", "review"]), severity=st.integers(0, 4), attempt=st.integers(0, 3),
    load=st.integers(0, 3), repo=st.sampled_from(["", "team-a"]), needs=st.lists(st.sampled_from(NEEDS), unique=True),
)  # fmt: skip
def test_an_explanation_names_every_rule_once_and_decides_the_same(
    task: str, severity: int, attempt: int, load: int, repo: str, needs: list[str]
) -> None:
    asked = RouteRequest(task=task, severity=severity, attempt=attempt, load=load, repo=repo, needs=tuple(needs))
    parsed, box = rules.parse(RULES, stocked_box()), stocked_box()
    decision, told = decide(asked, parsed, box), explain(asked, parsed, box)
    assert told.with_(considered=()) == decision
    assert [one.rule for one in told.considered] == [rule.name for rule in parsed.rule]
    assert [one.rule for one in told.considered if one.matched] == ([decision.rule] if decision.rule else [])
