"""A real gateway before a box with room for one model: who waits, who is told what, and that nothing is cut off."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from appliance.settings import Settings
from inference.engines.control import ControlServer
from inference.engines.showing import Showing
from tests.inference.gateway_process import BIG, CODER, Gateway, eventually, make_home, publish, running_gateway
from tests.inference.mock_engine import WORDS, MockEngine, mock_engine, say, talk, talk_for_ever

pytestmark = pytest.mark.integration
HELLO = [{"role": "user", "content": "Hello?"}]


class OnePlace:
    """The engines' side of the control door, as the pool answers with room for one model."""

    def __init__(self, gateway: Gateway, urls: dict[str, str]) -> None:
        self.gateway, self.urls = gateway, urls
        self.kept: list[tuple[str, tuple[str, ...]]] = []
        self.swaps: list[str] = []
        self.take(CODER)

    def take(self, model: str) -> None:
        self.loaded = model
        self.swaps.append(model)
        publish(self.gateway.home, {model: self.urls[model]})

    def load(self, name: str, again: bool, options: object, keep: Sequence[str]) -> dict[str, Any]:
        self.kept.append((name, tuple(keep)))
        if name != self.loaded and self.loaded in keep:
            why = f"waits for the place of {self.loaded}"
            return {"model": name, "state": "waiting", "reason": why, "wait_for": [self.loaded]}
        if name != self.loaded:
            self.loaded = name
            publish(self.gateway.home, {})
            threading.Timer(0.2, self.take, (name,)).start()
        return {"model": name, "state": "starting", "reason": ""}

    def use(self, models: object) -> None:
        """Told now and then; of no matter here."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("gateway"))
    text = home.settings_file.read_text()
    home.settings_file.write_text(text.replace("queue_seconds = 1.5", "queue_seconds = 3\nturn_seconds = 0.3"))
    with running_gateway(home) as running:
        yield running


@pytest.fixture
def engines() -> Iterator[dict[str, MockEngine]]:
    with mock_engine() as coder, mock_engine() as big:
        coder.will(talk())
        big.will(talk())
        yield {CODER: coder, BIG: big}


@pytest.fixture
def box(gateway: Gateway, engines: dict[str, MockEngine]) -> Iterator[OnePlace]:
    place: Any = OnePlace(gateway, {model: engine.url for model, engine in engines.items()})
    door = ControlServer(gateway.home.run / "engines.sock", place, Showing(gateway.home, Settings(), ()))
    thread = threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield place
    finally:
        door.close()
        thread.join()


def chat(gateway: Gateway, model: str, **more: Any) -> httpx.Response:
    return gateway.http.post("/v1/chat/completions", json={"model": model, "messages": HELLO, **more})


def test_an_answer_in_flight_is_finished_before_its_model_makes_room(
    gateway: Gateway, box: OnePlace, engines: dict[str, MockEngine]
) -> None:
    engines[CODER].will(say(*WORDS, pause=0.4))
    with ThreadPoolExecutor(2) as clients:
        slow = clients.submit(chat, gateway, CODER, stream=True)
        eventually(lambda: len(engines[CODER].asked) == 1)
        other = clients.submit(chat, gateway, BIG)
        assert slow.result().text.rstrip().endswith("data: [DONE]")
        assert other.result().status_code == 200 and other.result().headers["x-appliance-model"] == BIG
    assert box.swaps == [CODER, BIG]
    assert box.kept[0] == (BIG, (CODER,)) and box.kept[-1] == (BIG, ())


def test_who_waits_in_vain_is_told_for_whom(gateway: Gateway, box: OnePlace, engines: dict[str, MockEngine]) -> None:
    engines[CODER].will(talk_for_ever)
    with gateway.http.stream("POST", "/v1/chat/completions", json={"model": CODER, "messages": HELLO, "stream": True}):
        refused = chat(gateway, BIG)
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
        assert f"waits for the place of {CODER}" in refused.json()["error"]["message"]
    assert box.swaps == [CODER]
    eventually(lambda: chat(gateway, BIG).status_code == 200)


def test_a_call_that_may_go_elsewhere_goes_to_what_is_loaded_instead_of_waiting(
    gateway: Gateway, box: OnePlace, engines: dict[str, MockEngine]
) -> None:
    chat(gateway, BIG)
    assert box.loaded == BIG
    engines[BIG].will(talk_for_ever, talk())
    with gateway.http.stream("POST", "/v1/chat/completions", json={"model": BIG, "messages": HELLO, "stream": True}):
        answered = chat(gateway, "auto")
        assert answered.status_code == 200 and answered.headers["x-appliance-model"] == BIG
    assert box.swaps == [CODER, BIG]
