"""The gateway process as clients see it: the unmodified OpenAI client, headers, errors, keys, traps."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import openai
import pytest

from appliance.config import Home
from appliance.work import utcnow
from inference.keys import KeyFile, KeyStore
from tests.inference.gateway_process import (
    BIG,
    CODER,
    EMBEDDER,
    ROUTES,
    Gateway,
    eventually,
    make_home,
    publish,
    running_gateway,
)
from tests.inference.mock_engine import (
    MockEngine,
    answer,
    delta,
    fail,
    mock_engine,
    prefill,
    say,
    talk,
    talk_then_die,
    whole_answer,
)

HELLO = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(scope="module")
def engine() -> Iterator[MockEngine]:
    with mock_engine() as running:
        yield running


@pytest.fixture(scope="module")
def process(engine: MockEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("gateway"))
    publish(home, {EMBEDDER: engine.url, CODER: engine.url, BIG: engine.url})
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
    return gateway.http.post("/v1/chat/completions", json={"model": CODER, "messages": HELLO, **more})


def test_openai_client_chats(client: openai.OpenAI, engine: MockEngine) -> None:
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=HELLO, max_completion_tokens=5)
    made = raw.parse()
    assert made.choices[0].message.content == "Hello there"
    assert made.model == CODER
    assert made.usage is not None and made.usage.completion_tokens == 3
    assert raw.headers["x-appliance-model"] == CODER
    assert raw.headers["x-appliance-route"] == f"talk: {CODER}, {BIG}"
    assert engine.asked[0].body["max_tokens"] == 5
    assert engine.asked[0].headers["authorization"] == f"Bearer engine-key-of-{CODER}"


def test_openai_client_streams_with_usage(client: openai.OpenAI) -> None:
    options = {"include_usage": True}
    with client.chat.completions.create(model="coder", messages=HELLO, stream=True, stream_options=options) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello there"
    assert {chunk.model for chunk in chunks} == {CODER} and {chunk.id for chunk in chunks} == {"chatcmpl-1"}
    assert [bool(chunk.choices) for chunk in chunks] == [True] * 4 + [False]
    assert chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 10


def test_openai_client_completes_text_streamed_and_not(client: openai.OpenAI) -> None:
    assert client.completions.create(model=CODER, prompt="Say").choices[0].text == "Hello there"
    with client.completions.create(model=CODER, prompt="Say", stream=True) as stream:
        assert "".join(chunk.choices[0].text for chunk in stream) == "Hello there"


def test_trap_17_openai_client_gets_base64_embeddings_as_it_asks(client: openai.OpenAI, gateway: Gateway) -> None:
    made = client.embeddings.create(model="auto", input=["four", "sixsix"])
    assert [row.embedding for row in made.data] == [[4.0, 1.0, 0.5], [6.0, 1.0, 0.5]]
    raw = gateway.http.post("/v1/embeddings", json={"model": "minilm", "input": "four", "encoding_format": "base64"})
    assert struct.unpack("<3f", base64.b64decode(raw.json()["data"][0]["embedding"])) == (4.0, 1.0, 0.5)
    plain = gateway.http.post("/v1/embeddings", json={"model": "minilm", "input": "four"})
    assert plain.json()["data"][0]["embedding"] == [4, 1.0, 0.5]


def test_openai_client_lists_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [EMBEDDER, BIG, CODER]
    assert client.models.retrieve("coder").id == CODER


def test_trap_12_models_tell_their_context_and_digest(gateway: Gateway) -> None:
    rows = {row["id"]: row for row in gateway.http.get("/v1/models").json()["data"]}
    row = rows[CODER]
    assert {"id", "object", "created", "owned_by"} <= set(row) and row["object"] == "model"
    assert row["context_length"] == row["max_model_len"] == 4096
    assert row["sha256"] == "ab" * 32


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
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]
    assert chat(gateway, messages=image).json()["error"]["code"] == "unsupported_content"


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


def test_a_stream_that_ends_before_its_finish_reason_is_an_error(gateway: Gateway, engine: MockEngine) -> None:
    def stop_short(exchange: Any) -> None:
        exchange.begin_stream()
        exchange.chunk(b'data: {"choices": [{"index": 0, "delta": {"content": "He"}}]}\n\n')
        exchange.end_stream()

    engine.will(stop_short)
    assert '"code":"engine_lost"' in chat(gateway, stream=True).text


def test_an_engines_error_event_reaches_the_client_in_openais_shape(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(say({"error": {"code": 500, "message": "out of memory"}}, usage=False))
    last = [line for line in chat(gateway, stream=True).text.split("\n\n") if line][-1]
    assert '"type":"server_error"' in last and "out of memory" in last


def test_a_stream_of_rubbish_is_an_error_and_not_a_crash(gateway: Gateway, engine: MockEngine) -> None:
    def rubbish(exchange: Any) -> None:
        exchange.begin_stream()
        exchange.chunk(b"data: {not json\n\n")
        exchange.end_stream()

    engine.will(rubbish)
    assert "cannot be read" in chat(gateway, stream=True).text


def test_an_answer_that_is_no_json_is_502(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(answer(b"<html>"))
    assert chat(gateway).status_code == 502


@pytest.mark.parametrize("stream", [False, True])
def test_a_named_tool_becomes_the_schema_of_the_answer_and_the_answer_a_call(
    client: openai.OpenAI, engine: MockEngine, stream: bool
) -> None:
    tools: Any = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("f", "g")]
    text = '{"name": "g", "arguments": {"a": 1}}'
    pieces = [delta(content=text[n : n + 5]) for n in range(0, len(text), 5)]
    engine.will(say(delta(role="assistant"), *pieces, delta("stop")) if stream else answer(whole_answer(text)))
    choice: Any = {"type": "function", "function": {"name": "g"}}
    asked: Any = {"model": CODER, "messages": HELLO, "tools": tools, "tool_choice": choice}
    if stream:
        with client.chat.completions.create(**asked, stream=True) as chunks:
            shown = [chunk.choices[0] for chunk in chunks]
        calls, reason = [call for one in shown for call in one.delta.tool_calls or []], shown[-1].finish_reason
        assert not any(one.delta.content for one in shown)
    else:
        made = client.chat.completions.create(**asked).choices[0]
        calls, reason = made.message.tool_calls, made.finish_reason
        assert made.message.content is None
    assert reason == "tool_calls"
    assert [(call.function.name, call.function.arguments) for call in calls] == [("g", '{"a":1}')]
    sent = engine.asked[0].body
    schema = sent["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["name"] == {"const": "g"} and "tools" not in sent
    assert '"name":"g"' in sent["messages"][0]["content"] and '"name":"f"' not in sent["messages"][0]["content"]


def test_keys_open_by_bearer_and_by_x_api_key(gateway: Gateway) -> None:
    bare = httpx.Client(base_url=gateway.url, trust_env=False)
    with bare:
        assert bare.get("/v1/models").json()["error"]["code"] == "missing_api_key"
        assert bare.get("/v1/models", headers={"x-api-key": gateway.key}).status_code == 200
        assert bare.get("/v1/models", headers={"authorization": f"bearer {gateway.key}"}).status_code == 200
        refused = bare.get("/v1/models", headers={"x-api-key": "apl_wrong"})
        assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["error"]["type"] == "authentication_error"


def test_a_revoked_or_expired_key_is_refused_at_once(gateway: Gateway) -> None:
    store = KeyStore(gateway.home.secrets / "keys.json")
    _, revoked = store.create("to-revoke")
    old, expired = store.create("to-expire", expires_days=1)

    def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(f"{gateway.url}/v1/models", headers=headers, trust_env=False).status_code

    assert (status(revoked), status(expired)) == (200, 200)
    store.revoke("to-revoke")
    late = old.with_(expires=utcnow() - timedelta(seconds=1))
    keys = tuple(late if key.id == old.id else key for key in store.list())
    store.file.write_text(KeyFile(keys=keys).model_dump_json())
    assert (status(revoked), status(expired)) == (401, 401)


def test_a_key_opens_its_scopes_only(gateway: Gateway) -> None:
    _, token = KeyStore(gateway.home.secrets / "keys.json").create("router-only", scopes=("route",))
    headers = {"Authorization": f"Bearer {token}"}
    asked = httpx.post(f"{gateway.url}/v1/route", json={"task": "chat"}, headers=headers, trust_env=False)
    assert asked.status_code == 200
    assert httpx.get(f"{gateway.url}/v1/models", headers=headers, trust_env=False).status_code == 403


def test_route_answers_with_candidates_rule_and_reasons(gateway: Gateway) -> None:
    asked = {"task": "repair", "language": "python", "prompt_tokens": 5000, "stage": "build", "repo": "r"}
    response = gateway.http.post("/v1/route", json=asked)
    assert response.json()["candidates"] == ["search", BIG]
    assert response.json()["rule"] == "python repair"
    assert "its context of 4096 tokens is too small for 5000" in response.json()["reasons"][0]
    assert response.headers["x-appliance-route"] == f"python repair: search, {BIG}"


def test_route_is_404_with_reasons_when_nobody_may_do_the_task(gateway: Gateway) -> None:
    response = gateway.http.post("/v1/route", json={"task": "review"})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "no_candidate")
    assert "no rule is about task 'review'" in error["message"] and error["reasons"] == []


@pytest.mark.parametrize("body", [{"tsak": "chat"}, {"prompt_tokens": -1}, {"sensitivity": "most"}, {"task": 3}])
def test_route_refuses_what_it_does_not_understand(gateway: Gateway, body: dict[str, Any]) -> None:
    assert gateway.http.post("/v1/route", json=body).status_code == 400


def test_search_is_never_asked_to_answer_a_call(gateway: Gateway) -> None:
    response = chat(gateway, model="auto", metadata={"task": "repair", "language": "python"})
    assert response.status_code == 200 and response.headers["x-appliance-model"] == CODER


def test_a_request_id_of_the_client_is_kept_and_a_bad_one_replaced(gateway: Gateway) -> None:
    kept = gateway.http.get("/healthz", headers={"x-request-id": "abc-1"})
    assert kept.headers["x-request-id"] == "abc-1"
    assert len(gateway.http.get("/healthz", headers={"x-request-id": "a b"}).headers["x-request-id"]) == 32


def test_usage_is_written_for_each_call_without_what_was_said(gateway: Gateway) -> None:
    before = len(gateway.usage())
    secret = [{"role": "user", "content": "the-secret-prompt"}]
    chat(gateway, messages=secret, metadata={"task": "repair", "item": "i-1", "stage": "build"})
    chat(gateway, messages=secret, stream=True)
    gateway.http.post("/v1/embeddings", json={"input": "the-secret-prompt", "model": "auto"})
    assert eventually(lambda: len(gateway.usage()) == before + 3)
    first, second, third = gateway.usage()[before:]
    assert (first["task"], first["item"], first["stage"], first["model"]) == ("repair", "i-1", "build", CODER)
    assert (first["prompt_tokens"], first["completion_tokens"], first["digest"]) == (7, 3, "ab" * 6)
    assert second["stream"] is True and second["completion_tokens"] == 3 and second["error"] == ""
    assert third["endpoint"] == "/v1/embeddings" and third["task"] == "embedding" and third["prompt_tokens"] == 4
    raw = b"".join(file.read_bytes() for file in gateway.home.spool.iterdir())
    assert b"the-secret-prompt" not in raw and b"Hello there" not in raw
    assert b"the-secret-prompt" not in (gateway.home.logs / "gateway.log").read_bytes()


def test_metrics_count_calls_tokens_and_our_own_time(gateway: Gateway) -> None:
    labels = f'{{endpoint="/v1/chat/completions",model="{CODER}",status="200"}}'
    before = gateway.metric(f"appliance_gateway_requests_total{labels}")
    overheads = 'appliance_gateway_overhead_seconds_count{endpoint="/v1/chat/completions"}'
    seen = gateway.metric(overheads)
    chat(gateway)
    chat(gateway, stream=True)
    assert gateway.metric(f"appliance_gateway_requests_total{labels}") == before + 2
    assert gateway.metric(overheads) == seen + 2
    assert gateway.metric("appliance_gateway_in_flight") == 0
    assert gateway.metric(f'appliance_gateway_tokens_total{{kind="prompt",model="{CODER}"}}') > 0


def test_metrics_time_tokens_of_streams_and_count_errors_by_code(gateway: Gateway, engine: MockEngine) -> None:
    first = f'appliance_gateway_first_token_seconds_count{{model="{CODER}"}}'
    each = f'appliance_gateway_token_seconds_count{{model="{CODER}"}}'
    before = gateway.metric(first), gateway.metric(each)
    chat(gateway, stream=True)
    assert eventually(lambda: (gateway.metric(first), gateway.metric(each)) == (before[0] + 1, before[1] + 1))
    assert gateway.usage()[-1]["first_token_seconds"] > 0

    def errors(code: str, endpoint: str = "/v1/chat/completions") -> float:
        return gateway.metric(f'appliance_gateway_errors_total{{code="{code}",endpoint="{endpoint}"}}')

    seen = errors("model_not_found"), errors("engine_failed"), errors("engine_lost")
    chat(gateway, model="none")
    engine.will(fail(500, "it broke"))
    chat(gateway)
    engine.will(talk_then_die)
    chat(gateway, stream=True)
    assert eventually(
        lambda: (errors("model_not_found"), errors("engine_failed"), errors("engine_lost"))
        == (seen[0] + 1, seen[1] + 1, seen[2] + 1)
    )


def test_health_and_readiness_need_no_key(gateway: Gateway) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert httpx.get(gateway.url + path, trust_env=False).status_code == 200


def test_broken_rules_leave_those_in_force_and_say_so(gateway: Gateway) -> None:
    file = gateway.home.routes_file
    try:
        file.write_text(ROUTES.replace(CODER, "coder-8b"))
        assert eventually(lambda: gateway.http.get("/readyz").status_code == 503)
        (problem,) = gateway.http.get("/readyz").json()["problems"]
        assert "unknown model 'coder-8b'" in problem and CODER in problem
        assert chat(gateway, model="auto").headers["x-appliance-model"] == CODER
    finally:
        file.write_text(ROUTES)
    assert eventually(lambda: gateway.http.get("/readyz").status_code == 200)


def test_a_gateway_started_with_broken_rules_refuses_calls_and_names_the_fault(tmp_path: Any) -> None:
    home: Home = make_home(tmp_path, routes="[[rule]]\nnam = 3\n")
    with running_gateway(home) as gateway:
        response = chat(gateway)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "config")
        assert "'name'" in response.json()["error"]["message"] and response.headers["retry-after"]
        assert gateway.http.get("/readyz").status_code == 503
        home.routes_file.write_text(ROUTES)
        assert eventually(lambda: chat(gateway).json()["error"]["code"] != "config")
