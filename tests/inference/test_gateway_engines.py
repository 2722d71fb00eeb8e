"""Gateway, engines process and llama-server together: the real default embedder, and a small real writer."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from appliance.config import Home
from appliance.errors import NotFound
from appliance.gateway_client import GatewayModel
from inference import rules
from models.importing import import_model
from models.minilm import ensure_default
from models.registry import Registry
from tests.inference.gateway_process import Gateway, eventually, free_port, running_gateway, stop
from tests.inference.tiny_model import write_tiny_llama

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
HELLO = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = Home(tmp_path_factory.mktemp("box"))
    for folder in (home.root, *home.folders):
        folder.mkdir(exist_ok=True)
    registry = Registry(home.models)
    ensure_default(registry, lambda line: None)
    import_model(write_tiny_llama(home.root / "tiny.gguf"), registry, "tiny", tasks=("chat", "repair"))
    home.routes_file.write_text(rules.default_text())
    home.settings_file.write_text(
        f"[gateway]\nport = {free_port()}\nkeepalive_seconds = 1\n[engines]\ncontext_tokens = 1024\nthreads = 2\n"
    )
    with (home.logs / "engines.log").open("wb") as log:
        engines = subprocess.Popen(
            [sys.executable, "-m", "appliance", "--home", str(home.root), "serve", "engines"], stdout=log, stderr=log
        )
    try:
        with running_gateway(home) as running:
            yield running
    finally:
        stop(engines)


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as made:
        yield made


@pytest.fixture
def model(gateway: Gateway) -> Iterator[GatewayModel]:
    made = GatewayModel(gateway.url, gateway.key)
    yield made
    made.close()


def engine_pid(gateway: Gateway, model: str) -> int:
    rows = json.loads((gateway.home.run / "engines.json").read_text())
    return next((row["pid"] for row in rows if row["model"] == model and row["state"] == "ready"), 0) or 0


def test_meanings_are_near_and_long_code_is_no_failure(model: GatewayModel) -> None:
    code = "def apply(values):\n    return [value[0]['x'] @ ~y for value in values]\n" * 60
    cat, kitten, tax, empty, long, hexes = model.embed(
        ["a cat sleeps", "a kitten naps", "the tax office", "", code, "0x" + "a9f3" * 500]
    )
    assert sum(a * b for a, b in zip(cat, kitten, strict=True)) > 0.5
    assert sum(a * b for a, b in zip(cat, tax, strict=True)) < 0.3
    for vector in (cat, empty, long, hexes):
        assert len(vector) == 384 and math.isclose(math.hypot(*vector), 1.0, rel_tol=1e-6)


def test_openai_client_embeds_with_the_real_model(client: openai.OpenAI) -> None:
    made = client.embeddings.create(model="auto", input=["one", "two"])
    assert [len(row.embedding) for row in made.data] == [384, 384] and made.usage.prompt_tokens > 0


def test_openai_client_chats_and_streams_with_a_real_model(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="auto", messages=HELLO, max_tokens=12, seed=1)
    assert whole.model == "tiny" and whole.usage is not None and 0 < whole.usage.completion_tokens <= 12
    options = {"include_usage": True}
    with client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=12, stream=True, stream_options=options
    ) as stream:
        chunks = list(stream)
    assert chunks[-1].usage is not None and chunks[-1].choices == []
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] in ("stop", "length")
    assert client.completions.create(model="tiny", prompt="Say", max_tokens=4).choices[0].finish_reason


def test_trap_19_a_schema_is_obeyed(client: openai.OpenAI) -> None:
    schema = {
        "type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False,
    }  # fmt: skip
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    made = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=60, response_format=wanted)
    assert set(json.loads(made.choices[0].message.content or "")) == {"ok"}


def test_a_named_tool_is_called(client: openai.OpenAI) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    tools = [{"type": "function", "function": {"name": name, "parameters": parameters}} for name in ("first", "second")]
    made = client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=200, tools=tools,
        tool_choice={"type": "function", "function": {"name": "second"}},
    ).choices[0]  # fmt: skip
    assert made.message.tool_calls and made.message.tool_calls[0].function.name == "second"
    assert made.finish_reason == "tool_calls" and not made.message.content


def test_anthropic_client_streams_from_a_real_model_and_its_tokens_are_counted_truly(gateway: Gateway) -> None:
    long: Any = [{"role": "user", "content": "Hello? " * 20}]
    with anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as speaker:
        with speaker.messages.stream(model="tiny", max_tokens=12, system="Be kind.", messages=long) as stream:
            text = "".join(stream.text_stream)
            made = stream.get_final_message()
        counted = speaker.messages.count_tokens(model="tiny", system="Be kind.", messages=long)
    assert made.stop_reason in ("end_turn", "max_tokens") and text == "".join(block.text for block in made.content)
    assert made.usage.input_tokens + (made.usage.cache_read_input_tokens or 0) == counted.input_tokens


def test_openai_client_takes_two_steps_of_a_response_with_a_real_model(client: openai.OpenAI) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    tools: Any = [{"type": "function", "name": "look", "parameters": parameters, "strict": True}]
    asked: Any = {"model": "tiny", "tools": tools, "max_output_tokens": 200}
    choice: Any = {"type": "function", "name": "look"}
    with client.responses.stream(input="Hello?", tool_choice=choice, **asked) as stream:
        kinds = [event.type for event in stream]
        first = stream.get_final_response()
    assert kinds[-1] == "response.completed" and first.usage is not None and first.usage.output_tokens > 0
    (call,) = first.output
    assert call.type == "function_call" and set(json.loads(call.arguments)) == {"a"}
    result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "an owl"}]
    second = client.responses.create(input=result, previous_response_id=first.id, tool_choice="none", **asked)
    assert second.status in ("completed", "incomplete") and second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens // 2


def test_trap_11_a_prompt_too_long_for_the_engine_is_400(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x1 " * 3000}])
    assert caught.value.code == "context_length_exceeded"


def test_the_lines_client_chats_and_asks_for_routes(model: GatewayModel, gateway: Gateway) -> None:
    made = model.chat(HELLO, task="repair", max_tokens=8, seed=3)
    card = Registry(gateway.home.models).get("tiny")
    assert (made.model, made.digest) == ("tiny", card.digest)
    assert model.route(task="repair", language="python").candidates == ("search", "tiny")
    with pytest.raises(NotFound):
        model.route(task="review")


def test_a_killed_engine_under_load_hangs_nobody_and_comes_back(model: GatewayModel, gateway: Gateway) -> None:
    model.embed(["warm"])
    stopped = threading.Event()
    done: list[int] = []

    def use() -> None:
        while not stopped.is_set():
            done.append(len(model.embed(["a", "b", "c"])))

    with ThreadPoolExecutor(4) as pool:
        pending = [pool.submit(use) for _ in range(4)]
        for _ in range(3):
            assert eventually(lambda: engine_pid(gateway, "all-minilm-l6-v2"), 30)
            time.sleep(0.3)
            os.kill(engine_pid(gateway, "all-minilm-l6-v2"), signal.SIGKILL)
            before = len(done)
            assert eventually(lambda before=before: len(done) > before + 8, 60)
        stopped.set()
        for one in pending:
            one.result(timeout=60)
    assert set(done) == {3}


def test_an_engine_killed_in_mid_stream_ends_the_stream_with_an_error(gateway: Gateway) -> None:
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 900, "stream": True, "ignore_eos": True}
    with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = response.iter_lines()
        assert next(line for line in lines if line.startswith("data:"))
        os.kill(engine_pid(gateway, "tiny"), signal.SIGKILL)
        last = [line for line in lines if line][-1]
    assert '"code":"engine_lost"' in last


def test_trap_8_a_client_that_leaves_frees_the_slot_of_the_engine(gateway: Gateway) -> None:
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 900, "stream": True, "ignore_eos": True}
    for _ in range(8):  # twice the slots: those who left must not be in the way
        with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
            assert next(line for line in response.iter_lines() if line.startswith("data:"))
    assert eventually(lambda: gateway.metric("appliance_gateway_in_flight") == 0)
    began = time.monotonic()
    made = gateway.http.post("/v1/chat/completions", json={"model": "tiny", "messages": HELLO, "max_tokens": 2})
    assert made.status_code == 200 and time.monotonic() - began < 20


def test_no_prompt_is_kept_anywhere_in_the_home(gateway: Gateway) -> None:
    secret = "zebra-crossing-at-midnight"
    gateway.http.post(
        "/v1/chat/completions",
        json={"model": "tiny", "messages": [{"role": "user", "content": secret}], "max_tokens": 2},
    )
    kept = [file for file in kept_files(gateway.home.root) if secret.encode() in file.read_bytes()]
    assert kept == []


def kept_files(root: Path) -> list[Path]:
    return [file for file in root.rglob("*") if file.is_file() and file.suffix != ".gguf"]
