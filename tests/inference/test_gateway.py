"""The gateway process as clients see it: the unmodified OpenAI client, headers, errors, keys, traps."""

from __future__ import annotations

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
    say,
    talk,
    talk_then_die,
    whole_answer,
)

HELLO = [{"role": "user", "content": "Hello?"}]


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


def test_openai_client_lists_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [EMBEDDER, BIG, CODER]
    assert client.models.retrieve("coder").id == CODER


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


def test_what_a_client_wrote_never_breaks_a_header(gateway: Gateway) -> None:
    odd = "x\x00\x1b\r\nset-cookie: a=b\u2028" + "y" * 900
    tools = {"input": "Hello?", "model": CODER, "tools": [{"type": odd}]}
    response = gateway.http.post("/v1/responses", json=tools)
    assert response.status_code == 200 and "set-cookie" not in response.headers
    assert response.headers["x-appliance-ignored"].startswith("x?? set-cookie: a=b y")
    assert chat(gateway, model=odd).status_code == 404


def test_a_request_id_of_the_client_is_kept_and_a_bad_one_replaced(gateway: Gateway) -> None:
    kept = gateway.http.get("/healthz", headers={"x-request-id": "abc-1"})
    assert kept.headers["x-request-id"] == "abc-1"
    assert (kept.headers["cache-control"], kept.headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert len(gateway.http.get("/healthz", headers={"x-request-id": "a b"}).headers["x-request-id"]) == 32


def test_the_engine_and_the_usage_line_have_the_request_id_too(gateway: Gateway, engine: MockEngine) -> None:
    gateway.http.headers["x-request-id"] = "abc-2"
    try:
        assert chat(gateway).headers["x-request-id"] == "abc-2"
    finally:
        del gateway.http.headers["x-request-id"]
    assert engine.asked[0].headers["x-request-id"] == "abc-2"
    assert eventually(lambda: gateway.usage()[-1]["id"] == "abc-2")


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_pays_no_heed_to_a_demanded_call_is_an_error_and_not_an_empty_answer(
    gateway: Gateway, stream: bool
) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    lines = len(gateway.usage())
    response = chat(gateway, tools=tools, tool_choice="required", stream=stream)
    assert eventually(lambda: len(gateway.usage()) > lines)  # else it would come into the next test
    assert "a tool call was demanded, and the engine wrote 'Hello there'" in response.text.replace('\\"', "")
    assert stream or response.status_code == 502


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
    assert eventually(lambda: any(line["first_token_seconds"] for line in gateway.usage()[-1:]))

    def errors(code: str, endpoint: str = "/v1/chat/completions") -> float:
        return gateway.metric(f'appliance_gateway_errors_total{{code="{code}",endpoint="{endpoint}"}}')

    seen = errors("model_not_found"), errors("engine_failed"), errors("engine_lost")
    chat(gateway, model="none")
    engine.will(fail(500, "it broke"))
    chat(gateway)
    engine.will(talk_then_die)
    chat(gateway, stream=True)
    assert eventually(
        lambda: (
            (errors("model_not_found"), errors("engine_failed"), errors("engine_lost"))
            == (seen[0] + 1, seen[1] + 1, seen[2] + 1)
        )
    )


def test_health_and_readiness_need_no_key(gateway: Gateway) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert httpx.get(gateway.url + path, trust_env=False).status_code == 200


def test_broken_rules_leave_those_in_force_and_say_so(gateway: Gateway) -> None:
    file = gateway.home.routes_file
    try:
        file.write_text(ROUTES.replace(CODER, "coder-8b"))
        assert eventually(lambda: gateway.http.get("/readyz").json()["warnings"])
        ready = gateway.http.get("/readyz")
        (warning,) = ready.json()["warnings"]
        assert ready.status_code == 200 and ready.json()["problems"] == []
        assert "unknown model 'coder-8b'" in warning and CODER in warning and "stay in force" in warning
        assert chat(gateway, model="auto").headers["x-appliance-model"] == CODER
        assert gateway.metric("appliance_gateway_rules_stale") == 1
        assert gateway.metric("appliance_gateway_rules_refused_total") >= 1
        assert "rules not taken over" in (gateway.home.logs / "gateway.log").read_text()
    finally:
        file.write_text(ROUTES)
    assert eventually(lambda: gateway.http.get("/readyz").json()["warnings"] == [])
    assert gateway.metric("appliance_gateway_rules_stale") == 0


def test_a_rules_file_that_vanishes_does_not_bring_the_default_rules_in(gateway: Gateway) -> None:
    file = gateway.home.routes_file
    try:
        file.unlink()
        assert eventually(lambda: gateway.http.get("/readyz").json()["warnings"])
        assert "is gone" in gateway.http.get("/readyz").json()["warnings"][0]
        assert chat(gateway, model="auto").headers["x-appliance-route"].startswith("talk:")
    finally:
        file.write_text(ROUTES)
    assert eventually(lambda: gateway.http.get("/readyz").json()["warnings"] == [])


def test_a_gateway_started_with_broken_rules_refuses_calls_and_names_the_fault(tmp_path: Any) -> None:
    home: Home = make_home(tmp_path, routes="[[rule]]\nnam = 3\n")
    with running_gateway(home) as gateway:
        response = chat(gateway)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "config")
        assert "'name'" in response.json()["error"]["message"] and response.headers["retry-after"]
        assert gateway.http.get("/readyz").status_code == 503
        home.routes_file.write_text(ROUTES)
        assert eventually(lambda: chat(gateway).json()["error"]["code"] != "config")
