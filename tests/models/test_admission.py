"""Admission: what a model must show for which task, against a scripted server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from appliance.cli.exercises import exercises
from appliance.errors import UsageError
from models import talk as talk_module
from models.admission import NEEDS, ORDER, admit, to_try
from models.card import TASKS, Card
from models.reading import leaked_mark, loops, mismatch
from models.score import Score
from models.talk import Talk
from tests.models.scripted_model import BREAD, CALL, CONTEXT, Scripted, scripted_model


@pytest.fixture
def model() -> Iterator[Scripted]:
    with scripted_model() as running:
        yield running


def card(**fields: object) -> Card:
    known = {
        "id": "m", "architecture": "llama", "parameters": 1, "context_tokens": 4096, "embedding_length": 3,
        "quantisation": "F16", "sha256": "ab" * 32, "size_bytes": 1, "tasks": (), "tasks_by_person": (),
        "chat_template": True, "tools": "hermes",
    }  # fmt: skip
    return Card.model_validate(known | fields)


def tried(model: Scripted, of: Card | None = None, tasks: tuple[str, ...] = ()) -> Score:
    talk = Talk(model.url, "secret", "m", CONTEXT)
    try:
        return admit(talk, of or card(), tasks, exercises(), "scripted", lambda line: None)
    finally:
        talk.close()


def said(score: Score, name: str) -> str:
    return next(check.said for check in score.checks if check.name == name)


def test_a_model_that_does_all_well_is_admitted_for_all_and_its_score_says_what_was_measured(model: Scripted) -> None:
    score = tried(model)
    assert not score.failed(), score.failed()
    assert score.tasks == ("chat", "repair", "review", "triage") and score.engine == "scripted"
    assert (score.context_tokens, score.digest) == (CONTEXT, "ab" * 6)
    assert score.first_token_seconds and score.tokens_per_second and score.prompt_tokens_per_second
    assert [check.name for check in score.checks] == [
        name for name in ORDER if name not in ("vision", "vectors", "ranking")
    ]
    admitted = card().scored(score)
    assert admitted.tasks == score.tasks and admitted.able == ("tools", "json_schema", "stream")
    assert {asked["key"] for asked in model.asked} == {"Bearer secret"}


def test_every_task_has_its_checks_and_every_check_its_place() -> None:
    assert set(NEEDS) == set(TASKS) and {check for needed in NEEDS.values() for check in needed} <= set(ORDER)
    assert to_try(("embedding",), whole=True) == ("vectors",) and "tool_call" not in to_try(("chat",), whole=False)


def worse(**answers: str) -> Callable[[Scripted], None]:
    def change(model: Scripted) -> None:
        for piece, text in answers.items():
            (key,) = [known for known in model.answers if piece.replace("_", " ") in known]
            model.answers[key] = text

    return change


def with_(**fields: object) -> Callable[[Scripted], None]:
    def change(model: Scripted) -> None:
        for name, value in fields.items():
            setattr(model, name, value)

    return change


def calling(name: str, arguments: str) -> Callable[[Scripted], None]:
    return with_(calls=[{**CALL, "function": {"name": name, "arguments": arguments}}])


@pytest.mark.parametrize(
    ("change", "check", "why", "lost"),
    [
        (worse(France="London."), "chat", "London", {"chat", "repair", "review", "triage"}),
        (worse(France=""), "chat", "0 tokens|1 tokens", {"chat", "repair", "review", "triage"}),
        (with_(done=False), "streaming", "its end mark", {"chat"}),
        (worse(rain="Rain."), "streaming", "more than one piece", {"chat"}),
        (worse(Count="7, 8, 9, 10"), "stop", "stop text stands", {"chat", "repair", "review", "triage"}),
        (worse(hello="Hello<|im_end|>"), "stop", "mark of the template", {"chat", "repair", "review", "triage"}),
        (worse(bread="and then " * 60), "no_loops", "again and again", {"chat", "repair", "review", "triage"}),
        (worse(bread=""), "no_loops", "tokens", {"chat", "repair", "review", "triage"}),
        (worse(three="Some files"), "json_schema", "schema 2 of 3: it is not JSON", {"triage"}),
        (worse(web_shop='{"title": "x", "severity": 9, "kind": "bug"}'), "json_schema", "out of bounds", {"triage"}),
        (calling("weather", '{"town": "Lisbon"}'), "tool_call", "lacks city", set()),
        (calling("rain", "{}"), "tool_call", "it called", set()),
        (calling("weather", '{"city": "Porto"}'), "tool_call", "another city", set()),
        (with_(calls=[]), "tool_call", "called no tool", set()),
        (worse(secret="I forgot"), "context", "was not: I forgot", {"chat", "repair", "review", "triage"}),
        (worse(exactly="no edit", raises="Change the sign."), "edit_format", "usable form in 1 of 3", {"repair"}),
        (worse(exactly="CANNOT: no", raises="x"), "edit_format", "first: it gives up: no", {"repair"}),
        (worse(not_110="Fine.\nVERDICT: PASS"), "verdict", "right in 1", {"review"}),
        (worse(shipping="All is well."), "verdict", "no line VERDICT", {"review"}),
    ],
)  # fmt: skip
def test_what_a_model_does_badly_costs_it_the_tasks_that_need_it(
    model: Scripted, change: Callable[[Scripted], None], check: str, why: str, lost: set[str]
) -> None:
    change(model)
    score = tried(model)
    assert [failed.name for failed in score.failed()] == [check]
    assert any(part in said(score, check) for part in why.split("|")), said(score, check)
    assert set(score.tasks) == {"chat", "repair", "review", "triage"} - lost


def test_an_answer_that_does_not_end_by_itself_fails(model: Scripted) -> None:
    model.finish = "length"
    assert {"chat", "stop"} <= {check.name for check in tried(model).failed()}


def test_a_context_that_the_engine_does_not_take_is_not_usable(model: Scripted) -> None:
    model.broken = lambda body: 400 if len(str(body)) > 3000 else 0
    assert "status 400" in said(tried(model), "context")


def test_a_model_that_claims_to_see_is_shown_a_picture(model: Scripted) -> None:
    seeing = card(vision=True)
    assert seeing.scored(tried(model, seeing)).able == ("tools", "json_schema", "stream", "vision")
    model.answers["Which colour"] = "Blue."
    assert said(tried(model, seeing), "vision") == "a red picture: Blue."
    assert not any(check.name == "vision" for check in tried(model).checks)


def test_an_engine_that_goes_away_fails_what_was_still_to_be_tried(model: Scripted) -> None:
    model.deaf = lambda body: "bread" in str(body)
    score = tried(model)
    assert "went away" in said(score, "no_loops") and said(score, "context").startswith("not tried: the engine went")
    assert score.passed("chat") and score.tasks == ()


def test_an_engine_that_says_nothing_for_too_long_fails_that_check_alone(
    model: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talk_module, "SILENCE_SECONDS", 0.5)
    model.deaf = lambda body: "secret word" in str(body) and bool(time.sleep(0.8) or True)
    score = tried(model)
    assert said(score, "context") == "no word within 0.5 s" and score.passed("verdict")


def test_a_template_without_tools_is_not_asked_for_them(model: Scripted) -> None:
    assert said(tried(model, card(tools="")), "tool_call") == "its chat template knows no tools"


def test_embedders_and_rerankers_are_tried_as_such(model: Scripted) -> None:
    assert tried(model, card(architecture="bert", pooling="mean")).tasks == ("embedding",)
    assert tried(model, card(architecture="bert", pooling="rank")).tasks == ("rerank",)
    short = tried(model, card(architecture="bert", pooling="mean", embedding_length=384))
    assert short.tasks == () and "not 3 of 384" in said(short, "vectors")


def test_nothing_to_try_is_said_with_the_way_out(model: Scripted) -> None:
    with pytest.raises(UsageError) as caught:
        tried(model, card(chat_template=False))
    assert "--force" in caught.value.hint


def test_one_task_alone_is_tried_anew_and_the_rest_of_the_score_stays(model: Scripted) -> None:
    first = card().scored(tried(model))
    worse(exactly="no", raises="no")(model)
    again = first.scored(tried(model, first, ("repair",)))
    assert again.tasks == ("chat", "review", "triage") and again.score is not None
    assert again.score.passed("verdict") and not again.score.passed("edit_format")
    assert first.score is not None and again.score.first_token_seconds == first.score.first_token_seconds
    worse(bread="x " * 200)(model)
    assert tried(model, again, ("chat",)).tasks == (), "what other tasks need too is lost to them too"


def test_other_weights_begin_with_an_empty_score(model: Scripted) -> None:
    first = card().scored(tried(model))
    score = tried(model, first.with_(sha256="cd" * 32), ("triage",))
    assert score.tasks == ("triage",) and {check.name for check in score.checks} == set(NEEDS["triage"])


def test_a_persons_tasks_stay_and_what_admission_gave_goes_with_it(model: Scripted) -> None:
    mine = card(tasks=("review",), tasks_by_person=("review",))
    assert mine.scored(tried(model)).tasks == ("chat", "repair", "review", "triage")
    lost = mine.scored(tried(model)).scored(Score(digest=mine.digest))
    assert lost.tasks == ("review",)
    old = card(tasks=("chat",), tasks_by_person=None)
    assert old.scored(Score()).tasks == ("chat",), "tasks from before admission were a person's"
    assert lost.given(["chat"]).tasks == ("chat",)


def test_exercises_accept_any_usable_form_and_know_the_right_answer() -> None:
    edit, _, _, passing, failing = exercises()
    wrong = edit.judge("shop/price.py\n<<<<<<< SEARCH\n    return 5\n=======\n    return 6\n>>>>>>> REPLACE")
    assert not wrong.problem and not wrong.right
    assert edit.judge("tests/x.py\n```python\nx = 1\n```").problem
    assert passing.judge("VERDICT: PASS").right and not failing.judge("VERDICT: PASS").right


@pytest.mark.parametrize(
    ("text", "looping"),
    [(BREAD, False), ("", False), ("yes " * 100, True), ("ha" * 40, True), ("\n" * 80, False), ("a. " * 5, False),
     ("The sea is wide and deep and blue today. " * 6, True), ("-" * 60, True)],
)  # fmt: skip
def test_loops_are_told_from_prose(text: str, looping: bool) -> None:
    assert bool(loops(text)) == looping


def test_marks_of_templates_are_told_from_code() -> None:
    assert [leaked_mark(text) for text in ("ok</s>", "<|eot_id|>", "[INST]")] == ["</s>", "<|eot_id|>", "[INST]"]
    assert leaked_mark("if a <b and c> d: x[1] | y") == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [('{"a": 1}', ""), ('{"a": true}', "no integer"), ('{"a": 1, "b": 2}', "nobody asked"), ("{}", "lacks a"),
     ("[]", "no object"), ("{", "not JSON"), ('{"a": 11}', "out of bounds")],
)  # fmt: skip
def test_a_schema_is_kept_to_or_the_reason_is_told(text: str, why: str) -> None:
    schema = {
        "type": "object", "required": ["a"], "additionalProperties": False,
        "properties": {"a": {"type": "integer", "maximum": 10}},
    }  # fmt: skip
    found = mismatch(text, schema)
    assert why in found and bool(found) == bool(why)
