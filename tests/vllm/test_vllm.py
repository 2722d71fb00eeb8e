"""vLLM's build for processors, for real: the contract of engines, and what is vLLM's own.

`make test-vllm` makes its environment first (3.4 GB, some minutes); plain `make test` leaves this folder out.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from appliance.config import Home
from appliance.settings import EnginesSettings, Settings
from inference.engines.engine import Engine, Seat
from inference.engines.vllm import Vllm
from installer.checkout import Checkout
from installer.environment import ready
from models import trials
from models.importing import import_model
from models.registry import Registry
from tests.contracts.engine_suite import CHAT, HELLO, EngineContract
from tests.contracts.engines import Served, served
from tests.inference.engines_process import Engines, lives, make_home, running_engines, start, until
from tests.inference.tiny_folder import write_tiny_adapter, write_tiny_folder
from tests.models.test_model_command import Cli, cli

__all__ = ["cli"]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]
SETTINGS = '[engines]\nthreads = 2\nslots = 4\ncontext_tokens = 512\nvllm = "{}"\nvllm_device = "cpu"\n'


@pytest.fixture(scope="session")
def python() -> Path:
    folder = ready(Checkout.here(), "vllm")
    if folder is None:
        pytest.skip("`make test-vllm` makes the environment of vLLM")
    return folder / "bin" / "python"


def home_with_model(folder: Path, python: Path) -> Home:
    home = make_home(folder, SETTINGS.format(python))
    import_model(write_tiny_folder(home.spool / "tiny"), Registry(home.models), "tiny", tasks=("chat",))
    return home


def settings_with(python: Path) -> Settings:
    own = EnginesSettings(threads=2, slots=4, context_tokens=512, vllm=str(python), vllm_device="cpu")
    return Settings(engines=own)


class WithDoorsForSleep(Vllm):
    """On processors vLLM goes through the motions of sleeping: it takes no calls, and gives no memory back."""

    def env(self, seat: Seat) -> Mapping[str, str]:
        return {**super().env(seat), "VLLM_SERVER_DEV_MODE": "1"}


class TestVllm(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def kind(cls, python: Path) -> Engine:
        return Vllm(str(python), gpu=False)

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
        home = home_with_model(tmp_path_factory.mktemp("vllm"), python)
        with served(home, settings_with(python), "tiny") as made:
            yield made


def said_by(engines: Engines, model: str) -> str:
    with engines.talk(model) as http:
        asked = {"model": engines.row(model)["served_as"], "messages": HELLO, "max_tokens": 24, "temperature": 0}
        answer = http.post(CHAT, json=asked).json()
    said: str = answer["choices"][0]["message"]["content"]
    return said


def check_every_path_wants_its_key(engines: Engines, model: str) -> None:
    with httpx.Client(base_url=engines.row(model)["url"], trust_env=False) as http:
        for path in ("/metrics", "/health", "/invocations", "/v1/models", "/tokenize", "/sleep", "/nowhere"):
            assert [http.request(method, path).status_code for method in ("GET", "POST", "OPTIONS")] == [401] * 3
    with engines.talk(model) as http:
        assert [http.post(path, json={}).status_code for path in ("/invocations", "/collective_rpc")] == [404, 404]
        assert http.get("/health").status_code == 200


def test_an_adapter_is_a_model_of_its_own_and_nothing_outlives_an_engines_process_that_is_killed(
    python: Path, tmp_path: Path
) -> None:
    home = home_with_model(tmp_path, python)
    import_model(write_tiny_adapter(home.spool / "style"), Registry(home.models), "style", tasks=("chat",), base="tiny")
    engines = start(home)
    engines.client.wait_ready(engines.client.load("tiny")["model"], 900)
    first = psutil.Process(engines.row("tiny")["pid"])
    processes = [first.pid, *(child.pid for child in first.children(recursive=True))]
    check_every_path_wants_its_key(engines, "tiny")
    assert len(processes) >= 3, "the keeper, the server, and what the server started"
    assert said_by(engines, "tiny") == said_by(engines, "tiny") != said_by(engines, "style")
    os.kill(engines.process.pid, signal.SIGKILL)
    engines.process.wait()
    until(lambda: not any(lives(pid) for pid in processes), 20)


def test_a_model_is_admitted_for_what_it_does_well_and_refused_what_it_does_not(
    cli: Cli, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "WORD", "paris")  # all that this model can say
    assert cli("model", "import", write_tiny_folder(tmp_path / "parrot", answer="Paris"), "--id", "parrot") == 0
    cli.home.settings_file.write_text(SETTINGS.format(python).replace("512", "2048"))
    with running_engines(cli.home):
        assert cli("model", "load", "parrot") == 0, "else each admission starts it anew"
        assert cli("model", "admit", "parrot", "--task", "chat") == 0, cli.err
        assert "it may do: chat\n" in cli.out, cli.out
        assert cli("model", "admit", "parrot", "--task", "repair") == 5
    card = Registry(cli.home.models).get("parrot")
    assert card.tasks == ("chat",) and card.score is not None
    assert (card.score.engine, card.score.context_tokens) == ("vllm", 2048)
    assert card.score.first_token_seconds and card.score.tokens_per_second and card.score.prompt_tokens_per_second
    seen = {check.name: check for check in card.score.checks}
    assert "usable form in 0 of 3" in seen["edit_format"].said, "the prompts fit and are answered"
    assert 0.8 * 2048 <= int(seen["context"].said.split()[3]) < 2048


def test_told_to_sleep_it_takes_no_calls_until_it_is_woken_and_the_other_doors_for_developers_stay_shut(
    python: Path, tmp_path: Path
) -> None:
    kind = WithDoorsForSleep(str(python), gpu=False)
    with served(home_with_model(tmp_path, python), settings_with(python), "tiny", kind) as engine:
        seat = engine.pool.seat("tiny")
        before = engine.post(CHAT, messages=HELLO, max_tokens=8, temperature=0)["choices"][0]["message"]
        kind.sleep(seat)
        with engine.talk() as http, ThreadPoolExecutor(1) as other:
            assert http.get("/is_sleeping").json() == {"is_sleeping": True} and kind.alive(seat)
            early = other.submit(engine.post, CHAT, messages=HELLO, max_tokens=8, temperature=0)
            with pytest.raises(TimeoutError):
                early.result(2)
            assert not kind.busy(seat), "asleep, it counts nobody who waits"
            kind.wake(seat)
            assert early.result(60)["choices"][0]["message"]["content"] is not None
            assert http.get("/is_sleeping").json() == {"is_sleeping": False}
            shut = ("/collective_rpc", "/reset_prefix_cache", "/pause", "/server_info", "/release_kv_cache_memory")
            assert [http.post(path, json={}).status_code for path in shut] == [404] * len(shut)
        kind.wake(seat)
        assert kind.answers(seat)
        assert engine.post(CHAT, messages=HELLO, max_tokens=8, temperature=0)["choices"][0]["message"] == before
