"""A model on another machine, behind the gateway: added by a person, asked by a client, gone and back again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from appliance.config import Home
from models.registry import Registry
from tests.contracts.other_box import NAME, OtherBox
from tests.inference.engines_process import Engines, make_home, running_engines, until
from tests.inference.gateway_process import Gateway, free_port, running_gateway

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
HELLO = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherBox]:
    made = OtherBox(tmp_path_factory.mktemp("other"))
    made.start()
    yield made
    made.stop()
    made.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    door = f"[gateway]\nport = {free_port()}\nqueue_seconds = 4\nretries = 0\n"
    made = make_home(tmp_path_factory.mktemp("box"), door + "[engines]\nthreads = 2\ncontext_tokens = 512\n")
    made.routes_file.write_text('[[rule]]\nname = "talk"\nwhen = { task = ["chat"] }\ncandidates = ["far"]\n')
    return made


def appliance(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "appliance", "--home", str(home.root), "--json", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def added(home: Home, other: OtherBox) -> dict[str, object]:
    done = appliance(
        home, "model", "remote", "far", "--url", other.url + "/v1/", "--ca", str(other.ca),
        "--key-file", str(other.key_file), "--task", "chat",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    card: dict[str, object] = json.loads(done.stdout)
    return card


@pytest.fixture(scope="module")
def engines(home: Home, added: object) -> Iterator[Engines]:
    with running_engines(home) as made:
        yield made


@pytest.fixture(scope="module")
def gateway(home: Home, engines: Engines) -> Iterator[Gateway]:
    with running_gateway(home) as made:
        yield made


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=gateway.key, max_retries=0, timeout=60) as made:
        yield made


def test_the_server_tells_the_name_and_the_context_of_its_only_model(
    added: dict[str, object], other: OtherBox, home: Home
) -> None:
    assert added["remote"] == {
        "url": other.url, "name": NAME, "ca_file": str(other.ca), "key_file": str(other.key_file)
    }  # fmt: skip
    assert added["context_tokens"] == 2048 and added["tasks"] == ["chat"] and added["format"] == "remote"
    assert Registry(home.models).verify("far").size_bytes == 0


def test_a_server_that_cannot_be_trusted_or_is_not_there_is_named_with_the_reason(
    home: Home, other: OtherBox, tmp_path: Path
) -> None:
    where = ("model", "remote", "x", "--url")
    untrusted = appliance(home, *where, other.url)
    assert untrusted.returncode == 2 and "certificate" in untrusted.stderr
    refused = appliance(home, *where, other.url, "--ca", str(other.ca))
    assert refused.returncode == 2 and "refuses the key" in refused.stderr
    away = appliance(home, *where, f"http://127.0.0.1:{free_port()}")
    assert away.returncode == 2 and "nothing listens there" in away.stderr and "--name" in away.stderr
    assert appliance(home, *where, "ftp://host").returncode == 2
    assert [card.id for card in Registry(home.models).list()] == ["far"]


def test_clients_meet_it_by_the_boxs_name_whole_and_as_a_stream(client: openai.OpenAI, gateway: Gateway) -> None:
    asked = {"model": "far", "messages": HELLO, "max_tokens": 12, "temperature": 0.0, "seed": 1}
    whole = client.chat.completions.create(**asked)  # type: ignore[call-overload]
    chunks = list(client.chat.completions.create(**asked, stream=True))  # type: ignore[call-overload]
    assert whole.model == "far" and {chunk.model for chunk in chunks} == {"far"}
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    counted = gateway.http.post("/v1/messages/count_tokens", json={"model": "far", "messages": HELLO})
    assert counted.json()["input_tokens"] == whole.usage.prompt_tokens, "counted by the server itself"


def test_it_takes_no_threads_and_no_memory_of_the_box(engines: Engines) -> None:
    row = engines.ready("far")
    assert (row["engine"], row["pid"], row["threads"], row["ram_bytes"]) == ("remote", None, 0, 0)
    assert row["context_tokens"] == 2048, "what the server gives, not what engines here are started with"


def test_away_it_is_failed_with_the_reason_and_back_it_answers_again(
    client: openai.OpenAI, engines: Engines, other: OtherBox
) -> None:
    other.stop()
    failed = until(lambda: (row := engines.row("far"))["state"] == "failed" and row, 30)
    assert failed["reason"].startswith("answers no longer: ") and other.url in failed["reason"]
    with pytest.raises(openai.InternalServerError) as refusal:
        client.chat.completions.create(model="far", messages=HELLO, max_tokens=4)  # type: ignore[arg-type]
    assert refusal.value.status_code == 503 and "far" in str(refusal.value)
    other.start()
    until(lambda: engines.row("far")["state"] == "ready", 60)
    answer = client.chat.completions.create(model="far", messages=HELLO, max_tokens=4)  # type: ignore[arg-type]
    assert answer.usage is not None and answer.usage.completion_tokens >= 1
