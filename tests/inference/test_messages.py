"""The Messages API as pure functions: calls to chat completions, answers and streams back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.gateway.chat import prepare_chat
from inference.gateway.faults import ApiError
from inference.gateway.messages import chat_body, error_body, ignored
from inference.gateway.messages_answer import MessagesVoice, message_of
from inference.gateway.stream import Shaper, shape_answer
from inference.limits import Priority
from tests.inference.mock_engine import USAGE, USAGE_CHUNK, delta, whole_answer

USER = [{"role": "user", "content": "Hello?"}]
TOOL = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}


def call(index: int, text: str = "", **head: Any) -> dict[str, Any]:
    name = {"name": head["name"]} if "name" in head else {}
    return {"index": index, **({"id": head["id"]} if "id" in head else {}), "function": {**name, "arguments": text}}


def events(raw: bytes) -> list[dict[str, Any]]:
    """Each event's data. Its `event:` line must name the same type."""
    found = []
    for block in raw.decode().split("\n\n")[:-1]:
        first, second = block.split("\n")
        data = orjson.loads(second.removeprefix("data: "))
        assert first == f"event: {data['type']}"
        found.append(data)
    return found


def spoken(*chunks: dict[str, Any], must_call: bool = False) -> list[dict[str, Any]]:
    shaper, voice = Shaper("m", must_call), MessagesVoice("m", "1", 5, Priority.INTERACTIVE)
    out = voice.begin()
    for chunk in chunks:
        shaped = shaper.shape(orjson.dumps(chunk))
        out += voice.say(shaped) if shaped else b""
    return events(out + voice.end(shaper.usage))


def test_a_conversation_with_tools_and_thoughts_becomes_chat_messages() -> None:
    made = chat_body(
        {
            "model": "m", "max_tokens": 9, "stop_sequences": ["END"], "system": "Be kind.", "tools": [TOOL],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "hm", "signature": ""},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}},
                    {"type": "tool_use", "id": "t2", "name": "look", "input": {}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a tree"}]},
                    {"type": "tool_result", "tool_use_id": "t2", "content": "dark", "is_error": True},
                    {"type": "text", "text": "And now?"},
                ]},
            ],
        }
    )  # fmt: skip
    assert made["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "a\nb"},
        {"role": "assistant", "content": "I look.", "reasoning_content": "hm", "tool_calls": [
            {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}},
            {"id": "t2", "type": "function", "function": {"name": "look", "arguments": "{}"}},
        ]},
        {"role": "tool", "tool_call_id": "t1", "content": "a tree"},
        {"role": "tool", "tool_call_id": "t2", "content": "Error: dark"},
        {"role": "user", "content": "And now?"},
    ]  # fmt: skip
    assert made["tools"][0]["function"]["parameters"] == TOOL["input_schema"]
    assert (made["stop"], made["max_tokens"]) == (["END"], 9)
    prepare_chat(made)


@pytest.mark.parametrize(
    ("choice", "ours"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "look"}, {"type": "function", "function": {"name": "look"}}),
    ],
)
def test_each_choice_of_a_tool_has_its_match(choice: dict[str, Any], ours: Any) -> None:
    made = chat_body({"messages": USER, "tools": [TOOL], "tool_choice": {**choice, "disable_parallel_tool_use": True}})
    assert made["tool_choice"] == ours and made["parallel_tool_calls"] is False


def test_tools_that_only_a_vendor_runs_are_left_out_and_named() -> None:
    body = {"messages": USER, "tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}]}
    assert [tool["function"]["name"] for tool in chat_body(body)["tools"]] == ["look"]
    assert ignored(body) == ("web_search_20250305",)
    with pytest.raises(ApiError, match="web_search"):
        prepare_chat(chat_body({**body, "tool_choice": {"type": "tool", "name": "web_search"}}))


@pytest.mark.parametrize("place", ["output_format", "output_config"])
def test_a_schema_of_the_answer_is_never_ignored(place: str) -> None:
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    body = {"messages": USER, place: wanted if place == "output_format" else {"format": wanted}}
    assert chat_body(body)["response_format"]["json_schema"]["schema"] == {"type": "object"}
    with pytest.raises(ApiError):
        chat_body({"messages": USER, "output_format": {"type": "yaml"}})
    with pytest.raises(ApiError):
        prepare_chat(chat_body({"messages": USER, "output_format": {"type": "json_schema"}}))


@pytest.mark.parametrize(("kind", "on"), [("enabled", True), ("adaptive", True), ("disabled", False)])
def test_thinking_is_a_switch_of_the_models_template(kind: str, on: bool) -> None:
    assert chat_body({"messages": USER, "thinking": {"type": kind}})["chat_template_kwargs"] == {"enable_thinking": on}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4)
    | st.sampled_from(["user", "assistant", "text", "tool_use", "tool_result", "tool", "any", "json_schema"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["messages", "role", "content", "type", "text", "system", "tools", "tool_choice", "name", "input_schema",
             "thinking", "output_format", "output_config", "format", "schema", "source", "metadata", "input"]
        ),
        inner, max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["messages", "system", "tools", "tool_choice", "thinking", "output_config"]),
                       json_values, max_size=6), st.lists(json_values, min_size=1, max_size=3))  # fmt: skip
def test_any_json_is_either_understood_or_refused_with_status_400(body: dict[str, Any], contents: list[Any]) -> None:
    for messages in (body.get("messages"), [{"role": "user", "content": content} for content in contents],
                     [{"role": "assistant", "content": content} for content in contents]):  # fmt: skip
        try:
            prepare_chat(chat_body({**body, "messages": messages}))
            ignored(body)
        except ApiError as error:
            assert error.status == 400


def test_an_answer_becomes_blocks_in_order() -> None:
    made = shape_answer(
        whole_answer("Fine.", reasoning="hm", tool_calls=[
            {"id": "c1", "function": {"name": "look", "arguments": '{"at": 1}'}},
            {"id": "c2", "function": {"name": "look", "arguments": "{oops"}},
        ]),
        "m",
    )  # fmt: skip
    message = message_of(made, "m", "7", Priority.INTERACTIVE)
    assert message["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "Fine."},
        {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1}},
        {"type": "tool_use", "id": "c2", "name": "look", "input": {"_raw": "{oops"}},
    ]
    assert (message["id"], message["stop_reason"], message["stop_sequence"]) == ("msg_7", "tool_use", None)
    assert message["usage"]["input_tokens"] == 7 and message["usage"]["output_tokens"] == 3


def test_cached_tokens_are_counted_apart() -> None:
    answer = whole_answer() | {"usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}}
    usage = message_of(shape_answer(answer, "m"), "m", "7", Priority.BATCH)["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (3, 4)


@pytest.mark.parametrize(
    ("choice", "reason", "sequence"),
    [
        ({"finish_reason": "stop"}, "end_turn", None),
        ({"finish_reason": "length"}, "max_tokens", None),
        ({"finish_reason": "content_filter"}, "refusal", None),
        ({"finish_reason": "stop", "stop_reason": "END"}, "stop_sequence", "END"),
        ({"finish_reason": "stop", "stop_reason": 151645}, "end_turn", None),
    ],
)
def test_each_end_has_its_stop_reason(choice: dict[str, Any], reason: str, sequence: str | None) -> None:
    chunk = delta()
    chunk["choices"][0] |= choice
    told = spoken(delta(content="a"), chunk)[-2]
    assert told["delta"] == {"stop_reason": reason, "stop_sequence": sequence}


def test_a_stream_is_a_message_of_blocks_that_begin_and_stop_in_turn() -> None:
    made = spoken(
        delta(role="assistant", content=None), delta(reasoning="h"), delta(reasoning_content="m"), delta(content="I "),
        delta(content="look."), delta(tool_calls=[call(0, id="c1", name="look")]),
        delta(tool_calls=[call(0, '{"at"')]), delta(tool_calls=[call(0, ": 1}")]),
        delta(tool_calls=[call(1, "{}", id="c2", name="look")]), delta("stop"), USAGE_CHUNK,
    )  # fmt: skip
    blocks = ["content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"]
    assert [one["type"] for one in made] == [
        "message_start", *blocks * 3, blocks[0], blocks[1], blocks[3], "message_delta", "message_stop",
    ]  # fmt: skip
    assert [one["index"] for one in made if one["type"] == "content_block_start"] == [0, 1, 2, 3]
    kinds = [one["content_block"]["type"] for one in made if one["type"] == "content_block_start"]
    assert kinds == ["thinking", "text", "tool_use", "tool_use"]
    inputs = [one["delta"]["partial_json"] for one in made if one.get("delta", {}).get("type") == "input_json_delta"]
    assert inputs == ['{"at"', ": 1}", "{}"]
    assert made[0]["message"]["usage"]["input_tokens"] == 5
    assert made[-2]["delta"]["stop_reason"] == "tool_use" and made[-2]["usage"]["input_tokens"] == 7


def test_a_demanded_call_is_streamed_as_a_tool_block() -> None:
    text = '{"name": "look", "arguments": {"at": 1}}'
    chunks = delta(role="assistant"), delta(content=text[:9]), delta(content=text[9:]), delta("stop")
    made = spoken(*chunks, must_call=True)
    (block,) = [one["content_block"] for one in made if one["type"] == "content_block_start"]
    assert (block["type"], block["name"]) == ("tool_use", "look") and block["id"]
    assert made[-2]["delta"]["stop_reason"] == "tool_use"


def test_an_engine_that_goes_back_to_an_earlier_call_is_an_error_and_not_a_mixed_up_call() -> None:
    with pytest.raises(ValueError, match="went back"):
        spoken(
            delta(tool_calls=[call(0, id="a", name="look")]), delta(tool_calls=[call(1, id="b", name="look")]),
            delta(tool_calls=[call(0, "{}")]),
        )  # fmt: skip


def test_a_failure_in_mid_stream_is_an_error_event() -> None:
    broken = MessagesVoice("m", "1", 0, Priority.INTERACTIVE).fail(ApiError(502, "it went away", "engine_lost"))
    (told,) = events(broken)
    assert told["error"] == {"type": "api_error", "message": "it went away"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"), (404, "not_found_error"),
     (413, "request_too_large"), (429, "rate_limit_error"), (500, "api_error"), (503, "overloaded_error")],
)  # fmt: skip
def test_each_status_has_its_type_of_error(status: int, kind: str) -> None:
    made = error_body(ApiError(status, "no", "x"), "r1")
    assert made == {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "r1"}


def test_a_prompt_that_is_too_long_is_said_in_the_words_clients_look_for() -> None:
    made = error_body(ApiError(400, "9 tokens", "context_length_exceeded"), "r1")
    assert made["error"]["message"] == "prompt is too long: 9 tokens"
