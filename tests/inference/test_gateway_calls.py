"""What the gateway does when engines or clients go away: retries, fallbacks, loading, cancelling, ending."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.errors import FactoryError, LimitExceeded, NotFound
from appliance.gateway_client import GatewayModel
from appliance.settings import Settings
from inference.engines.control import ControlServer
from inference.engines.showing import Showing
from inference.gateway.faults import ApiError
from inference.gateway.watch import OVERDUE, Trip
from tests.inference.gateway_process import (
    BIG,
    CODER,
    EMBEDDER,
    Gateway,
    client,
    eventually,
    free_port,
    make_home,
    publish,
    running_box,
    running_gateway,
    start,
    stop,
    wait_until_up,
)
from tests.inference.mock_engine import (
    WORDS,
    MockEngine,
    answer,
    delta,
    fail,
    hang_up,
    mock_engine,
    prefill_for_ever,
    say,
    talk,
    talk_for_ever,
    talk_then_die,
    whole_answer,
)

pytestmark = pytest.mark.integration
HELLO = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(scope="module")
def other() -> Iterator[MockEngine]:
    with mock_engine() as running:
        yield running


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(make_home(tmp_path_factory.mktemp("gateway"))) as running:
        yield running


@pytest.fixture
def gateway(process: Gateway, engine: MockEngine, other: MockEngine) -> Gateway:
    engine.will(talk())
    other.will(talk())
    publish(process.home, {CODER: engine.url, BIG: other.url})
    return process


def chat(gateway: Gateway, model: str = "auto", **more: Any) -> httpx.Response:
    return gateway.http.post("/v1/chat/completions", json={"model": model, "messages": HELLO, **more})


def dead_url() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("trouble", [hang_up, fail(503, "loading"), fail(429, "busy"), fail(500, "odd")])
def test_the_same_model_is_tried_again_before_the_first_byte(
    gateway: Gateway, engine: MockEngine, other: MockEngine, trouble: Any, stream: bool
) -> None:
    engine.will(trouble, trouble, talk())
    response = chat(gateway, stream=stream)
    assert response.status_code == 200 and response.headers["x-appliance-model"] == CODER
    assert len(engine.asked) == 3 and other.asked == []


def test_then_the_next_candidate_answers(gateway: Gateway, engine: MockEngine, other: MockEngine) -> None:
    engine.will(fail(500, "odd"))
    response = chat(gateway, stream=True)
    assert response.headers["x-appliance-model"] == BIG and "data: [DONE]" in response.text
    assert (len(engine.asked), len(other.asked)) == (3, 1)
    assert eventually(lambda: [(line["model"], line["attempts"]) for line in gateway.usage()[-1:]] == [(BIG, 4)])


def test_a_named_model_has_no_fallback(gateway: Gateway, engine: MockEngine, other: MockEngine) -> None:
    engine.will(fail(500, "odd"))
    assert chat(gateway, model=CODER).status_code == 502
    assert other.asked == []


def test_a_refusal_is_neither_tried_again_nor_taken_elsewhere(
    gateway: Gateway, engine: MockEngine, other: MockEngine
) -> None:
    engine.will(fail(400, "the schema is wrong"))
    assert chat(gateway).status_code == 400
    assert (len(engine.asked), other.asked) == (1, [])


def test_an_engine_that_is_not_there_is_passed_over(gateway: Gateway, other: MockEngine) -> None:
    publish(gateway.home, {CODER: dead_url(), BIG: other.url})
    before = gateway.metric("appliance_gateway_fallbacks_total")
    assert chat(gateway).headers["x-appliance-model"] == BIG
    assert gateway.metric("appliance_gateway_fallbacks_total") == before + 1
    assert gateway.usage()[-1]["waited_seconds"] < 1.4  # not the whole of queue_seconds, as another one is ready


def test_a_usage_line_tells_the_choice_and_of_the_prompt_its_digest_alone(gateway: Gateway) -> None:
    first, again = chat(gateway), chat(gateway)
    assert (first.status_code, again.status_code) == (200, 200)
    one, two = gateway.usage()[-2:]
    assert one["model"] in one["candidates"] and set(one["objective"]) == {"quality", "cost", "speed", "tokens"}
    assert len(one["prompt_digest"]) == 64 and one["prompt_digest"] == two["prompt_digest"]
    assert "Hello?" not in json.dumps(one)


def test_an_engine_that_comes_back_at_another_port_is_found(gateway: Gateway, engine: MockEngine) -> None:
    publish(gateway.home, {CODER: dead_url()})
    timer = threading.Timer(0.4, publish, (gateway.home, {CODER: engine.url}))
    timer.start()
    assert chat(gateway, model=CODER).status_code == 200
    timer.join()


def test_a_kept_connection_that_the_engine_closed_is_no_failure(gateway: Gateway, engine: MockEngine) -> None:
    def answer_and_close(exchange: Any) -> None:
        exchange.send(200, whole_answer())
        exchange.handler.close_connection = True

    engine.will(answer_and_close)
    before = gateway.metric(f'appliance_gateway_retries_total{{model="{CODER}"}}')
    assert [chat(gateway).status_code for _ in range(5)] == [200] * 5
    assert gateway.metric(f'appliance_gateway_retries_total{{model="{CODER}"}}') == before


def test_no_engine_in_time_is_503_with_retry_after(gateway: Gateway) -> None:
    publish(gateway.home, {CODER: dead_url()}, state="starting")
    began = time.monotonic()
    response = chat(gateway, model=CODER)
    assert time.monotonic() - began >= 1.4  # queue_seconds, as configured
    assert (response.status_code, response.json()["error"]["code"]) == (503, "model_not_ready")
    assert response.headers["retry-after"] == "5" and response.headers["x-should-retry"] == "false"
    assert response.headers["x-appliance-model"] == CODER


class Orders:
    """The engines' side of its control door: loads what it is asked for after a moment, or refuses."""

    def __init__(self, gateway: Gateway, urls: dict[str, str], error: FactoryError | None = None) -> None:
        self.gateway, self.urls, self.error = gateway, urls, error
        self.asked: list[str] = []

    def load(self, name: str, again: bool = False, options: object = None, keep: object = ()) -> dict[str, Any]:
        self.asked.append(name)
        if self.error:
            raise self.error
        threading.Timer(0.3, publish, (self.gateway.home, self.urls)).start()
        return {"model": name, "state": "starting"}

    def use(self, models: object) -> None:
        """Told now and then; of no matter here."""


@contextmanager
def orders(gateway: Gateway, urls: dict[str, str], error: FactoryError | None = None) -> Iterator[Orders]:
    pool: Any = Orders(gateway, urls, error)
    door = ControlServer(gateway.home.run / "engines.sock", pool, Showing(gateway.home, Settings(), ()))
    thread = threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield pool
    finally:
        door.close()
        thread.join()


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_is_not_loaded_is_loaded_and_then_answers(
    gateway: Gateway, engine: MockEngine, stream: bool
) -> None:
    publish(gateway.home, {})
    with orders(gateway, {CODER: engine.url}) as pool:
        assert chat(gateway, stream=stream).status_code == 200
    assert pool.asked == [CODER]


@pytest.mark.parametrize("error", [NotFound("gone"), LimitExceeded("needs 9 GiB, 2 are free", "unload a model")])
def test_a_model_that_cannot_be_loaded_gives_way_at_once(
    gateway: Gateway, other: MockEngine, error: FactoryError
) -> None:
    publish(gateway.home, {BIG: other.url})
    with orders(gateway, {}, error) as pool:
        assert chat(gateway).headers["x-appliance-model"] == BIG
        refused = chat(gateway, model=CODER)
    assert refused.status_code == 503 and error.message in refused.json()["error"]["message"]
    assert pool.asked == [CODER, CODER]


def test_a_parked_engine_is_not_waited_for(gateway: Gateway, other: MockEngine) -> None:
    publish(gateway.home, {CODER: dead_url()}, state="failed")
    response = chat(gateway, model=CODER)
    assert response.status_code == 503 and "engine failed" in response.json()["error"]["message"]


def leave_early(gateway: Gateway, stream: bool, began: threading.Event) -> None:
    """Send a call, wait until the engine has it, close the connection."""
    body = b'{"model": "coder-7b", "messages": [{"role": "user", "content": "x"}], "stream": %s}'
    body %= b"true" if stream else b"false"
    with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
        raw.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"Authorization: Bearer {gateway.key}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert began.wait(10)


@pytest.mark.parametrize("stream", [False, True])
def test_trap_8_a_client_that_leaves_during_prefill_ends_the_engines_work(
    gateway: Gateway, engine: MockEngine, stream: bool
) -> None:
    engine.will(prefill_for_ever)
    leave_early(gateway, stream, engine.began)
    left = time.monotonic()
    assert engine.left.wait(5)
    assert time.monotonic() - left < 3  # a second on a machine with nothing else to do
    assert eventually(lambda: gateway.usage()[-1]["error"] == "client_gone")
    assert len(engine.asked) == 1


def test_trap_8_a_client_that_leaves_in_mid_stream_ends_the_engines_work(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(talk_for_ever)
    leave_early(gateway, True, engine.began)
    assert engine.left.wait(5)
    assert eventually(lambda: gateway.metric("appliance_gateway_in_flight") == 0)


def test_after_the_first_byte_nothing_is_tried_again(gateway: Gateway, engine: MockEngine, other: MockEngine) -> None:
    engine.will(talk_then_die)
    text = chat(gateway, stream=True).text
    assert text.count('"error"') == 1 and "[DONE]" not in text
    assert (len(engine.asked), other.asked) == (1, [])


def test_once_headers_are_out_the_model_stays(gateway: Gateway, engine: MockEngine, other: MockEngine) -> None:
    def late_failure(exchange: Any) -> None:
        time.sleep(0.8)  # longer than keepalive_seconds
        exchange.send(500, {"error": {"message": "odd"}})

    engine.will(late_failure)
    response = chat(gateway, stream=True)
    assert response.status_code == 200 and response.headers["x-appliance-model"] == CODER
    assert '"code":"engine_failed"' in response.text and other.asked == []


def test_an_answer_that_takes_too_long_is_504(tmp_path: Path, engine: MockEngine) -> None:
    home = make_home(tmp_path)
    home.settings_file.write_text(
        home.settings_file.read_text().replace("request_timeout_seconds = 20", "request_timeout_seconds = 1")
    )
    publish(home, {CODER: engine.url})
    engine.will(prefill_for_ever)
    with running_gateway(home) as gateway:
        assert chat(gateway, model=CODER).status_code == 504
        assert '"code":"timeout"' in chat(gateway, model=CODER, stream=True).text
    assert engine.left.wait(5)


def test_a_connection_that_times_out_just_before_the_watch_looks_is_too_late_too() -> None:
    trip = Trip(-1, time.monotonic() - 0.001)
    assert (trip.ended, trip.over) == ("", OVERDUE)
    with pytest.raises(ApiError) as caught:
        trip.check()
    assert (caught.value.status, caught.value.code) == (504, "timeout")
    Trip(-1, time.monotonic() + 60).check()


def test_sigterm_ends_a_gateway_with_open_streams_within_seconds(tmp_path: Path, engine: MockEngine) -> None:
    home = make_home(tmp_path)
    home.settings_file.write_text(
        home.settings_file.read_text().replace("max_body_mb = 1", "max_body_mb = 1\ndrain_seconds = 1")
    )
    publish(home, {CODER: engine.url})
    engine.will(talk_for_ever)
    body = {"model": CODER, "messages": HELLO, "stream": True}
    with running_gateway(home) as gateway:
        with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("data:")
            told = time.monotonic()
            gateway.process.send_signal(signal.SIGTERM)
            last = [line for line in lines if line][-1]
        assert '"code":"gateway_stopping"' in last
        assert gateway.process.wait(10) == 0
        assert time.monotonic() - told < 6  # about 3 on a quiet machine; gunicorn alone would take 30


@pytest.mark.parametrize("of_the_box", [False, True])
def test_sigterm_lets_open_streams_come_to_their_end_and_refuses_new_calls(
    tmp_path: Path, engine: MockEngine, of_the_box: bool
) -> None:
    home = make_home(tmp_path)
    publish(home, {CODER: engine.url})
    engine.will(say(*WORDS[:2], *[delta(content=".")] * 30, WORDS[-1], pause=0.05), talk())
    body = {"model": CODER, "messages": HELLO, "stream": True}
    with (running_box if of_the_box else running_gateway)(home) as gateway, client(gateway.port, gateway.key) as other:
        assert other.get("/readyz").status_code == 200  # and its connection stays
        with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("data:")
            gateway.process.send_signal(signal.SIGTERM)
            late = other.post("/v1/chat/completions", json={"model": CODER, "messages": HELLO})
            while late.status_code == 200:  # the signal is on its way
                late = other.post("/v1/chat/completions", json={"model": CODER, "messages": HELLO})
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]" and len(rest) > 30
        assert (late.status_code, late.json()["error"]["code"]) == (503, "gateway_stopping")
        assert late.headers["retry-after"] == "5"
        told = time.monotonic()
        assert gateway.process.wait(10) == 0
        assert time.monotonic() - told < 8  # about 3; not the whole time that streams would have had


def test_a_killed_gateway_hangs_nobody_and_frees_its_port(tmp_path: Path, engine: MockEngine) -> None:
    home = make_home(tmp_path)
    publish(home, {CODER: engine.url, EMBEDDER: engine.url})
    with running_gateway(home) as gateway:
        engine.will(talk_for_ever)
        body = {"model": CODER, "messages": HELLO, "stream": True}

        def use(n: int) -> str:
            with httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client:
                headers = {"Authorization": f"Bearer {gateway.key}"}
                try:
                    return client.post(
                        "/v1/chat/completions", json={**body, "stream": n % 2 == 0}, headers=headers
                    ).text
                except httpx.TransportError as error:
                    return type(error).__name__

        with ThreadPoolExecutor(8) as pool:
            pending = [pool.submit(use, n) for n in range(8)]
            assert eventually(lambda: len(engine.asked) >= 8)
            gateway.process.kill()
            ended = [one.result(timeout=10) for one in pending]
        assert len(ended) == 8
        gateway.process.wait()
        second = start(home)
        try:
            gateway.process = second
            wait_until_up(gateway)
            engine.will(talk())
            assert chat(gateway, model=CODER).status_code == 200
        finally:
            stop(second)


def test_a_killed_worker_is_replaced_and_clients_that_ask_again_are_served(tmp_path: Path, engine: MockEngine) -> None:
    home = make_home(tmp_path)
    publish(home, {EMBEDDER: engine.url})
    engine.will(talk())
    with running_gateway(home) as gateway:
        model = GatewayModel(gateway.url, gateway.key, patience_seconds=30)
        stopped = threading.Event()
        vectors: list[int] = []

        def use() -> None:
            while not stopped.is_set():
                vectors.append(len(model.embed(["a", "b"])))

        with ThreadPoolExecutor(4) as pool:
            pending = [pool.submit(use) for _ in range(4)]
            for _ in range(3):
                time.sleep(0.5)
                for child in children(gateway.process.pid):
                    os.kill(child, signal.SIGKILL)
            time.sleep(0.5)
            stopped.set()
            for one in pending:
                one.result(timeout=40)
        model.close()
        assert vectors and set(vectors) == {2}


def children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def test_only_the_gateways_worker_is_patched_for_gevent() -> None:
    from gevent import monkey

    from inference.gateway import app, calls, relay, serve, upstream

    assert all((app, calls, relay, serve, upstream))
    assert not monkey.is_module_patched("socket") and not monkey.is_module_patched("threading")


def test_sixty_four_streams_at_once_are_all_served_whole(gateway: Gateway, engine: MockEngine) -> None:
    with ThreadPoolExecutor(64) as pool:
        texts = list(pool.map(lambda _: chat(gateway, model=CODER, stream=True).text, range(64)))
    assert [text for text in texts if not text.endswith("data: [DONE]\n\n") or '"error"' in text] == []


def test_answers_of_many_clients_are_not_mixed_up(gateway: Gateway, engine: MockEngine) -> None:
    def echo(exchange: Any) -> None:
        exchange.send(200, whole_answer(exchange.body["messages"][0]["content"]))

    engine.will(echo)

    def ask(n: int) -> bool:
        response = chat(gateway, model=CODER, messages=[{"role": "user", "content": f"number {n}"}])
        return bool(response.json()["choices"][0]["message"]["content"] == f"number {n}")

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(200)))


def test_an_engine_that_answers_no_json_errors_is_still_told_in_our_shape(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(answer(b"<html>bad gateway</html>", 502))
    error = chat(gateway, model=CODER).json()["error"]
    assert error["code"] == "engine_failed" and "bad gateway" in error["message"]
