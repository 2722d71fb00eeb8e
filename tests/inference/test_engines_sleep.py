"""Engines that sleep: a real pool, vLLM's adapter, and small servers that speak as vLLM does and share made-up GPUs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.config import Home
from appliance.settings import ModelSettings, Settings
from inference.engines.devices import Gpu, Room
from inference.engines.engine import Seat
from inference.engines.needs import FRAMEWORK, Need, Part, Wish
from inference.engines.pool import Pool
from inference.engines.vllm import Vllm
from inference.lifecycle import Patience
from models.card import Card
from models.importing import import_model
from models.registry import Registry
from models.shape import Shape
from tests.inference.engines_process import lives, make_home, until
from tests.inference.gateway_process import free_port, running_gateway
from tests.inference.test_engines_pool import ready, row, running_pool
from tests.inference.tiny_folder import write_tiny_adapter, write_tiny_folder

GIB = 1 << 30
SERVER = Path(__file__).with_name("sleepy_server.py")
NEED, CARD = 6 * GIB, 12 * GIB


class Sleepy(Vllm):
    """vLLM's adapter before another server; every model takes 6 GiB."""

    death_signal = signal.SIGKILL

    def __init__(self) -> None:
        super().__init__(sys.executable, sleeps=True)

    def argv(self, seat: Seat) -> tuple[str, ...]:
        sizes = str(NEED), str(FRAMEWORK)
        file = seat.scratch / f"gpu-{seat.gpus[0] if seat.gpus else 0}-{seat.card.id}"
        return (sys.executable, "-S", str(SERVER), str(seat.port), seat.card.id, str(file), *sizes)

    def env(self, seat: Seat) -> Mapping[str, str]:
        return {"PATH": "/usr/bin:/bin", "VLLM_API_KEY": seat.key}

    def patience(self, usual: Patience) -> Patience:
        return replace(usual, alive_seconds=0.2)

    def need(self, card: Card, shape: Shape | None, wish: Wish, gpus: int) -> Need:
        return Need((Part("all", NEED, "told"),))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = make_home(tmp_path_factory.mktemp("box"), f"[gateway]\nport = {free_port()}\nturn_seconds = 0.5\n")
    for n, id in enumerate("ab"):
        folder = write_tiny_folder(made.spool / id, layers=1, width=64, seed=n)
        import_model(folder, Registry(made.models), id, tasks=("chat",))
    made.routes_file.write_text('[[rule]]\nname = "talk"\ncandidates = ["a", "b"]\n')
    return made


Start = Callable[..., AbstractContextManager[Pool]]


@pytest.fixture
def start(home: Home) -> Start:
    scratch = home.run / "engines"

    def look(ram: int, gpus: int) -> Room:
        """What the servers that live have left of the GPUs."""
        used = [0] * gpus
        for file in scratch.glob("gpu-*"):
            pid, size = map(int, file.read_text().split())
            if lives(pid):
                used[int(file.name.split("-")[1])] += size
        return Room(ram, ram, tuple(Gpu(n, f"GPU-{n}", "card", CARD, CARD - used[n]) for n in range(gpus)))

    @contextmanager
    def made(ram: int = 64 * GIB, gpus: int = 1, **models: Any) -> Iterator[Pool]:
        for left in scratch.glob("*"):
            left.unlink()
        settings = Settings(models={id: ModelSettings(**fields) for id, fields in models.items()})
        pool = Pool(home, settings, [Sleepy()], look=lambda: look(ram, gpus))
        with running_pool(pool, home) as pool:
            yield pool

    return made


def asleep(pool: Pool, model: str) -> dict[str, Any]:
    return until(lambda: (now := row(pool, model)).get("state") == "sleeping" and now)  # type: ignore[no-any-return]


def ask_engine(method: str, shown: dict[str, Any], path: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {Path(shown['api_key_file']).read_text().strip()}"}
    with httpx.Client(base_url=shown["url"], headers=headers, trust_env=False, timeout=60) as http:
        return http.request(method, path, json={})


def is_sleeping(shown: dict[str, Any]) -> bool:
    return bool(ask_engine("GET", shown, "/is_sleeping").json()["is_sleeping"])


def test_a_model_that_nobody_uses_sleeps_and_wakes_when_it_is_asked_for(start: Start) -> None:
    with start(a={"idle_seconds": 0.2}) as pool:
        pool.load("a")
        before = ready(pool, "a")
        sleeping = asleep(pool, "a")
        assert is_sleeping(sleeping) and sleeping["since"] > before["since"] and sleeping["pid"] == before["pid"]
        assert sleeping["gpu_bytes"] == {"0": FRAMEWORK} and sleeping["ram_bytes"] > FRAMEWORK
        woken = pool.load("a")
        assert (woken["state"], woken["reason"], woken["gpu_bytes"]) == ("starting", "wakes up", {"0": NEED})
        after = ready(pool, "a")
        assert after["since"] > sleeping["since"] and not is_sleeping(after)
        assert (after["pid"], after["restarts"], after["ram_bytes"]) == (before["pid"], 0, 0)


def test_a_model_that_nobody_wakes_for_long_is_unloaded(start: Start) -> None:
    with start(a={"idle_seconds": 0.2, "asleep_seconds": 1.5}) as pool:
        pool.load("a")
        ready(pool, "a")
        held = asleep(pool, "a")["pid"]
        pool.load("a")
        assert ready(pool, "a")["pid"] == held, "woken in time, it is the same"
        asleep(pool, "a")
        until(lambda: pool.rows() == [] and not lives(held))


def test_two_models_that_do_not_fit_together_take_turns_sleeping_and_neither_starts_twice(start: Start) -> None:
    with start() as pool:
        pool.load("a")
        first = ready(pool, "a")
        told = pool.load("b")
        assert (told["state"], told["reason"]) == ("stopped", "waits until a has left")
        assert row(pool, "a")["reason"] == "makes room for b"
        second = ready(pool, "b")
        assert asleep(pool, "a")["reason"] == ""
        told = pool.load("a")
        assert (told["state"], told["reason"]) == ("sleeping", "waits until b has left")
        assert pool.load("a")["reason"] == told["reason"], "asked twice, it is one order"
        assert ready(pool, "a")["pid"] == first["pid"] and asleep(pool, "b")["pid"] == second["pid"]
        waits = pool.load("b", keep=["a"])
        assert (waits["state"], waits["wait_for"]) == ("waiting", ["a"])
        assert sorted(one["model"] for one in pool.rows()) == ["a", "b"]


def test_without_ram_for_its_weights_it_is_unloaded(start: Start) -> None:
    with start(ram=GIB, a={"idle_seconds": 0.2}) as pool:
        pool.load("a")
        ready(pool, "a")
        until(lambda: pool.rows() == [])
        pool.load("a")
        ready(pool, "a")
        pool.load("b")
        assert ready(pool, "b") and not row(pool, "a")


def test_one_that_dies_asleep_is_unloaded(start: Start) -> None:
    with start(a={"idle_seconds": 0.2}) as pool:
        pool.load("a")
        os.kill(asleep(pool, "a")["pid"], signal.SIGKILL)
        until(lambda: pool.rows() == [])
        pool.load("a")
        assert ready(pool, "a")["restarts"] == 0


def test_one_that_refuses_to_sleep_is_unloaded(start: Start) -> None:
    with start() as pool:
        pool.load("a")
        ready(pool, "a")
        (pool.scratch / "refuse-sleep").touch()
        pool.load("b")
        assert ready(pool, "b") and not row(pool, "a")


def test_one_that_works_for_too_long_is_unloaded_and_its_call_breaks_off_rather_than_ends(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in ("pool", "process"):
        monkeypatch.setattr(f"inference.engines.{where}.DRAIN_SECONDS", 0.5)
    with start() as pool, ThreadPoolExecutor(1) as client:
        pool.load("a")
        shown = ready(pool, "a")
        (pool.scratch / "hold").touch()
        called = client.submit(ask_engine, "POST", shown, "/v1/completions")
        until(lambda: not ask_engine("GET", shown, "/metrics").text.endswith(" 0.0\n"))
        pool.load("b")
        with pytest.raises(httpx.TransportError):
            called.result(60).raise_for_status()
        (pool.scratch / "hold").unlink()
        assert ready(pool, "b") and not row(pool, "a")


def test_one_that_does_not_wake_up_starts_anew(start: Start) -> None:
    with start(a={"idle_seconds": 0.5}) as pool:
        pool.load("a")
        sleeping = asleep(pool, "a")
        (pool.scratch / "die-waking").touch()
        pool.load("a")
        until(lambda: row(pool, "a")["pid"] not in (None, sleeping["pid"]))
        assert ready(pool, "a")["gpu_bytes"] == {"0": NEED}


def test_one_whose_gpu_is_taken_starts_anew_on_another_that_is_free(start: Start) -> None:
    with start(gpus=2, a={"idle_seconds": 0.2}) as pool:
        pool.load("a")
        sleeping = asleep(pool, "a")
        (pool.scratch / "gpu-0-stranger").write_text(f"{os.getpid()} {10 * GIB}")
        pool.load("a")
        until(lambda: row(pool, "a")["pid"] not in (None, sleeping["pid"]))
        assert ready(pool, "a")["gpu_bytes"] == {"1": NEED}


def test_one_that_sleeps_can_be_unloaded(start: Start) -> None:
    with start(a={"idle_seconds": 0.2}) as pool:
        pool.load("a")
        pid = asleep(pool, "a")["pid"]
        assert pool.unload("a")["model"] == "a"
        until(lambda: pool.rows() == [])
        assert not lives(pid)


def test_a_base_that_sleeps_starts_anew_for_an_adapter_that_came_later(start: Start, home: Home) -> None:
    registry = Registry(home.models)
    import_model(write_tiny_folder(home.spool / "base", layers=1, width=64, seed=5), registry, "base", tasks=("chat",))
    with start(base={"idle_seconds": 0.5}) as pool:
        pool.load("base")
        sleeping = asleep(pool, "base")
        adapter = write_tiny_adapter(home.spool / "style", layers=1, width=64)
        import_model(adapter, registry, "style", tasks=("chat",), base="base")
        told = pool.load("style")
        assert (told["model"], told["base"]) == ("style", "base")
        until(lambda: row(pool, "base")["pid"] not in (None, sleeping["pid"]))
        assert ready(pool, "style")["pid"] == ready(pool, "base")["pid"]
        assert sorted(one["model"] for one in pool.rows()) == ["base", "style"]


def test_a_gateway_wakes_models_for_calls_which_wait_in_line_as_for_a_load(start: Start, home: Home) -> None:
    with start() as pool, running_gateway(home) as gateway:

        def ask(model: str) -> str:
            asked = {"model": model, "messages": [{"role": "user", "content": "Hello?"}]}
            answer = gateway.http.post("/v1/chat/completions", json=asked, timeout=60)
            return answer.text if answer.status_code != 200 else "answered"

        assert ask("a") == "answered"
        first = row(pool, "a")["pid"]
        assert ask("b") == "answered"
        asleep(pool, "a")
        assert gateway.metric('appliance_engine_state{model="a",state="sleeping"}') == 1.0
        with ThreadPoolExecutor(6) as clients:
            assert list(clients.map(ask, "aabbab")) == ["answered"] * 6
        until(lambda: {row(pool, id)["state"] for id in "ab"} == {"ready", "sleeping"})
        assert row(pool, "a")["pid"] == first and row(pool, "a")["restarts"] == 0
