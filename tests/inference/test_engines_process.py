"""The engines process with real llama-servers: the default embedder and a small writer."""

from __future__ import annotations

import json
import math
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from appliance.config import Home
from appliance.engines_client import EnginesClient
from appliance.errors import LimitExceeded, NotFound, Unavailable, VerificationFailed
from models.importing import import_model
from models.minilm import ID, ensure_default, find_weights
from models.registry import Registry
from tests.inference.engines_process import Engines, lives, make_home, running_engines, start, until
from tests.inference.tiny_model import write_tiny_llama
from tests.models.gguf_files import METADATA, TENSORS, assemble, number
from tests.models.minilm_by_hand import MiniLM

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
DATA = Path(__file__).parents[1] / "models" / "data" / "minilm_reference.json"
HELLO = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with the default embedder, two writers, and a file that only looks like a model."""
    home = make_home(tmp_path_factory.mktemp("engines"))
    registry = Registry(home.models)
    ensure_default(registry, lambda line: None)
    import_model(write_tiny_llama(home.spool / "tiny.gguf"), registry, "tiny", aliases=("small",))
    import_model(write_tiny_llama(home.spool / "tiny2.gguf", seed=8), registry, "tiny2")
    (home.spool / "odd.gguf").write_bytes(assemble([*METADATA, number("llama.block_count", 2)], TENSORS, 128 + 160))
    import_model(home.spool / "odd.gguf", registry, "odd")
    return home


@pytest.fixture
def engines(stocked: Home) -> Iterator[Engines]:
    with running_engines(stocked) as made:
        yield made


def cosine(a: object, b: object) -> float:
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def test_vectors_are_those_of_the_published_model(engines: Engines) -> None:
    references = [r for r in json.loads(DATA.read_text(encoding="utf-8"))["references"] if "vector" in r]
    engines.ready(ID)
    served = engines.embed(ID, [reference["text"] for reference in references])
    assert [cosine(a, r["vector"]) > 0.9999 for a, r in zip(served, references, strict=True)] == [True] * 3
    assert all(math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-5) for vector in served)


def test_vectors_agree_with_a_model_computed_by_hand(engines: Engines) -> None:
    texts = [
        "x", "Traceback (most recent call last):\n  File \"a.py\", line 3, in <module>\nKeyError: 'price'",
        "naïve café, Ünïcödé & 日本語 — 100 %!", "def f(x):\n\treturn x[::-1] if x else None", "ALL CAPS, 3.14e-10",
        "the same word " * 60,
    ]  # fmt: skip
    by_hand = MiniLM(find_weights())
    engines.ready(ID)
    for text, served in zip(texts, engines.embed(ID, texts), strict=True):
        assert cosine(served, by_hand.vector(text)[0]) > 0.999, text


def test_a_chat_is_answered_whole_and_as_a_stream(engines: Engines) -> None:
    engines.ready("tiny")
    body = {"messages": HELLO, "max_tokens": 16, "temperature": 0, "seed": 1}
    with engines.talk("tiny") as http:
        whole = http.post("/v1/chat/completions", json=body).json()
        with http.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as response:
            lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert whole["usage"]["completion_tokens"] <= 16 and whole["choices"][0]["finish_reason"] in ("stop", "length")
    assert lines[-1] == "[DONE]"
    deltas = [json.loads(line)["choices"][0]["delta"] for line in lines[:-1] if json.loads(line)["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == whole["choices"][0]["message"]["content"]


def test_a_grammar_made_of_a_schema_is_obeyed(engines: Engines) -> None:
    engines.ready("tiny")
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {**schema, "additionalProperties": False}}}
    with engines.talk("tiny") as http:
        body = {"messages": HELLO, "max_tokens": 60, "response_format": wanted}
        answer = http.post("/v1/chat/completions", json=body).json()
    assert set(json.loads(answer["choices"][0]["message"]["content"])) == {"ok"}


def test_many_at_once_are_answered(engines: Engines) -> None:
    engines.ready("tiny")
    with engines.talk("tiny") as http, ThreadPoolExecutor(6) as pool:
        body = {"messages": HELLO, "max_tokens": 8, "ignore_eos": True}
        answers = list(pool.map(lambda n: http.post("/v1/chat/completions", json={**body, "seed": n}), range(12)))
    assert [answer.json()["usage"]["completion_tokens"] for answer in answers] == [8] * 12


def test_nobody_gets_in_without_the_key(engines: Engines) -> None:
    row = engines.ready(ID)
    for headers in ({}, {"Authorization": "Bearer guess"}):
        with httpx.Client(base_url=row["url"], headers=headers, trust_env=False) as http:
            assert http.post("/v1/embeddings", json={"input": "a"}).status_code == 401
    key_file = Path(row["api_key_file"])
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert key_file.read_text().strip() not in " ".join(psutil.Process(row["pid"]).cmdline())
    assert stat.S_IMODE((engines.home.run / "engines.sock").stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE((engines.home.run / "engines.json").stat().st_mode) == 0o600


def test_an_engine_listens_on_the_loopback_alone_and_sees_no_settings_of_ours(engines: Engines) -> None:
    process = psutil.Process(engines.ready(ID)["pid"])
    listening = [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert [address.ip for address in listening] == ["127.0.0.1"]
    assert set(process.environ()) == {"PATH", "LC_ALL", "HOME", "OMP_WAIT_POLICY"} and "--offline" in process.cmdline()


def test_threads_are_shared_out_anew_when_a_model_comes_or_goes(engines: Engines) -> None:
    alone = engines.ready("tiny")
    assert alone["threads"] == 2
    engines.ready(ID)
    shared = until(lambda: (row := engines.row("tiny"))["state"] == "ready" and row["threads"] == 1 and row)
    assert engines.row(ID)["threads"] == 1 and shared["pid"] != alone["pid"]
    cmdline = psutil.Process(shared["pid"]).cmdline()
    assert cmdline[cmdline.index("--threads") + 1] == "1"
    assert shared["restarts"] == 0, "that was no failure"


def test_a_killed_engine_comes_back_by_itself(engines: Engines) -> None:
    for n in range(3):
        pid = until(lambda n=n: engines.ready(ID)["restarts"] == n and engines.row(ID)["pid"])
        os.kill(pid, signal.SIGKILL)
        until(lambda n=n: engines.row(ID)["restarts"] == n + 1)
    engines.ready(ID)
    assert cosine(*engines.embed(ID, ["a cat sleeps", "a kitten naps"])) > 0.5


def test_the_end_of_the_engines_process_ends_the_engines_and_it_starts_anew(stocked: Home) -> None:
    first = start(stocked)
    pids = [first.ready(model)["pid"] for model in (ID, "tiny")]
    first.process.kill()
    first.process.wait()
    until(lambda: not any(map(lives, pids)))
    with pytest.raises(Unavailable, match="does not answer"):
        first.client.load(ID)
    with running_engines(stocked) as second:
        assert second.published() == []
        pids = [second.ready(ID)["pid"]]
        assert [row["model"] for row in second.published()] == [ID]
        assert second.end() == 0
    assert not lives(pids[0]) and not EnginesClient(stocked).healthy()
    assert [file.name for file in (stocked.run / "engines").iterdir()] == [] and second.published() == []
    assert "Traceback" not in (stocked.logs / "engines.log").read_text()


def test_what_is_unloaded_is_gone_and_can_come_again(engines: Engines) -> None:
    pid = engines.ready("small")["pid"]
    row = engines.client.unload("small")
    assert row["model"] == "tiny"
    until(lambda: engines.row("tiny") == {})
    assert not lives(pid) and engines.published() == []
    with pytest.raises(NotFound, match="not loaded"):
        engines.client.unload("tiny")
    engines.ready("tiny")
    engines.client.unload("tiny")
    assert engines.ready("tiny")["state"] == "ready", "asked for while it was on its way out"


def test_an_answer_in_flight_is_finished_when_its_model_is_unloaded(engines: Engines) -> None:
    engines.ready("tiny")
    body = {"prompt": "x", "max_tokens": 300, "ignore_eos": True, "stream": True}
    with engines.talk("tiny") as http, http.stream("POST", "/v1/completions", json=body) as response:
        lines = (line for line in response.iter_lines() if line.startswith("data: "))
        next(lines)
        engines.client.unload("tiny")
        until(lambda: engines.row("tiny")["state"] == "draining")
        assert list(lines)[-1] == "data: [DONE]"
    until(lambda: engines.row("tiny") == {})


def test_a_model_that_crashes_on_load_three_times_is_parked_with_the_engines_own_reason(stocked: Home) -> None:
    home = make_home(stocked.root, "[engines]\nthreads = 2\n")
    with running_engines(home) as engines:
        engines.client.load("odd")
        with pytest.raises(Unavailable, match=r"odd: .*ended with status 1.*3 times in a row") as caught:
            engines.client.wait_ready("odd", 60)
        assert "engine-odd.log" in caught.value.hint
        told = "key not found in model: llama.attention.layer_norm_rms_epsilon"
        assert told in caught.value.message, "what its log says"
        assert engines.client.load("odd")["state"] == "failed", "not tried again unasked"
        engines.client.load("odd", again=True)
        until(lambda: engines.row("odd")["restarts"] == 5)
        engines.ready(ID)
    make_home(stocked.root)


def test_weights_cut_short_are_refused_before_a_start(engines: Engines, tmp_path: Path) -> None:
    registry = Registry(engines.home.models)
    card = import_model(write_tiny_llama(tmp_path / "cut.gguf", seed=9), registry).card
    os.truncate(registry.path(card), card.size_bytes - 1000)
    with pytest.raises(VerificationFailed, match="cut short"):
        engines.client.load("cut")
    assert engines.row("cut") == {}
    registry.remove("cut")


def test_what_does_not_fit_into_memory_is_refused_with_the_sum(stocked: Home) -> None:
    home = make_home(stocked.root, "[engines]\ncontext_tokens = 4096\nslots = 1000000\n")
    with running_engines(home) as engines, pytest.raises(LimitExceeded, match="does not fit into memory: it needs"):
        engines.client.load("tiny2")
    make_home(stocked.root)


def test_preloaded_models_come_with_the_process_and_a_wrong_name_is_shown(stocked: Home) -> None:
    home = make_home(stocked.root, f'[engines]\npreload = ["{ID}", "all-minilm"]\n')
    with running_engines(home) as engines:
        assert engines.client.wait_ready(ID, 60)["state"] == "ready"
        refused = engines.row("all-minilm")
        assert refused["state"] == "failed" and f"did you mean {ID}" in refused["reason"]
    make_home(stocked.root)


def test_one_engines_process_a_home(engines: Engines) -> None:
    argv = [sys.executable, "-m", "appliance", "--home", str(engines.home.root), "serve", "engines"]
    second = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1 and "runs for" in second.stderr and "already" in second.stderr
    assert engines.client.healthy()


def test_a_home_deep_down_has_a_door_too(tmp_path: Path) -> None:
    home = make_home(tmp_path / ("deep" * 20) / ("down" * 20))
    with running_engines(home) as engines:
        assert len(str(home.run / "engines.sock")) > 108 and engines.client.engines() == []
        assert engines.end() == 0
