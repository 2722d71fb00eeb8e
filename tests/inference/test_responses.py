"""The Responses API as pure functions: calls to chat completions, answers and streams back, and what is kept."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.gateway.chat import prepare_chat
from inference.gateway.faults import ApiError
from inference.gateway.kept import Kept
from inference.gateway.responses import chat_body, custom_tools, ignored
from inference.gateway.responses_answer import ResponsesVoice, empty_response, response_of
from inference.gateway.stream import Shaper, shape_answer
from tests.inference.mock_engine import USAGE_CHUNK, delta, whole_answer
from tests.inference.test_messages import call, events

LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}}
PATCH = {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}}


def voice(body: dict[str, Any] | None = None, done: Any = lambda response: None) -> ResponsesVoice:
    body = body or {}
    return ResponsesVoice(empty_response(body, "m", "1", 17), custom_tools(body), done)


def spoken(
    *chunks: dict[str, Any], body: dict[str, Any] | None = None, must_call: bool = False
) -> list[dict[str, Any]]:
    shaper, speaker = Shaper("m", must_call), voice(body)
    out = speaker.begin()
    for chunk in chunks:
        shaped = shaper.shape(orjson.dumps(chunk))
        out += speaker.say(shaped) if shaped else b""
    made = events(out + speaker.end(shaper.usage))
    assert [one["sequence_number"] for one in made] == list(range(len(made)))
    return made


def test_a_text_is_one_message_of_the_user() -> None:
    made = chat_body({"input": "Hi", "instructions": "Be kind.", "max_output_tokens": 5, "stream": True})
    assert made["messages"] == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    assert made["max_tokens"] == 5 and made["stream"] is True


def test_items_of_several_steps_become_chat_messages() -> None:
    items = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "+x"},
        {"type": "web_search_call", "id": "w1", "status": "completed"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "a tree"}]},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"},
        {"type": "reasoning", "summary": [], "encrypted_content": "x"},
        {"role": "assistant", "content": "Fine."},
    ]
    assert chat_body({"input": items})["messages"] == [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "I look.", "reasoning_content": "hm", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
            {"id": "c2", "type": "function", "function": {"name": "patch", "arguments": '{"input":"+x"}'}},
        ]},
        {"role": "tool", "tool_call_id": "c1", "content": "a tree"},
        {"role": "tool", "tool_call_id": "c2", "content": "done"},
        {"role": "assistant", "content": "Fine."},
    ]  # fmt: skip
    assert ignored({"input": items}) == ("web_search_call",)


def test_tools_of_a_vendor_are_left_out_and_custom_ones_become_functions() -> None:
    body = {"input": "x", "tools": [LOOK, PATCH, {"type": "web_search"}], "truncation": "auto"}
    made = chat_body(body)
    assert [tool["function"]["name"] for tool in made["tools"]] == ["look", "patch"]
    assert made["tools"][1]["function"]["parameters"]["required"] == ["input"]
    assert "start: X" in made["tools"][1]["function"]["description"]
    assert ignored(body) == ("web_search", "truncation") and custom_tools(body) == {"patch"}


@pytest.mark.parametrize(
    ("choice", "ours", "left"),
    [
        ("required", "required", 2),
        ({"type": "function", "name": "look"}, {"type": "function", "function": {"name": "look"}}, 2),
        ({"type": "custom", "name": "patch"}, {"type": "function", "function": {"name": "patch"}}, 2),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "look"}]}, "required", 1),
    ],
)
def test_each_choice_of_a_tool_has_its_match(choice: Any, ours: Any, left: int) -> None:
    made = chat_body({"input": "x", "tools": [LOOK, PATCH], "tool_choice": choice})
    assert made["tool_choice"] == ours and len(made["tools"]) == left
    assert prepare_chat(made).must_call


def test_a_schema_of_the_answer_is_never_ignored() -> None:
    wanted = {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}
    made = chat_body({"input": "x", "text": {"format": wanted, "verbosity": "low"}})
    assert made["response_format"] == {"type": "json_schema", "json_schema": {k: wanted[k] for k in
                                                                             ("name", "schema", "strict")}}  # fmt: skip
    for wrong in ({"type": "yaml"}, {"type": "json_schema", "name": "x"}):
        with pytest.raises(ApiError):
            prepare_chat(chat_body({"input": "x", "text": {"format": wrong}}))


@pytest.mark.parametrize(
    "body",
    [
        {}, {"input": ""}, {"input": []}, {"input": [3]}, {"input": [{"role": "king", "content": "x"}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        {"input": [{"type": "item_reference", "id": "x"}]}, {"input": "x", "background": True},
        {"input": "x", "conversation": "c"}, {"input": "x", "prompt": {"id": "p"}}, {"input": "x", "instructions": [1]},
        {"input": "x", "tools": [LOOK], "tool_choice": {"type": "web_search"}},
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        chat_body(body)
    assert caught.value.status == 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4)
    | st.sampled_from(["user", "assistant", "function_call", "reasoning", "function_call_output", "custom", "grammar"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["role", "content", "type", "text", "name", "output", "arguments", "call_id", "format", "input",
                         "tools", "mode", "parameters", "effort", "summary"]),
        inner, max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip
KEYS = ["input", "instructions", "tools", "tool_choice", "text", "reasoning", "truncation", "metadata"]


@given(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=6),
       st.lists(st.dictionaries(st.sampled_from(["type", "role", "content", "output", "arguments", "name"]),
                                json_values), max_size=4))  # fmt: skip
def test_any_json_is_either_understood_or_refused_with_status_400(body: dict[str, Any], items: list[Any]) -> None:
    for given_input in (body.get("input"), items):
        whole = {**body, "input": given_input}
        try:
            prepare_chat(chat_body(whole))
            ignored(whole)
            custom_tools(whole)
        except ApiError as error:
            assert error.status == 400


def test_a_stream_of_text_has_every_event_in_its_order() -> None:
    made = spoken(delta(role="assistant", content=None), delta(content="He"), delta(content="llo"), delta("stop"),
                  USAGE_CHUNK)  # fmt: skip
    assert [one["type"] for one in made] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.delta", "response.output_text.done",
        "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    response = made[-1]["response"]
    assert response["status"] == "completed" and response["output"][0]["content"][0]["text"] == "Hello"
    assert response["usage"]["input_tokens"] == 7 and response["usage"]["total_tokens"] == 10
    assert made[0]["response"]["status"] == "in_progress" and made[0]["response"]["output"] == []


def test_thoughts_text_and_calls_are_items_of_their_own() -> None:
    made = spoken(
        delta(reasoning_content="hm"), delta(content="I look."), delta(tool_calls=[call(0, id="c1", name="look")]),
        delta(tool_calls=[call(0, '{"at":')]), delta(tool_calls=[call(0, "1}")]),
        delta(tool_calls=[call(1, '{"input": "+x\\n"}', id="c2", name="patch")]), delta("stop"),
        body={"tools": [LOOK, PATCH]},
    )  # fmt: skip
    output = made[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "custom_tool_call"]
    assert output[0]["content"] == [{"type": "reasoning_text", "text": "hm"}] and output[0]["summary"] == []
    assert (output[2]["call_id"], output[2]["name"], output[2]["arguments"]) == ("c1", "look", '{"at":1}')
    assert (output[3]["call_id"], output[3]["input"]) == ("c2", "+x\n")
    assert {item["status"] for item in output} == {"completed"} and len({item["id"] for item in output}) == 4
    added = [one["output_index"] for one in made if one["type"] == "response.output_item.added"]
    done = [one["output_index"] for one in made if one["type"] == "response.output_item.done"]
    assert added == done == [0, 1, 2, 3]
    deltas = [one["delta"] for one in made if one["type"] == "response.function_call_arguments.delta"]
    assert deltas == ['{"at":', "1}"]
    assert [one["delta"] for one in made if one["type"] == "response.custom_tool_call_input.delta"] == ["+x\n"]


def test_a_demanded_call_is_an_item() -> None:
    text = '{"name": "look", "arguments": {"at": 1}}'
    chunks = delta(role="assistant"), delta(content=text[:9]), delta(content=text[9:]), delta("stop")
    (item,) = spoken(*chunks, must_call=True)[-1]["response"]["output"]
    assert (item["type"], item["name"], item["arguments"]) == ("function_call", "look", '{"at":1}')


@pytest.mark.parametrize(("reason", "why"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_is_incomplete_with_the_reason(reason: str, why: str) -> None:
    last = spoken(delta(content="He"), delta(reason))[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": why}
    assert last["response"]["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ApiError(502, "gone", "engine_lost"), "server_error"),
        (ApiError(429, "busy", "engine_busy"), "rate_limit_exceeded"),
        (ApiError(400, "long", "context_length_exceeded"), "context_length_exceeded"),
    ],
)
def test_a_failure_in_mid_stream_is_response_failed(failure: ApiError, code: str) -> None:
    speaker = voice()
    speaker.begin()
    (told,) = events(speaker.fail(failure))
    assert told["type"] == "response.failed" and told["response"]["status"] == "failed"
    assert told["response"]["error"] == {"code": code, "message": failure.message}


def test_a_whole_answer_is_what_its_stream_would_have_built() -> None:
    calls = [{"id": "c1", "function": {"name": "look", "arguments": "{}"}}]
    body = {"instructions": "Be kind.", "temperature": 0, "tools": [LOOK], "metadata": {"a": "b"}}
    kept: list[dict[str, Any]] = []
    answer = shape_answer(whole_answer("Fine.", reasoning="hm", tool_calls=calls), "m")
    response = response_of(answer, voice(body, kept.append))
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "function_call"]
    assert (response["instructions"], response["temperature"], response["metadata"]) == ("Be kind.", 0, {"a": "b"})
    assert response["status"] == "completed" and kept == [response]


class FakeClock:
    time = 0.0

    def monotonic(self) -> float:
        return self.time


def kept_response(id: str, text: str = "x") -> dict[str, Any]:
    return {"id": id, "output": [{"type": "message", "role": "assistant", "content": text}]}


def test_a_kept_response_is_for_its_owner_alone_and_holds_the_conversation() -> None:
    kept = Kept(5)
    kept.put("ann", kept_response("r1"), [{"role": "user", "content": "a"}])
    found = kept.get("ann", "r1")
    assert found is not None and [item["role"] for item in found.items] == ["user", "assistant"]
    assert kept.get("bob", "r1") is None and not kept.drop("bob", "r1")
    assert kept.drop("ann", "r1") and kept.get("ann", "r1") is None


def test_what_is_kept_is_bounded_in_number_size_and_time() -> None:
    clock = FakeClock()
    kept = Kept(2, seconds=10, size=3000, clock=clock)  # type: ignore[arg-type]
    for id in ("r1", "r2", "r3"):
        kept.put("ann", kept_response(id), [])
    assert [kept.get("ann", id) is not None for id in ("r1", "r2", "r3")] == [False, True, True]
    kept.put("ann", kept_response("big", "x" * 1000), [])
    assert kept.get("ann", "r2") is None and kept.get("ann", "big") is not None
    kept.put("ann", kept_response("huge", "x" * 3000), [])
    assert kept.get("ann", "huge") is None and kept.get("ann", "big") is not None
    clock.time = 11
    assert kept.get("ann", "big") is None and kept.get("ann", "r3") is None


def test_with_room_for_none_nothing_is_kept() -> None:
    kept = Kept(0)
    kept.put("ann", kept_response("r1"), [])
    assert not kept.on and kept.get("ann", "r1") is None
