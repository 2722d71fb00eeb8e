"""Schemathesis against the gateway's own description: thousands of calls, right and wrong, and no failure of ours."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.test_heavy_clients import program, surroundings
from tests.inference.gateway_process import BIG, CODER, EMBEDDER, Gateway, card, make_home, publish, running_gateway
from tests.inference.mock_engine import mock_engine

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = 40
"""Calls made up for each operation and phase; the option `--examples` takes more."""
RANKER = "ranker"
pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    home = make_home(tmp_path / "home")
    (home.models / RANKER).mkdir()
    (home.models / RANKER / "card.json").write_text(card(RANKER, ("rerank",)).model_dump_json())
    home.routes_file.write_text(
        home.routes_file.read_text()
        + f'\n[[rule]]\nname = "ranks"\nwhen = {{ task = ["rerank"] }}\ncandidates = ["{RANKER}"]\n'
    )
    with mock_engine() as engine:
        publish(home, dict.fromkeys((EMBEDDER, CODER, BIG, RANKER), engine.url))
        with running_gateway(home) as running:
            yield running


def test_no_call_makes_the_gateway_fail_or_say_what_its_description_does_not(
    gateway: Gateway, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    examples: int = request.config.getoption("--examples", EXAMPLES)
    argv = [
        program("clients", "st"), "run", f"{gateway.url}/openapi.json", "-H", f"Authorization: Bearer {gateway.key}",
        "--checks", CHECKS, "--max-examples", str(examples), "--seed", "20", "--no-color", "--generation-deterministic",
    ]  # fmt: skip
    done = subprocess.run(argv, env=surroundings(gateway, tmp_path), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    cases = re.search(r"(\d+) generated", done.stdout)
    print(done.stdout[-1500:])  # with `-s`, for whoever wants the figures
    assert cases is not None and int(cases[1]) > 1000
    assert gateway.metric("appliance_gateway_in_flight") == 0
    assert "Traceback" not in (gateway.home.logs / "gateway.log").read_text()
