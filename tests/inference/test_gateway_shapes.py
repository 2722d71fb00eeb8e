"""Bodies and chunks, put into the shapes that engines and clients rely on. Pure."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import (
    ConfigError,
    Conflict,
    FactoryError,
    LimitExceeded,
    NotFound,
    PolicyRefused,
    Unavailable,
    UsageError,
)
from inference.gateway.chat import normalise_messages, prepare_chat, prepare_completion
from inference.gateway.embedding import decode, encode, prepare_embedding, shape_embeddings
from inference.gateway.faults import ApiError, from_engine, from_factory
from inference.gateway.stream import DONE, Broken, ChatVoice, Events, Shaper, shape_answer
from inference.router import ContextExceeded
from tests.inference.mock_engine import USAGE, USAGE_CHUNK, delta, whole_answer

USER = [{"role": "user", "content": "x"}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("messages", "tools", "tool_choice", "response_format", "stream", "stream_options", "max_tokens", "grammar",
          "metadata", "model", "prompt", "input", "functions", "max_completion_tokens", "encoding_format")  # fmt: skip
MESSAGE = st.fixed_dictionaries(
    {}, optional={"role": st.sampled_from(["user", "system", "developer", "assistant", "tool"]) | JSON,
                  "content": JSON | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": JSON})),
                  "tool_calls": JSON | st.lists(st.fixed_dictionaries({"function": JSON}), max_size=2)},
)  # fmt: skip
BODY = st.fixed_dictionaries(
    {}, optional={**dict.fromkeys(FIELDS, JSON), "messages": st.lists(MESSAGE, max_size=3) | JSON}
)


@given(BODY)
def test_any_json_is_either_prepared_or_refused_with_status_400(body: dict[str, Any]) -> None:
    for prepare in (prepare_chat, prepare_completion, prepare_embedding):
        try:
            orjson.loads(prepare(body).for_model("m"))
        except ApiError as error:
            assert error.status == 400 and error.message


@given(st.lists(st.sampled_from(["system", "developer", "user", "assistant"]), min_size=1, max_size=8))
def test_trap_2_at_most_one_system_message_and_it_is_first(roles: list[str]) -> None:
    made = normalise_messages([{"role": role, "content": f"{n}"} for n, role in enumerate(roles)])
    assert [message["role"] for message in made].count("system") == int(bool({"system", "developer"} & set(roles)))
    assert all(message["role"] != "system" for message in made[1:])
    said = [message["content"] for message in made if message["role"] != "system"]
    assert said == [f"{n}" for n, role in enumerate(roles) if role in ("user", "assistant")]


def test_trap_9_null_limits_mean_no_limit() -> None:
    assert "max_tokens" not in prepare_chat({"messages": USER, "max_completion_tokens": None}).payload
    body = {"messages": USER, "max_completion_tokens": None, "max_tokens": 4}
    assert prepare_chat(body).payload["max_tokens"] == 4


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "9"])
def test_a_limit_that_is_no_count_is_refused(limit: Any) -> None:
    with pytest.raises(ApiError, match="max_tokens"):
        prepare_chat({"messages": USER, "max_tokens": limit})


def test_trap_19_grammar_and_schema_together_are_refused() -> None:
    with pytest.raises(ApiError, match="not both"):
        prepare_chat({"messages": USER, "grammar": "g", "response_format": {"type": "json_object"}})


def test_what_a_call_needs_is_told_to_the_router() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    wanted = {"type": "json_object"}
    made = prepare_chat({"messages": USER, "tools": tools, "stream": True, "response_format": wanted})
    assert made.needs == ("tools", "json_schema", "stream")


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def test_a_picture_goes_on_as_it_came_to_a_model_that_sees() -> None:
    content = [{"type": "input_text", "text": "what?"}, PICTURE]
    prepared = prepare_chat({"messages": [{"role": "user", "content": content}]})
    assert prepared.payload["messages"][0]["content"] == [{"type": "text", "text": "what?"}, PICTURE]
    assert "vision" in prepared.needs and prepared.prompt_tokens > 900


@pytest.mark.parametrize("url", ["https://site.example/a.png", "file:///a.png", "data:text/html;base64,AA==", "", None])
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_pictures_that_would_have_to_be_fetched_are_refused(url: Any, role: str) -> None:
    content = [{"type": "image_url", "image_url": {"url": url}}]
    with pytest.raises(ApiError, match="message") as caught:
        prepare_chat({"messages": [{"role": role, "content": content}]})
    assert (caught.value.status, caught.value.code) == (400, "unsupported_content")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
def test_a_tool_choice_without_such_a_tool_is_refused(choice: Any) -> None:
    other = [{"type": "function", "function": {"name": "g"}}]
    with pytest.raises(ApiError):
        prepare_chat({"messages": USER, "tool_choice": choice})
    if choice != "required":
        with pytest.raises(ApiError, match="not among the tools"):
            prepare_chat({"messages": USER, "tool_choice": choice, "tools": other})


def shaped(*chunks: dict[str, Any], usage: bool = False, must_call: bool = False) -> list[dict[str, Any]]:
    shaper, voice = Shaper("m", must_call), ChatVoice(usage)
    made = [shaper.shape(orjson.dumps(chunk)) for chunk in chunks]
    out = b"".join(voice.say(chunk) for chunk in made if chunk) + voice.end(shaper.usage)
    assert out.endswith(DONE)
    return [orjson.loads(line[6:]) for line in out.removesuffix(DONE).split(b"\n\n") if line]


def call(index: int | None, **parts: Any) -> dict[str, Any]:
    name, arguments = parts.pop("name", None), parts.pop("arguments", None)
    made = {"function": {"name": name, "arguments": arguments}, "id": parts.get("id"), "type": None}
    return made if index is None else {"index": index, **made}


def test_trap_3_one_usage_chunk_at_the_end_whatever_the_engine_sent() -> None:
    early = {**USAGE_CHUNK, "usage": {**USAGE, "completion_tokens": 1}}
    made = shaped(early, delta(content="a"), delta("stop"), {**delta(), "choices": []}, USAGE_CHUNK, usage=True)
    assert [chunk["choices"] == [] for chunk in made] == [False, False, True]
    assert made[-1]["usage"] == USAGE
    assert all(chunk["id"] == "chatcmpl-1" and chunk["model"] == "m" for chunk in made)


def test_trap_4_and_5_tool_call_deltas_have_an_index_and_name_themselves_once() -> None:
    made = shaped(
        delta(tool_calls=[call(None, id="c1", name="f", arguments="")]),
        delta(tool_calls=[call(None, id="c1", name="f", arguments='{"a"')]),
        delta(tool_calls=[call(0, arguments=": 1}")]),
        delta(tool_calls=[call(1, name="g")]),
        delta("stop"),
    )
    calls = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in made[:4]]
    assert calls[0] == {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert calls[1] == {"index": 0, "function": {"arguments": '{"a"'}}
    assert calls[2] == {"index": 0, "function": {"arguments": ": 1}"}}
    assert calls[3] == {
        "index": 1,
        "id": "call_chatcmpl-1_1",
        "type": "function",
        "function": {"name": "g", "arguments": ""},
    }


@pytest.mark.parametrize(("reason", "said"), [("stop", "tool_calls"), ("length", "length"), ("error", "error")])
def test_trap_6_finish_reason_is_tool_calls_unless_the_answer_was_cut(reason: str, said: str) -> None:
    made = shaped(delta(tool_calls=[call(0, id="c", name="f")]), delta(reason))
    assert made[-1]["choices"][0]["finish_reason"] == said
    whole = whole_answer(tool_calls=[{"function": {"name": "f", "arguments": "{}"}}])
    whole["choices"][0]["finish_reason"] = reason
    assert shape_answer(whole, "m")["choices"][0]["finish_reason"] == said


def test_trap_6_an_empty_list_of_tool_calls_means_none() -> None:
    made = shaped(delta(tool_calls=[], content="a"), delta("stop", tool_calls=None))
    assert "tool_calls" not in made[0]["choices"][0]["delta"]
    assert made[1]["choices"][0]["finish_reason"] == "stop"
    assert "tool_calls" not in shape_answer(whole_answer(tool_calls=[]), "m")["choices"][0]["message"]


def test_trap_13_reasoning_goes_by_both_names() -> None:
    for name in ("reasoning", "reasoning_content"):
        inner = shaped(delta(**{name: "hm"}))[0]["choices"][0]["delta"]
        assert inner["reasoning"] == inner["reasoning_content"] == "hm"
    assert "reasoning" not in shaped(delta(content="a", reasoning=None))[0]["choices"][0]["delta"]


def test_a_demanded_call_that_was_cut_off_is_no_call() -> None:
    made = shaped(delta(content='{"name": "f", "argu'), delta("length"), must_call=True)
    assert len(made) == 1 and made[0]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "length"}
    answer = whole_answer('{"name": "f", "argu')
    answer["choices"][0]["finish_reason"] = "length"
    whole = shape_answer(answer, "m", must_call=True)["choices"][0]["message"]
    assert whole["content"] is None and "tool_calls" not in whole


def test_a_demanded_call_that_came_to_its_end_and_is_none_is_unreadable() -> None:
    with pytest.raises(ValueError, match="demanded"):
        shaped(delta(content="Hello"), delta("stop"), must_call=True)
    with pytest.raises(ValueError, match="demanded"):
        shape_answer(whole_answer("Hello"), "m", must_call=True)


def test_definitions_of_demanded_tools_keep_apart() -> None:
    def tool(name: str, kind: str) -> dict[str, Any]:
        inner = {
            "$defs": {"T": {"type": kind, "next": {"$ref": "#/$defs/T"}}},
            "properties": {"a": {"$ref": "#/$defs/T"}},
        }
        return {"type": "function", "function": {"name": name, "parameters": {"type": "object", **inner}}}

    made = prepare_chat(
        {"messages": USER, "tools": [tool("f", "string"), tool("g", "number")], "tool_choice": "required"}
    )
    schema = made.payload["response_format"]["json_schema"]["schema"]
    assert schema["$defs"]["f0_T"] == {"type": "string", "next": {"$ref": "#/$defs/f0_T"}}
    assert schema["$defs"]["f1_T"]["type"] == "number"
    second = schema["anyOf"][1]["properties"]
    assert second["name"] == {"const": "g"} and second["arguments"]["properties"] == {"a": {"$ref": "#/$defs/f1_T"}}
    assert made.must_call and "tools" in made.needs


def test_an_error_inside_a_stream_is_raised() -> None:
    with pytest.raises(Broken):
        Shaper("m").shape(b'{"error": {"message": "no"}}')


@given(st.integers(1, 7))
def test_events_are_found_however_the_bytes_are_cut(size: int) -> None:
    raw = b': hi\n\ndata: {"a": 1}\r\n\r\nevent: x\ndata: two\n\nerror: {"m":1}\n\n'
    events = Events()
    found = [one for n in range(0, len(raw), size) for one in events.feed(raw[n : n + size])]
    assert found == [b'{"a": 1}', b"two", b'{"error":{"m":1}}']


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=8))
def test_trap_17_base64_is_little_endian_floats_there_and_back(numbers: list[float]) -> None:
    assert decode(encode(numbers)) == numbers


def test_embeddings_of_another_size_than_asked_for_are_refused() -> None:
    answer = {"data": [{"embedding": [1.0, 2.0]}]}
    assert shape_embeddings(answer, "m", {"dimensions": 2})["data"][0]["index"] == 0
    with pytest.raises(ApiError, match="2 dimensions, not 3"):
        shape_embeddings(answer, "m", {"dimensions": 3})


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("a"), 404, "model_not_found"), (Unavailable("a"), 503, "unavailable"),
        (ConfigError("a"), 503, "config"),
        (UsageError("a"), 400, "usage"), (PolicyRefused("a"), 403, "refused"), (Conflict("a"), 409, "conflict"),
        (ContextExceeded("a"), 400, "context_length_exceeded"), (LimitExceeded("a"), 429, "limit"),
        (FactoryError("a"), 500, "failed"),
    ],
)  # fmt: skip
def test_trap_10_each_error_of_ours_has_its_status_and_code(error: FactoryError, status: int, code: str) -> None:
    made = from_factory(error)
    assert (made.status, made.body()["error"]["code"]) == (status, code)
    assert set(made.body()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("status", "body", "ours", "code"),
    [
        (400, {"error": {"message": "exceeds", "type": "exceed_context_size_error"}}, 400, "context_length_exceeded"),
        (400, {"message": "This model's maximum context length is 10 tokens"}, 400, "context_length_exceeded"),
        (400, {"error": "bad grammar"}, 400, "engine_refused"),
        (422, {"detail": "x"}, 422, "engine_refused"),
        (401, {"error": {"message": "Invalid API Key"}}, 502, "engine_failed"),
        (429, {}, 429, "engine_busy"),
        (503, {"error": {"message": "Loading model"}}, 503, "engine_failed"),
        (500, "text", 502, "engine_failed"),
    ],
)
def test_each_refusal_of_an_engine_has_its_status_and_code(status: int, body: Any, ours: int, code: str) -> None:
    made = from_engine(status, body, "m")
    assert (made.status, made.code) == (ours, code)
