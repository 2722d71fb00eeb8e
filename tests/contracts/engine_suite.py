"""What every kind of engine owes the gateway and the supervisor. A new kind passes these tests, unchanged.

A module of tests subclasses `EngineContract` and gives the fixture `engine`: a model that chats, served and ready.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from inference.engines.asking import trusting
from inference.engines.engine import Engine
from tests.contracts.engines import Served
from tests.inference.engines_process import lives, until

HELLO = [{"role": "user", "content": "Hello?"}]
CHAT = "/v1/chat/completions"
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


class EngineContract:
    """The tests; the last ones end the engine and bring it back."""

    def test_its_row_says_what_it_is_and_where(self, engine: Served) -> None:
        row = engine.row
        assert row["state"] == "ready" and row["reason"] == "" and row["engine"] in ("llama.cpp", "vllm", "remote")
        assert row["url"].startswith(("http://127.0.0.1:", "https://")) and not row["url"].endswith(("/", "/v1"))
        assert bool(row["pid"]) == engine.process and bool(row["threads"]) == engine.process

    def test_it_was_ready_only_after_a_real_token(self, engine: Served) -> None:
        assert "starting" in engine.seen and "failed" not in engine.seen
        assert engine.post(CHAT, messages=HELLO, max_tokens=1)["usage"]["completion_tokens"] == 1

    def test_nobody_gets_in_without_its_key(self, engine: Served) -> None:
        for headers in ({}, {"Authorization": "Bearer guess"}):
            row = engine.row
            trust = trusting(row["ca_file"])
            with httpx.Client(base_url=row["url"], headers=headers, trust_env=False, verify=trust) as http:
                assert http.post(CHAT, json={"model": row["served_as"], "messages": HELLO}).status_code == 401
        for pid in engine.processes():
            key = Path(row["api_key_file"]).read_text().strip()
            assert key not in " ".join(psutil.Process(pid).cmdline()), "other users of the machine could read it"

    def test_it_lists_the_model_by_the_name_it_is_asked_for(self, engine: Served) -> None:
        with engine.talk() as http:
            listed = [model["id"] for model in http.get("/v1/models").json()["data"]]
        assert engine.row["served_as"] in listed

    def test_a_chat_is_answered_the_same_whole_and_as_a_stream(self, engine: Served) -> None:
        asked = {"messages": HELLO, "max_tokens": 12, "temperature": 0, "seed": 1}
        whole = engine.post(CHAT, **asked)
        events = engine.stream(CHAT, **asked, stream_options={"include_usage": True})
        said = "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])
        assert said == whole["choices"][0]["message"]["content"]
        assert whole["choices"][0]["finish_reason"] in ("stop", "length")
        assert events[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] <= 12

    def test_a_text_is_completed(self, engine: Served) -> None:
        answer = engine.post("/v1/completions", prompt="once", max_tokens=4, temperature=0)
        assert isinstance(answer["choices"][0]["text"], str) and answer["usage"]["prompt_tokens"] >= 1

    def test_a_schema_is_obeyed(self, engine: Served) -> None:
        # The gateway makes calls of tools out of this too: no engine holds to `tool_choice` in every case.
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
        answer = engine.post(CHAT, messages=HELLO, max_tokens=80, response_format=wanted)
        assert set(json.loads(answer["choices"][0]["message"]["content"])) == {"ok"}

    def test_it_tells_how_likely_its_words_were(self, engine: Served) -> None:
        answer = engine.post(CHAT, messages=HELLO, max_tokens=3, logprobs=True, top_logprobs=2)
        told = answer["choices"][0]["logprobs"]["content"]
        assert 1 <= len(told) <= 3 and all(t["logprob"] <= 0.0001 and len(t["top_logprobs"]) >= 1 for t in told)
        assert all(math.isfinite(t["logprob"]) for t in told)

    def test_a_prompt_that_is_too_long_is_the_clients_mistake(self, engine: Served) -> None:
        long = [{"role": "user", "content": "word " * 4000}]
        with engine.talk() as http:
            answer = http.post(CHAT, json={"model": engine.row["served_as"], "messages": long, "max_tokens": 4})
        assert answer.status_code == 400 and "context" in answer.text

    def test_many_at_once_are_answered(self, engine: Served) -> None:
        asked = {"messages": HELLO, "max_tokens": 6, "ignore_eos": True}
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda n: engine.post(CHAT, **asked, seed=n), range(8)))
        assert [answer["usage"]["completion_tokens"] for answer in answers] == [6] * 8

    def test_a_hung_up_stream_ends_its_work(self, engine: Served, kind: Engine) -> None:
        seat = engine.pool.seat(engine.model)
        asked = {"model": engine.row["served_as"], "messages": HELLO, "max_tokens": 400, "stream": True}
        with engine.talk() as http, http.stream("POST", CHAT, json={**asked, "ignore_eos": True}) as response:
            next(response.iter_lines())
            if engine.process:
                until(lambda: kind.busy(seat))
        until(lambda: not kind.busy(seat), 20)

    def test_it_is_alive_and_answers_its_probe(self, engine: Served, kind: Engine) -> None:
        seat = engine.pool.seat(engine.model)
        assert kind.alive(seat) and kind.answers(seat)

    def test_a_crash_is_told_and_it_comes_back_by_itself(self, engine: Served) -> None:
        before, old = engine.row, engine.processes()
        engine.crash()
        failed = engine.becomes("failed", "starting", seconds=60)
        assert "killed by SIGKILL" in failed["reason"] if engine.process else "answers no longer" in failed["reason"]
        until(lambda: not any(lives(pid) for pid in old))
        if engine.bring_back:
            engine.bring_back()
        after = engine.becomes("ready")
        assert after["restarts"] == before["restarts"] + 1 or not engine.process
        assert engine.post(CHAT, messages=HELLO, max_tokens=1)["usage"]["completion_tokens"] == 1

    def test_unloaded_it_leaves_nothing_behind(self, engine: Served) -> None:
        key_file, old = engine.row["api_key_file"], engine.processes()
        engine.pool.unload(engine.model)
        until(lambda: not engine.row, 60)
        assert not any(lives(pid) for pid in old)
        assert not Path(key_file).exists()
