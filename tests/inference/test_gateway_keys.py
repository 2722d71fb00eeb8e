"""A real gateway and its keys: scopes, limits, budgets, priorities, counted exactly whatever is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ClassVar

import httpx
import openai
import psutil
import pytest

from inference.counts import Counts
from inference.journal import read_counts
from inference.keys import Key, KeyStore, Terms
from inference.limits import Limits, Priority
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
    running_gateway,
    start,
    wait_until_up,
)
from tests.inference.mock_engine import (
    Exchange,
    MockEngine,
    answer,
    delta,
    prefill,
    prefill_for_ever,
    say,
    talk,
    talk_for_ever,
    talk_then_die,
    whole_answer,
)

HELLO = [{"role": "user", "content": "Hello?"}]
ESTIMATE = 2
"""Tokens that the gateway takes this prompt for before an engine has counted them."""
STREAM = {"model": CODER, "messages": HELLO, "stream": True}


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


class Caller:
    """Somebody with a key of his own."""

    number = 0
    all: ClassVar[list[Caller]] = []

    def __init__(self, gateway: Gateway, **terms: Any) -> None:
        Caller.number += 1
        Caller.all.append(self)
        self.store = KeyStore(gateway.home.secrets / "keys.json")
        self.gateway = gateway
        self.key, self.token = self.store.create(f"caller-{Caller.number}", terms=Terms(**terms))
        self.http = client(gateway.port, self.token)

    @classmethod
    def hang_up(cls) -> None:
        while cls.all:
            cls.all.pop().http.close()

    def chat(self, **more: Any) -> httpx.Response:
        return self.http.post("/v1/chat/completions", json={"model": CODER, "messages": HELLO, **more})

    def together(self, many: int, **more: Any) -> list[httpx.Response]:
        """Calls at the same time."""
        with ThreadPoolExecutor(many) as pool:
            return list(pool.map(lambda _: self.chat(**more), range(many)))

    def limit(self, **limits: Any) -> None:
        def new(key: Key) -> Key:
            return key.with_(terms=key.terms.with_(limits=Limits(**limits)))

        self.key = self.store.change(self.key.id, new)

    def counts(self) -> Counts:
        return read_counts(self.gateway.home.spool)

    def total(self) -> tuple[int, int, int]:
        """Calls, prompt tokens and answer tokens that were settled."""
        total = self.counts().key(self.key.id).total
        return total.calls, total.prompt, total.completion


@pytest.fixture(autouse=True)
def hang_up() -> Iterator[None]:
    """Nobody's connections outlive the test."""
    yield
    Caller.hang_up()


def statuses(answers: list[httpx.Response]) -> dict[int, int]:
    found = [made.status_code for made in answers]
    return {status: found.count(status) for status in set(found)}


def test_a_key_for_some_models_calls_and_sees_no_others(gateway: Gateway) -> None:
    caller = Caller(gateway, models=("coder-3*",))
    refused = caller.chat()
    assert refused.status_code == 403 and "limited to the models coder-3*" in refused.json()["error"]["message"]
    assert caller.chat(model="auto").headers["x-appliance-model"] == BIG
    assert [row["id"] for row in caller.http.get("/v1/models").json()["data"]] == [BIG]
    assert caller.http.get(f"/v1/models/{CODER}").status_code == 404
    assert caller.http.post("/v1/route", json={"task": "chat"}).json()["candidates"] == [BIG]


def test_a_key_for_one_task_does_nothing_else(gateway: Gateway) -> None:
    caller = Caller(gateway, tasks=("embedding",))
    assert caller.http.post("/v1/embeddings", json={"model": "auto", "input": "a"}).status_code == 200
    refused = caller.chat()
    assert refused.status_code == 403 and "limited to tasks embedding" in refused.json()["error"]["message"]


def test_a_key_for_one_route_lets_the_router_choose(gateway: Gateway) -> None:
    caller = Caller(gateway, routes=("talk",))
    assert caller.chat(model="auto").status_code == 200
    assert "ask for `auto`" in caller.chat().json()["error"]["message"]
    refused = caller.http.post("/v1/embeddings", json={"model": "auto", "input": "a"})
    assert refused.status_code == 403 and "rule 'vectors'" in refused.json()["error"]["message"]


def test_of_calls_at_the_same_time_exactly_as_many_as_allowed_are_let_in(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(prefill(0.2, talk()))
    caller = Caller(gateway, limits=Limits(requests_per_minute=9))
    answers = caller.together(24)
    assert statuses(answers) == {200: 9, 429: 15}
    refused = next(made for made in answers if made.status_code == 429)
    assert 50 <= int(refused.headers["retry-after"]) <= 60
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "9 of 9 requests" in error["message"] and caller.key.name in error["message"]
    left = sorted(int(made.headers["x-ratelimit-remaining-requests"]) for made in answers)
    assert left[0] == 0 and all(made.headers["x-ratelimit-limit-requests"] == "9" for made in answers)
    assert caller.total() == (9, 9 * 7, 9 * 3)


def test_an_unmodified_client_sees_a_rate_limit_and_its_headers(gateway: Gateway) -> None:
    caller = Caller(gateway, limits=Limits(requests_per_minute=1, tokens_per_minute=5000))
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=caller.token, max_retries=0) as made:
        raw = made.chat.completions.with_raw_response.create(model=CODER, messages=HELLO)
        assert raw.headers["x-ratelimit-remaining-tokens"] == "4990"
        assert raw.headers["x-ratelimit-reset-requests"].endswith("s")
        with pytest.raises(openai.RateLimitError) as refused:
            made.chat.completions.create(model=CODER, messages=HELLO)
    assert refused.value.code == "rate_limit_exceeded" and int(refused.value.response.headers["retry-after"]) > 50


def test_every_door_counts_and_refuses_in_its_own_words(gateway: Gateway) -> None:
    caller = Caller(gateway, limits=Limits(requests_per_minute=3))
    ask = {"model": CODER, "max_tokens": 5, "messages": HELLO}
    assert caller.http.post("/v1/messages", json=ask).status_code == 200
    assert caller.http.post("/v1/responses", json={"model": CODER, "input": "Hello?"}).status_code == 200
    assert caller.http.post("/v1/embeddings", json={"model": EMBEDDER, "input": "a"}).status_code == 200
    refused = caller.http.post("/v1/messages", json=ask)
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 50
    assert refused.json()["type"] == "error" and refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert not any(name.startswith("x-ratelimit-") for name in refused.headers)
    assert "3 of 3 requests" in refused.json()["error"]["message"]
    assert caller.total() == (3, 7 + 7 + 4, 3 + 3)


def test_calls_at_once_are_limited_and_places_come_free_again(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(prefill(0.3, talk()))
    caller = Caller(gateway, limits=Limits(parallel=2))
    assert statuses(caller.together(6)) == {200: 2, 429: 4}
    assert statuses(caller.together(2)) == {200: 2}
    refused = [made for made in caller.together(3) if made.status_code == 429]
    assert refused[0].headers["retry-after"] == "1" and "2 of 2 calls at once" in refused[0].text


def test_tokens_are_reserved_before_a_call_and_settled_after_it(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(prefill(0.3, talk()))
    caller = Caller(gateway, limits=Limits(tokens_per_minute=230))
    assert statuses(caller.together(6, max_tokens=100)) == {200: 2, 429: 4}
    assert caller.total() == (2, 14, 6)
    engine.will(talk())
    assert caller.chat(max_tokens=100).status_code == 200  # 20 are used, not 200
    never = caller.chat(max_tokens=500)
    assert never.status_code == 429 and "retry-after" not in never.headers
    assert never.headers["x-should-retry"] == "false" and "shorter answer" in never.text


def test_a_budget_pauses_with_the_reason_and_opens_when_it_is_raised(gateway: Gateway) -> None:
    caller = Caller(gateway, limits=Limits(tokens_per_day=24))
    assert [caller.chat(max_tokens=3).status_code for _ in range(3)] == [200, 200, 429]
    refused = caller.chat(max_tokens=4)
    error = refused.json()["error"]
    assert error["code"] == "insufficient_quota" and error["param"] == "tokens_per_day"
    assert "20 of 24 tokens of this day" in error["message"] and "opens again at 20" in error["message"]
    assert refused.headers["x-should-retry"] == "false" and int(refused.headers["retry-after"]) <= 86400
    caller.limit(tokens_per_day=1000)
    assert caller.chat(max_tokens=4).status_code == 200


def test_a_budget_of_model_seconds_counts_the_time_an_engine_worked(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(prefill(0.3, talk()))
    caller = Caller(gateway, limits=Limits(seconds_per_month=0.5))
    assert [caller.chat().status_code for _ in range(3)] == [200, 200, 429]
    used = caller.counts().key(caller.key.id).total.milliseconds
    assert 600 <= used <= 5000
    assert "model-seconds of this month" in caller.chat().text


def test_a_stream_is_settled_before_its_end_is_seen(gateway: Gateway) -> None:
    caller = Caller(gateway)
    with caller.http.stream("POST", "/v1/chat/completions", json=STREAM) as made:
        for line in made.iter_lines():
            if line == "data: [DONE]":
                assert caller.total() == (1, 7, 3)
    assert caller.total() == (1, 7, 3)


def test_a_stream_that_the_client_leaves_is_settled_by_what_was_generated(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(talk_for_ever)
    caller = Caller(gateway)
    with caller.http.stream("POST", "/v1/chat/completions", json=STREAM) as made:
        lines = made.iter_lines()
        for _ in range(20):
            next(lines)
        open_now = caller.counts().key(caller.key.id).open
    assert open_now == 1
    assert eventually(lambda: caller.total()[0] == 1)
    calls, prompt, completion = caller.total()
    assert (calls, prompt) == (1, ESTIMATE) and 10 <= completion <= 40
    assert caller.counts().key(caller.key.id).total.milliseconds > 300
    line = gateway.usage()[-1]
    assert (line["status"], line["completion_tokens"]) == (499, completion)


def test_a_stream_that_breaks_is_settled_by_what_was_generated(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(talk_then_die)
    caller = Caller(gateway)
    caller.chat(stream=True)
    assert caller.total() == (1, ESTIMATE, 1)


def test_a_call_that_no_engine_answered_costs_nothing(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(answer({"error": {"message": "no"}}, 400))
    caller = Caller(gateway)
    assert caller.chat().status_code == 400
    assert caller.total() == (1, 0, 0) and caller.counts().key(caller.key.id).total.milliseconds == 0


def test_a_whole_answer_that_the_client_left_costs_what_the_pace_says_at_most_what_was_reserved(
    gateway: Gateway, engine: MockEngine
) -> None:
    engine.will(prefill_for_ever)
    caller = Caller(gateway)
    with pytest.raises(httpx.ReadTimeout):
        caller.http.post("/v1/chat/completions", timeout=0.3,
                         json={"model": CODER, "messages": HELLO, "max_tokens": 50})  # fmt: skip
    assert eventually(lambda: caller.total() == (1, ESTIMATE, 50))


def test_batch_calls_wait_while_interactive_ones_go_on_whoever_says_that_they_can_wait(
    gateway: Gateway, engine: MockEngine
) -> None:
    gate = threading.Event()

    def hold(exchange: Exchange) -> None:
        gate.wait(10)
        exchange.send(200, whole_answer())

    engine.will(hold)
    person, batch = Caller(gateway), Caller(gateway, priority=Priority.BATCH)
    with ThreadPoolExecutor(8) as pool:
        first = [pool.submit(person.chat) for _ in range(4)]  # as many as the engine has slots
        assert eventually(lambda: len(engine.asked) == 4)
        waiting = [pool.submit(batch.chat), pool.submit(person.chat, service_tier="flex")]
        assert eventually(lambda: gateway.metric("appliance_gateway_held") == 2.0)
        late = pool.submit(person.chat)
        assert eventually(lambda: len(engine.asked) >= 5)
        gate.set()
        assert {made.result().status_code for made in (*first, late, *waiting)} == {200}
    told = sorted(line["priority"] for line in gateway.usage()[-7:])
    assert told == ["batch"] * 2 + ["interactive"] * 5


def test_a_batch_call_that_gets_no_place_in_time_is_refused(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(prefill(2.5, talk()))
    person, batch = Caller(gateway), Caller(gateway, priority=Priority.BATCH)
    with ThreadPoolExecutor(8) as pool:
        busy = [pool.submit(person.chat) for _ in range(4)]
        assert eventually(lambda: len(engine.asked) == 4)
        served, refused = sorted(batch.together(2), key=lambda made: made.status_code)
        assert served.status_code == 200  # after half its time, whatever is going on
        assert refused.status_code == 429 and refused.json()["error"]["code"] == "gateway_full"
        assert refused.headers["retry-after"] == "10"
        assert {made.result().status_code for made in busy} == {200}
    assert batch.total()[0] == 1


@pytest.fixture
def own(engine: MockEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that a test may kill."""
    engine.will(talk())
    home = make_home(tmp_path_factory.mktemp("own"))
    publish(home, {CODER: engine.url})
    with running_gateway(home) as running:
        yield running
        Caller.hang_up()


def call_until(caller: Caller, stop: threading.Event, answered: list[int]) -> None:
    with client(caller.gateway.port, caller.token) as http:
        while not stop.is_set():
            with suppress(httpx.TransportError):
                made = http.post("/v1/chat/completions", json={"model": CODER, "messages": HELLO, "max_tokens": 5})
                answered.append(made.status_code)


def worker_of(gateway: Gateway) -> psutil.Process:
    assert eventually(lambda: psutil.Process(gateway.process.pid).children())
    return psutil.Process(gateway.process.pid).children()[0]


def test_counts_stay_exact_when_workers_are_killed_under_load(own: Gateway, engine: MockEngine) -> None:
    engine.will(prefill(0.01, talk()))
    caller, stop = Caller(own, limits=Limits(parallel=6)), threading.Event()
    answered: list[list[int]] = [[] for _ in range(6)]
    threads = [threading.Thread(target=call_until, args=(caller, stop, kept)) for kept in answered]
    for thread in threads:
        thread.start()
    for _ in range(2):
        time.sleep(0.4)
        worker_of(own).send_signal(signal.SIGKILL)
        time.sleep(0.1)
        wait_until_up(own)
    time.sleep(0.4)
    stop.set()
    for thread in threads:
        thread.join(20)
    good = sum(kept.count(200) for kept in answered)
    assert good > 20
    assert eventually(lambda: caller.counts().key(caller.key.id).open == 0)
    calls, prompt, completion = caller.total()
    # Six calls may be cut off by each kill, and as many answered ones lost on their way to the client.
    assert good <= calls <= good + 12
    assert good * 3 <= completion <= calls * 3 and good * 7 <= prompt <= calls * 7
    assert caller.chat().status_code == 200  # no place is lost


def test_a_budget_outlives_a_killed_gateway(own: Gateway, engine: MockEngine) -> None:
    engine.will(talk_for_ever)
    caller = Caller(own, limits=Limits(tokens_per_day=2000, requests_per_minute=2))
    with suppress(httpx.TransportError), caller.http.stream("POST", "/v1/chat/completions", json=STREAM) as made:
        for n, _ in enumerate(made.iter_lines()):
            if n == 24:
                os.killpg(own.process.pid, signal.SIGKILL)
    own.process.wait()
    before = caller.counts().key(caller.key.id)
    assert (before.open, before.total.calls) == (1, 0)
    engine.will(talk())
    own.process = start(own.home)
    wait_until_up(own)
    assert eventually(lambda: caller.total()[0] == 1)
    _, prompt, completion = caller.total()
    # What was reported at most a quarter of a second before the end.
    assert prompt == ESTIMATE and 5 <= completion <= 30
    assert [caller.chat().status_code for _ in range(2)] == [200, 429]


def test_gateways_of_one_home_count_together(own: Gateway, engine: MockEngine) -> None:
    engine.will(prefill(0.1, say(delta(content="Hi"), delta("stop"))))
    settings = own.home.settings_file.read_text()
    first_port = f"port = {own.port}"
    second = Gateway(own.home, free_port(), own.key, own.process, own.http)
    own.home.settings_file.write_text(settings.replace(first_port, f"port = {second.port}"))
    second.process, second.http = start(own.home), client(second.port, own.key)
    try:
        wait_until_up(second)
        caller = Caller(own, limits=Limits(requests_per_minute=10))
        with ThreadPoolExecutor(20) as pool, client(second.port, caller.token) as there:
            answers = [
                pool.submit(http.post, "/v1/chat/completions", json=STREAM)
                for _ in range(10) for http in (caller.http, there)
            ]  # fmt: skip
            assert statuses([made.result() for made in answers]) == {200: 10, 429: 10}
    finally:
        second.http.close()
        second.process.terminate()
        second.process.wait(10)
