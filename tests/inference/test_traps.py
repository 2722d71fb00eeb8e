"""The twenty traps that break real clients, each with its test: a real gateway process, a scripted engine.

The numbers are those of the list the doors were built after. Some traps have more tests beside the code they are about.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.inference.gateway_process import (
    BIG,
    CODER,
    EMBEDDER,
    Gateway,
    card,
    eventually,
    make_home,
    publish,
    running_gateway,
)
from tests.inference.mock_engine import (
    USAGE,
    USAGE_CHUNK,
    MockEngine,
    answer,
    delta,
    fail,
    prefill,
    prefill_for_ever,
    say,
    talk,
    talk_for_ever,
    talk_then_die,
    whole_answer,
)

HELLO: Any = [{"role": "user", "content": "Hello?"}]
CALLS = (
    delta(role="assistant", content=None),
    delta(tool_calls=[{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]),
    delta(tool_calls=[{"index": 0, "id": None, "function": {"name": None, "arguments": '{"a"'}}]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
    delta(tool_calls=[{"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}]),
    delta("stop"),
)
"""What an engine streams when the model calls two tools; it says `stop`, and null where it has nothing to say."""
DOORS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO},
    "/v1/messages": {"messages": HELLO, "max_tokens": 9},
    "/v1/responses": {"input": "Hello?"},
}

RANKER = "ranker"
LEFT: dict[str, dict[str, Any]] = {
    **DOORS,
    "/v1/completions": {"prompt": "Hello?"},
    "/v1/messages/count_tokens": {"messages": HELLO},
    "/v1/embeddings": {"model": EMBEDDER, "input": "Hello?"},
    "/v1/rerank": {"model": RANKER, "query": "Hello?", "documents": ["Hello."]},
}
"""Every door that an engine is asked behind."""
STREAMING = (*DOORS, "/v1/completions")


@pytest.fixture(scope="module")
def process(engine: MockEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("traps"))
    # Engines fail here one test after another; a model that rests would be another subject.
    settings = home.settings_file.read_text()
    home.settings_file.write_text(settings.replace("[gateway]\n", "[gateway]\ncircuit_failures = 0\n"))
    (home.models / RANKER).mkdir()
    (home.models / RANKER / "card.json").write_text(card(RANKER, ("rerank",)).model_dump_json())
    publish(home, dict.fromkeys((EMBEDDER, CODER, BIG, RANKER), engine.url))
    with running_gateway(home) as running:
        yield running


@pytest.fixture
def gateway(process: Gateway, engine: MockEngine) -> Gateway:
    engine.will(talk())
    return process


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0, timeout=20) as made:
        yield made


def chat(gateway: Gateway, **more: Any) -> httpx.Response:
    return ask(gateway, "/v1/chat/completions", **more)


def ask(gateway: Gateway, door: str, **more: Any) -> httpx.Response:
    return gateway.http.post(door, json={"model": CODER, **DOORS[door], **more})


def datas(response: httpx.Response) -> list[dict[str, Any]]:
    """The data of each event, `[DONE]` left out."""
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_every_trap_has_a_test_of_its_name() -> None:
    named = {int(number) for number in re.findall(r"^def test_trap_(\d+)_", Path(__file__).read_text(), re.MULTILINE)}
    assert named == set(range(1, 21))


def test_trap_1_a_codex_call_streams_up_to_response_completed(gateway: Gateway, engine: MockEngine) -> None:
    asked = {
        "model": CODER, "instructions": "You are a coding agent.", "stream": True, "store": False,
        "input": [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandbox: on."}]},
                  {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Mend it."}]}],
        "tools": [
            {"type": "function", "name": "shell", "strict": False, "parameters": {"type": "object", "properties": {}}},
            {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark",
                                                                 "definition": "start: /.+/"}},
            {"type": "web_search", "external_web_access": False},
        ],
        "tool_choice": "auto", "parallel_tool_calls": False, "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"], "prompt_cache_key": "x", "text": {"verbosity": "medium"},
    }  # fmt: skip
    response = gateway.http.post("/v1/responses", json=asked)
    assert response.status_code == 200, response.text
    made = datas(response)
    assert (made[0]["type"], made[-1]["type"]) == ("response.created", "response.completed")
    assert made[-1]["response"]["output"][0]["content"][0]["text"] == "Hello there"
    assert made[-1]["response"]["usage"]["total_tokens"] == 10
    assert response.headers["x-appliance-ignored"] == "web_search"
    assert [tool["function"]["name"] for tool in engine.asked[0].body["tools"]] == ["shell", "apply_patch"]
    assert engine.asked[0].body["messages"][0]["content"] == "You are a coding agent.\n\nSandbox: on."


def test_trap_3_exactly_one_last_chunk_with_usage_and_no_choices(gateway: Gateway, engine: MockEngine) -> None:
    early = {**USAGE_CHUNK, "usage": {**USAGE, "completion_tokens": 1}}
    engine.will(say(delta(role="assistant"), early, delta(content="a"), {**delta(), "choices": []}, delta("stop")))
    made = datas(chat(gateway, stream=True, stream_options={"include_usage": True}))
    assert [chunk["choices"] == [] for chunk in made] == [False, False, False, True]
    assert made[-1]["usage"] == USAGE and not any(chunk.get("usage") for chunk in made[:-1])
    assert {chunk["id"] for chunk in made} == {"chatcmpl-1"} and {chunk["model"] for chunk in made} == {CODER}


def test_trap_4_each_piece_of_a_tool_call_has_the_index_of_its_call(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(say(*CALLS))
    pieces = [call for chunk in datas(chat(gateway, stream=True))
              for call in chunk["choices"][0]["delta"].get("tool_calls", [])]  # fmt: skip
    assert [piece["index"] for piece in pieces] == [0, 0, 0, 1]


def test_trap_5_id_and_name_of_a_call_come_once_and_are_never_null(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(say(*CALLS))
    response = chat(gateway, stream=True)
    pieces = [call for chunk in datas(response) for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert [(piece.get("id"), piece["function"].get("name")) for piece in pieces] == [
        ("c1", "f"), (None, None), (None, None), ("c2", "g"),
    ]  # fmt: skip
    assert not any(key in piece for piece in pieces[1:3] for key in ("id", "type"))
    assert '"name":null' not in response.text and '"id":null' not in response.text


@pytest.mark.parametrize(("engine_said", "we_say"), [("stop", "tool_calls"), ("length", "length")])
def test_trap_6_finish_reason_tells_of_calls_unless_the_answer_was_cut(
    gateway: Gateway, engine: MockEngine, engine_said: str, we_say: str
) -> None:
    engine.will(say(*CALLS[:-1], delta(engine_said)))
    assert datas(chat(gateway, stream=True))[-1]["choices"][0]["finish_reason"] == we_say
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    whole = whole_answer("", tool_calls=[call])
    whole["choices"][0]["finish_reason"] = engine_said
    engine.will(answer(whole))
    assert chat(gateway).json()["choices"][0]["finish_reason"] == we_say


@pytest.mark.parametrize("door", DOORS)
def test_trap_7_every_door_has_headers_and_comments_before_the_first_token(
    gateway: Gateway, engine: MockEngine, door: str
) -> None:
    engine.will(prefill(1.2, talk()))
    body = {"model": CODER, **DOORS[door], "stream": True}
    with gateway.http.stream("POST", door, json=body) as response:
        assert response.headers["x-appliance-model"] == CODER
        lines = list(response.iter_lines())
    comments = [n for n, line in enumerate(lines) if line.startswith(":")]
    text = next(n for n, line in enumerate(lines) if "Hello" in line)
    assert comments and comments[0] < text


@pytest.mark.parametrize(("door", "stream"), [*((door, False) for door in LEFT), *((door, True) for door in STREAMING)])
@pytest.mark.parametrize("behaviour", [prefill_for_ever, talk_for_ever])
def test_trap_8_a_client_that_leaves_ends_the_engines_work_within_a_second(
    gateway: Gateway, engine: MockEngine, door: str, stream: bool, behaviour: Any
) -> None:
    engine.will(behaviour)
    body = {"model": CODER, **LEFT[door]} | ({"stream": True} if stream else {})
    leaving = httpx.Timeout(10, read=0.3)
    with (
        httpx.Client(base_url=gateway.url, headers=gateway.http.headers, timeout=leaving, trust_env=False) as hasty,
        suppress(httpx.ReadTimeout),
        hasty.stream("POST", door, json=body) as response,
    ):
        if behaviour is talk_for_ever and stream:
            next(line for line in response.iter_lines() if "Hello" in line)
        else:
            list(response.iter_raw())
    left = time.monotonic()
    assert engine.left.wait(10)
    # A second is the promise; a look at the clients takes 0.2 s. The rest is for a machine with other work.
    assert time.monotonic() - left < 5
    assert eventually(lambda: gateway.metric("appliance_gateway_in_flight") == 0)


def test_trap_13_reasoning_goes_by_both_names_and_as_thinking_blocks(gateway: Gateway, engine: MockEngine) -> None:
    thinking = say(delta(role="assistant"), delta(reasoning="hm"), delta(content="Yes."), delta("stop"))
    engine.will(thinking)
    (first,) = [chunk["choices"][0]["delta"] for chunk in datas(chat(gateway, stream=True)) if "hm" in str(chunk)]
    assert (first["reasoning_content"], first["reasoning"]) == ("hm", "hm")
    engine.will(answer(whole_answer("Yes.", reasoning_content="hm")))
    message = chat(gateway).json()["choices"][0]["message"]
    assert (message["reasoning_content"], message["reasoning"]) == ("hm", "hm")
    assert [block["type"] for block in ask(gateway, "/v1/messages").json()["content"]] == ["thinking", "text"]
    engine.will(thinking)
    started = [event for event in datas(ask(gateway, "/v1/messages", stream=True)) if "content_block" in event]
    assert [event["content_block"]["type"] for event in started] == ["thinking", "text"]


@pytest.mark.parametrize("behaviour", [talk(), talk_then_die])
def test_trap_14_each_event_of_messages_has_an_event_line(gateway: Gateway, engine: MockEngine, behaviour: Any) -> None:
    engine.will(behaviour)
    blocks = [block for block in ask(gateway, "/v1/messages", stream=True).text.split("\n\n") if block]
    for block in blocks:
        name, data = block.split("\n")
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"
    assert blocks[-1].startswith("event: message_stop" if behaviour is not talk_then_die else "event: error")


def test_trap_15_tools_of_messages_stream_as_json_deltas_without_an_empty_text_block(
    gateway: Gateway, engine: MockEngine
) -> None:
    engine.will(say(CALLS[0], delta(content=""), *CALLS[1:]))
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in "fg"]
    made = datas(ask(gateway, "/v1/messages", stream=True, tools=tools))
    starts = [event["content_block"] for event in made if event["type"] == "content_block_start"]
    assert [(block["type"], block["name"], block["input"]) for block in starts] == [
        ("tool_use", "f", {}), ("tool_use", "g", {}),
    ]  # fmt: skip
    deltas = [event["delta"] for event in made if event["type"] == "content_block_delta"]
    assert {one["type"] for one in deltas} == {"input_json_delta"}
    assert "".join(one["partial_json"] for one in deltas) == '{"a": 1}{}'


def test_trap_15_an_empty_list_of_calls_is_none_and_tokens_are_counted(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(answer(whole_answer("Hi", tool_calls=[])))
    made = ask(gateway, "/v1/messages").json()
    assert made["stop_reason"] == "end_turn" and [block["type"] for block in made["content"]] == ["text"]
    counted = gateway.http.post("/v1/messages/count_tokens", json={"model": CODER, "messages": HELLO})
    assert counted.status_code == 200 and counted.json()["input_tokens"] > 0


def test_trap_16_the_billing_line_does_not_reach_the_engine(gateway: Gateway, engine: MockEngine) -> None:
    for n in (1, 2):
        head = f"x-anthropic-billing-header: cc_version=2.{n}; cch={n}{n};"
        system = [{"type": "text", "text": head}, {"type": "text", "text": f"{head}\nYou are an agent."}]
        assert ask(gateway, "/v1/messages", system=system).status_code == 200
    first, second = (asked.body["messages"] for asked in engine.asked)
    assert first == second and first[0] == {"role": "system", "content": "You are an agent."}


def test_trap_20_failures_in_mid_stream_have_the_shape_of_their_door(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(talk_then_die)
    last = {door: datas(ask(gateway, door, stream=True))[-1] for door in DOORS}
    assert last["/v1/chat/completions"]["error"]["code"] == "engine_lost"
    assert (last["/v1/messages"]["type"], last["/v1/messages"]["error"]["type"]) == ("error", "api_error")
    assert last["/v1/responses"]["type"] == "response.failed"


def test_trap_20_anthropic_clients_are_told_not_to_try_again_either(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(fail(503, "busy"))
    patient = anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=2)
    with patient, pytest.raises(anthropic.InternalServerError):
        patient.messages.create(model=CODER, max_tokens=9, messages=HELLO)
    assert len(engine.asked) == 3


def test_trap_2_developer_and_system_messages_become_one_first_message(gateway: Gateway, engine: MockEngine) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello?"},
        {"role": "developer", "content": "Be brief."},
    ]
    assert chat(gateway, messages=messages).status_code == 200
    assert engine.asked[0].body["messages"] == [
        {"role": "system", "content": "Be kind.\n\nBe brief."},
        {"role": "user", "content": "Hello?"},
    ]


def test_trap_3_no_usage_chunk_unless_it_is_asked_for(gateway: Gateway) -> None:
    lines = chat(gateway, stream=True).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert not any('"usage"' in line or '"choices":[]' in line for line in lines)


def test_trap_7_long_prefill_gets_headers_at_once_and_comments(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(prefill(1.5, talk()))
    body = {"model": CODER, "messages": HELLO, "stream": True}
    with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200 and response.headers["x-appliance-model"] == CODER
        assert response.headers["x-accel-buffering"] == "no"
        lines = list(response.iter_lines())
    comments = [line for line in lines if line.startswith(":")]
    assert len(comments) >= 2 and lines.index(comments[-1]) < next(
        n for n, line in enumerate(lines) if line.startswith("data:")
    )


def test_trap_7_openai_client_does_not_mind_the_comments(client: openai.OpenAI, engine: MockEngine) -> None:
    engine.will(prefill(1.0, talk()))
    with client.chat.completions.create(model=CODER, messages=HELLO, stream=True) as stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello there"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_trap_9_both_names_of_the_limit_are_taken(gateway: Gateway, engine: MockEngine, name: str) -> None:
    assert chat(gateway, **{name: 11}).status_code == 200
    assert engine.asked[0].body["max_tokens"] == 11


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"[]", 400),
        ("POST", "/v1/chat/completions", b'{"messages": 3}', 400),
        ("POST", "/v1/chat/completions", b'{"model": "none", "messages": [{"role": "user", "content": "x"}]}', 404),
        ("POST", "/v1/embeddings", b'{"input": []}', 400),
        ("POST", "/v1/embeddings", b"x" * 1_100_000, 413),
        ("GET", "/v1/chat/completions", b"", 405),
        ("POST", "/v1/audio/speech", b"{}", 404),
        ("GET", "/", b"", 404),
        ("GET", "/v1/models/none", b"", 404),
    ],
)
def test_trap_10_every_error_has_openais_shape(
    gateway: Gateway, method: str, path: str, body: bytes, status: int
) -> None:
    response = gateway.http.request(method, path, content=body)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"] and error["type"] and error["code"]
    assert {"x-request-id", "x-appliance-model", "x-appliance-route"} <= set(response.headers)


def test_trap_11_context_overflow_is_400_with_its_code_and_not_tried_again(
    gateway: Gateway, client: openai.OpenAI, engine: MockEngine
) -> None:
    engine.will(fail(400, "the request exceeds the available context size", type="exceed_context_size_error"))
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=CODER, messages=HELLO)
    assert caught.value.code == "context_length_exceeded"
    engine.will(fail(500, "input is too large to process. increase the physical batch size"))
    assert chat(gateway, model="auto").json()["error"]["code"] == "context_length_exceeded"
    assert len(engine.asked) == 1


def test_trap_11_a_prompt_longer_than_every_context_never_reaches_an_engine(
    gateway: Gateway, engine: MockEngine
) -> None:
    response = chat(gateway, model="auto", messages=[{"role": "user", "content": "word " * 20_000}])
    assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert engine.asked == []


def test_trap_12_models_tell_their_context_and_digest(gateway: Gateway) -> None:
    rows = {row["id"]: row for row in gateway.http.get("/v1/models").json()["data"]}
    row = rows[CODER]
    assert {"id", "object", "created", "owned_by"} <= set(row) and row["object"] == "model"
    assert row["context_length"] == row["max_model_len"] == 4096
    assert row["sha256"] == "ab" * 32


def test_trap_17_openai_client_gets_base64_embeddings_as_it_asks(client: openai.OpenAI, gateway: Gateway) -> None:
    made = client.embeddings.create(model="auto", input=["four", "sixsix"])
    assert [row.embedding for row in made.data] == [[4.0, 1.0, 0.5], [6.0, 1.0, 0.5]]
    raw = gateway.http.post("/v1/embeddings", json={"model": "minilm", "input": "four", "encoding_format": "base64"})
    assert struct.unpack("<3f", base64.b64decode(raw.json()["data"][0]["embedding"])) == (4.0, 1.0, 0.5)
    plain = gateway.http.post("/v1/embeddings", json={"model": "minilm", "input": "four"})
    assert plain.json()["data"][0]["embedding"] == [4, 1.0, 0.5]


def test_trap_18_content_may_be_parts_or_null_everywhere(gateway: Gateway, engine: MockEngine) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": parts},
        {"role": "assistant", "content": parts},
    ]
    assert chat(gateway, messages=messages).status_code == 200
    sent = engine.asked[0].body["messages"]
    assert [message["content"] for message in sent] == ["a\nb", "", "a\nb", "a\nb"]
    assert sent[1]["tool_calls"] == [call]
    sound = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}]
    assert chat(gateway, messages=sound).json()["error"]["code"] == "unsupported_content"


def test_trap_19_schemas_reach_the_engine_and_unknown_parameters_do_not(gateway: Gateway, engine: MockEngine) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    response = chat(gateway, response_format=wanted, store=True, reasoning_effort="high", user="me", service_tier="x")
    assert response.status_code == 200
    assert engine.asked[0].body["response_format"] == wanted
    assert not {"store", "reasoning_effort", "user", "service_tier", "metadata"} & set(engine.asked[0].body)
    for wrong in ({"type": "json_schema"}, {"type": "yaml"}, "json"):
        assert chat(gateway, response_format=wrong).status_code == 400


def test_trap_20_after_our_own_retries_clients_are_told_not_to(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(fail(500, "it broke"))
    response = chat(gateway)
    assert (response.status_code, response.headers["x-should-retry"]) == (502, "false")
    assert len(engine.asked) == 3
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=2)
    with client, pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=CODER, messages=HELLO)
    assert len(engine.asked) == 6


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/healthz", "/anything"])
def test_trap_20_preflights_are_answered_on_every_path_without_a_key(gateway: Gateway, path: str) -> None:
    response = httpx.request("OPTIONS", gateway.url + path, headers={"Origin": "http://x"}, trust_env=False)
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "*"
    assert "Authorization" in response.headers["access-control-allow-headers"]


def test_trap_20_a_failure_in_mid_stream_is_an_error_event(
    gateway: Gateway, client: openai.OpenAI, engine: MockEngine
) -> None:
    engine.will(talk_then_die)
    lines = [line for line in chat(gateway, stream=True).text.split("\n\n") if line]
    assert lines[-1].startswith('data: {"error":{"message":') and '"code":"engine_lost"' in lines[-1]
    assert len(engine.asked) == 1
    stream = client.chat.completions.create(model=CODER, messages=HELLO, stream=True)
    with stream, pytest.raises(openai.APIError, match="went away"):
        list(stream)
