"""Clients that are too heavy for the development set, unmodified, each in a process of its own environment.

`make test-clients` makes the environments first; plain `make test` leaves this folder out.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installer.checkout import Checkout
from installer.environment import ready
from tests.inference.gateway_process import BIG, CODER, EMBEDDER, Gateway, make_home, publish, running_gateway
from tests.inference.mock_engine import MockEngine, answer, delta, mock_engine, say, talk, whole_answer

SCRIPTS = Path(__file__).parent / "scripts"
pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def engine() -> Iterator[MockEngine]:
    with mock_engine() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(engine: MockEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("gateway"))
    publish(home, {EMBEDDER: engine.url, CODER: engine.url, BIG: engine.url})
    with running_gateway(home) as running:
        yield running


def program(environment: str, name: str) -> str:
    folder = ready(Checkout.here(), environment)
    if folder is None:
        pytest.skip(f"`make test-clients` makes the environment {environment}")
    return str(folder / "bin" / name)


def surroundings(gateway: Gateway, tmp_path: Path, **more: str) -> dict[str, str]:
    """An environment in which the gateway is all there is: nothing of the machine's, no proxy, no telemetry."""
    return {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "NO_PROXY": "*", "DO_NOT_TRACK": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True", "GATEWAY_URL": gateway.url, "GATEWAY_KEY": gateway.key, **more,
    }  # fmt: skip


def run(argv: list[str], env: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def by_need(exchange: Any) -> None:
    """Talk; obey a schema when one is given; call the demanded tool, which the gateway asks for by a schema too."""
    wanted = exchange.body.get("response_format")
    if wanted is None:
        talk()(exchange)
    elif wanted["json_schema"]["name"] == "call":
        answer(whole_answer('{"name": "look", "arguments": {"at": "tree"}}'))(exchange)
    else:
        answer(whole_answer('{"total": 3}'))(exchange)


def test_litellm_sdk_speaks_with_every_door(gateway: Gateway, engine: MockEngine, tmp_path: Path) -> None:
    engine.will(by_need)
    argv = [program("clients", "python"), str(SCRIPTS / "litellm_client.py")]
    made = json.loads(run(argv, surroundings(gateway, tmp_path), tmp_path).splitlines()[-1])
    assert made == {
        "whole": "Hello there", "streamed": "Hello there", "tokens": 10, "called": "look", "vector": [4.0, 1.0, 0.5],
        "messages": "Hello there", "responded": "Hello there", "refused": True,
    }  # fmt: skip


def test_langchain_openai_chats_calls_and_embeds(gateway: Gateway, engine: MockEngine, tmp_path: Path) -> None:
    engine.will(by_need)
    argv = [program("clients", "python"), str(SCRIPTS / "langchain_client.py")]
    made = json.loads(run(argv, surroundings(gateway, tmp_path), tmp_path).splitlines()[-1])
    assert made == {
        "whole": "Hello there", "streamed": "Hello there", "tokens": 10, "called": {"at": "tree"}, "schema": 3,
        "responded": "Hello there", "responded_streamed": "Hello there", "vector": [4.0, 1.0, 0.5],
    }  # fmt: skip


def test_llm_prompts_from_the_command_line(gateway: Gateway, engine: MockEngine, tmp_path: Path) -> None:
    engine.will(talk())
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: box\n  model_name: coder\n  api_base: {gateway.url}/v1\n  api_key_name: box\n"
    )
    (tmp_path / "keys.json").write_text(json.dumps({"box": gateway.key}))
    env = surroundings(gateway, tmp_path, LLM_USER_PATH=str(tmp_path))
    for more in ([], ["--no-stream"]):
        assert run([program("clients", "llm"), "-m", "box", *more, "Hello?"], env, tmp_path).strip() == "Hello there"


EDIT = "I fix the sum.\n\nsums.py\n```python\ndef add(a, b):\n    return a + b\n```\n"


def test_aider_edits_a_repository(gateway: Gateway, engine: MockEngine, tmp_path: Path) -> None:
    engine.will(edit)
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "sums.py").write_text("def add(a, b):\n    return a - b\n")
    env = surroundings(
        gateway, tmp_path, OPENAI_API_BASE=f"{gateway.url}/v1", OPENAI_API_KEY=gateway.key,
        GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b", GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@b",
    )  # fmt: skip
    for argv in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "start"]):
        run(["git", *argv], env, repository)
    run(
        [
            program("aider", "aider"), "--model", "openai/coder", "--edit-format", "whole", "--yes-always",
            "--no-check-update", "--analytics-disable", "--no-show-model-warnings", "--no-pretty", "--map-tokens", "0",
            "--message", "add() subtracts; mend it", "sums.py",
        ],
        env, repository,
    )  # fmt: skip
    assert (repository / "sums.py").read_text() == "def add(a, b):\n    return a + b\n"
    assert len(run(["git", "log", "--oneline"], env, repository).splitlines()) >= 2


def edit(exchange: Any) -> None:
    """An answer in aider's format of whole files, streamed or not."""
    if exchange.body.get("stream"):
        say(delta(role="assistant"), *[delta(content=word) for word in EDIT.splitlines(True)], delta("stop"))(exchange)
    else:
        answer(whole_answer("mend the sum"))(exchange)
