"""An engine behind TLS: hanging up on it is heard by the gateway's own reader too."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.other_box import certificate
from tests.contracts.tls_front import TlsFront
from tests.inference.gateway_process import CODER, Gateway, eventually, make_home, publish, running_gateway
from tests.inference.mock_engine import MockEngine, prefill_for_ever, talk, talk_for_ever

BODY = {"model": CODER, "messages": [{"role": "user", "content": "Hello?"}]}


@pytest.fixture(scope="module")
def gateway(engine: MockEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("tls")
    home = make_home(folder / "home")
    settings = home.settings_file.read_text().replace("request_timeout_seconds = 20", "request_timeout_seconds = 1")
    home.settings_file.write_text(settings)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(folder, folder / "ca.pem"))
    front = TlsFront(context, int(engine.url.rsplit(":", 1)[1]))
    publish(home, {CODER: f"https://127.0.0.1:{front.port}"})
    rows = json.loads((home.run / "engines.json").read_text())
    rows[0]["ca_file"] = str(folder / "ca.pem")
    (home.run / "engines.json").write_text(json.dumps(rows))
    with running_gateway(home) as running:
        yield running
    front.close()


def test_a_stream_that_takes_too_long_ends_with_an_error_and_not_in_silence(
    gateway: Gateway, engine: MockEngine
) -> None:
    engine.will(talk())
    assert gateway.http.post("/v1/chat/completions", json=BODY).status_code == 200
    engine.will(talk_for_ever)
    said = gateway.http.post("/v1/chat/completions", json={**BODY, "stream": True}).text
    assert '"code":"timeout"' in said.split("\n\n")[-2]
    assert engine.left.wait(10) and "Traceback" not in (gateway.home.logs / "gateway.log").read_text()


def test_a_whole_answer_that_takes_too_long_is_504(gateway: Gateway, engine: MockEngine) -> None:
    engine.will(prefill_for_ever)
    assert gateway.http.post("/v1/chat/completions", json=BODY).status_code == 504
    assert engine.left.wait(10) and eventually(lambda: gateway.metric("appliance_gateway_in_flight") == 0)
