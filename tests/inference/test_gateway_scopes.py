"""Four scopes of going on after a failure, in a running gateway: retry, fallback, cool-down, circuit breaker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.inference.gateway_process import BIG, CODER, Gateway, make_home, publish, running_gateway
from tests.inference.mock_engine import MockEngine, fail, hang_up, mock_engine, talk

pytestmark = pytest.mark.integration
HELLO = [{"role": "user", "content": "Hello?"}]
ROUTES = f"""
[[rule]]
name = "once"
when = {{ stage = "plan" }}
candidates = ["{CODER}"]
fallback = ["{BIG}"]
retry = {{ times = 0 }}

[[rule]]
name = "when lost"
when = {{ stage = "build" }}
candidates = ["{CODER}", "{BIG}"]
retry = {{ times = 4, pause_seconds = 0.01, on = "lost" }}

[[rule]]
name = "impatient"
when = {{ stage = "ship" }}
candidates = ["{CODER}"]
queue_seconds = 0.2

[[rule]]
name = "talk"
candidates = ["{CODER}", "{BIG}"]
"""
COOL, OPEN = 0.4, 1.0


@pytest.fixture(scope="module")
def other() -> Iterator[MockEngine]:
    with mock_engine() as running:
        yield running


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("gateway"), ROUTES)
    more = f"cooldown_seconds = {COOL}\ncircuit_failures = 4\ncircuit_seconds = {OPEN}\n"
    home.settings_file.write_text(home.settings_file.read_text().replace("[engines]", more + "[engines]"))
    with running_gateway(home) as running:
        yield running


@pytest.fixture
def gateway(process: Gateway, engine: MockEngine, other: MockEngine) -> Gateway:
    engine.will(talk())
    other.will(talk())
    publish(process.home, {CODER: engine.url, BIG: other.url})
    return process


def chat(gateway: Gateway, stage: str = "", **more: Any) -> httpx.Response:
    body = {"model": "auto", "messages": HELLO, "metadata": {"stage": stage}, **more}
    return gateway.http.post("/v1/chat/completions", json=body)


def asked(*engines: MockEngine) -> list[int]:
    return [len(engine.asked) for engine in engines]


def test_a_rule_says_how_often_the_same_model_is_tried(gateway: Gateway, engine: MockEngine, other: MockEngine) -> None:
    engine.will(fail(500))
    assert chat(gateway, "plan").headers["x-appliance-model"] == BIG
    assert asked(engine, other) == [1, 1]


def test_a_rule_says_after_what_the_same_model_is_tried(
    gateway: Gateway, engine: MockEngine, other: MockEngine
) -> None:
    engine.will(hang_up, hang_up, hang_up, talk())
    assert chat(gateway, "build").headers["x-appliance-model"] == CODER
    engine.will(fail(503))
    assert chat(gateway, "build").headers["x-appliance-model"] == BIG
    assert asked(engine, other) == [1, 1]


def test_a_rule_says_how_long_a_call_waits_for_its_model(gateway: Gateway, engine: MockEngine) -> None:
    publish(gateway.home, {CODER: engine.url}, state="starting")
    began = time.monotonic()
    assert chat(gateway, "ship").status_code == 503
    assert time.monotonic() - began < 1.4  # queue_seconds of the settings is 1.5


def test_a_prompt_that_is_too_long_for_the_engine_is_tried_nowhere_else(
    gateway: Gateway, engine: MockEngine, other: MockEngine
) -> None:
    engine.will(fail(400, "the request exceeds the available context size"))
    error = chat(gateway)
    assert (error.status_code, error.json()["error"]["code"]) == (400, "context_length_exceeded")
    engine.will(fail(500, "the request exceeds the available context size"))
    assert chat(gateway).status_code == 400
    assert asked(engine, other) == [1, 0]


def test_once_a_comment_line_went_out_nothing_is_sent_again(
    gateway: Gateway, engine: MockEngine, other: MockEngine
) -> None:
    def late(exchange: Any) -> None:
        time.sleep(0.8)  # longer than keepalive_seconds
        exchange.send(500, {"error": {"message": "odd"}})

    engine.will(late, talk())
    text = chat(gateway, stream=True).text
    assert '"code":"engine_failed"' in text and asked(engine, other) == [1, 0]


def test_a_busy_engine_is_avoided_for_a_moment_by_calls_that_can_go_elsewhere(
    gateway: Gateway, engine: MockEngine, other: MockEngine
) -> None:
    engine.will(fail(429, "busy"), talk())
    assert chat(gateway, "plan").headers["x-appliance-model"] == BIG
    assert chat(gateway).headers["x-appliance-model"] == BIG
    assert asked(engine, other) == [1, 2]
    time.sleep(COOL)
    assert chat(gateway).headers["x-appliance-model"] == CODER


def test_an_engine_that_asks_for_a_long_rest_is_not_waited_for(
    gateway: Gateway, engine: MockEngine, other: MockEngine
) -> None:
    def busy(exchange: Any) -> None:
        exchange.handler.send_response(429)
        exchange.handler.send_header("Retry-After", "30")
        exchange.handler.send_header("Content-Length", "2")
        exchange.handler.end_headers()
        exchange.handler.wfile.write(b"{}")

    engine.will(busy, talk())
    began = time.monotonic()
    assert chat(gateway).headers["x-appliance-model"] == BIG
    assert chat(gateway).headers["x-appliance-model"] == BIG  # for all calls, as long as it asked
    assert time.monotonic() - began < 10 and asked(engine, other) == [1, 2]


def test_who_has_nobody_else_waits_until_the_cool_down_is_over_and_is_sent(
    gateway: Gateway, engine: MockEngine
) -> None:
    engine.will(fail(429, "busy"), talk())
    assert chat(gateway, "plan", model=CODER).status_code == 200  # retried: a named model goes by the settings
    began = time.monotonic()
    assert chat(gateway, model=CODER).status_code == 200
    assert time.monotonic() - began < 1.4 and len(engine.asked) == 3


def test_a_model_that_keeps_failing_gets_no_calls_until_one_may_try(
    gateway: Gateway, engine: MockEngine, other: MockEngine
) -> None:
    engine.will(fail(500, "odd"))
    for _ in range(4):
        assert chat(gateway, "plan").headers["x-appliance-model"] == BIG
    assert asked(engine, other) == [4, 4]
    refused = chat(gateway, model=CODER)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_resting")
    assert "odd" in refused.json()["error"]["message"] and refused.headers["retry-after"] == "1"
    assert chat(gateway, "plan").headers["x-appliance-model"] == BIG and len(engine.asked) == 4
    assert gateway.metric("appliance_gateway_circuits_open") == 1
    assert f"no call is sent to {CODER}" in gateway.http.get("/readyz").json()["warnings"][0]
    time.sleep(OPEN)
    engine.will(talk())
    assert chat(gateway, "plan").headers["x-appliance-model"] == CODER
    assert gateway.metric("appliance_gateway_circuits_open") == 0


def test_an_engine_that_was_started_anew_is_asked_at_once(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(fail(500, "odd"))
    for _ in range(4):
        chat(gateway, "plan")
    assert chat(gateway, model=CODER).json()["error"]["code"] == "model_resting"
    publish(gateway.home, {CODER: engine.url})
    engine.will(talk())
    assert chat(gateway, model=CODER).status_code == 200
