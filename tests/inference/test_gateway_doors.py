"""The gateway's doors: TLS for clients at its port, and a socket in the home for processes of the box itself."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from appliance.certificates.keeping import Keeping
from appliance.cli.processes import answers
from appliance.config import Home
from appliance.errors import ConfigError
from appliance.gateway_client import GatewayModel
from appliance.settings import CertificateSettings, GatewaySettings, Settings
from appliance.work import utcnow
from inference.gateway import serve
from inference.keys import KeyStore
from tests.inference.gateway_process import CODER, EMBEDDER, Gateway, eventually, make_home, publish, start, stop
from tests.inference.mock_engine import MockEngine, delta, say, talk, talk_for_ever

pytestmark = pytest.mark.integration
HELLO: Any = [{"role": "user", "content": "Hello?"}]
NAME = "factory.example"


@dataclass
class Secure:
    """A gateway that speaks TLS, and who trusts it."""

    gateway: Gateway
    kept: Keeping
    trusting: ssl.SSLContext

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.gateway.port), timeout=20)

    def greet(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        trusting = context or self.trusting
        return trusting.wrap_socket(self.connect(), server_hostname=NAME, suppress_ragged_eofs=False)

    def shown(self) -> bytes:
        """The certificate that a new connection is shown."""
        with self.greet() as sock:
            return sock.getpeercert(binary_form=True) or b""


@pytest.fixture(scope="module")
def process(engine: MockEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    home = make_home(tmp_path_factory.mktemp("doors") / ("a" * 30) / ("b" * 60))  # too long for a socket's name
    home.settings_file.write_text(home.settings_file.read_text().replace("[gateway]\n", "[gateway]\ntls = true\n"))
    kept = Keeping(home, CertificateSettings())
    kept.create([NAME], utcnow())
    publish(home, {CODER: engine.url, EMBEDDER: engine.url})
    port = int(home.settings_file.read_text().split("port = ")[1].split()[0])
    trusting = ssl.create_default_context(cadata=kept.root().decode())
    key = KeyStore(home.secrets / "keys.json").ensure("line")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(
        base_url=f"https://127.0.0.1:{port}", headers=headers, verify=trusting, timeout=20, trust_env=False
    ) as client:
        made = Secure(Gateway(home, port, key, start(home), client), kept, trusting)
        try:
            assert eventually(lambda: answers("127.0.0.1", port, tls=True), 30), log(made)
            yield made
        finally:
            stop(made.gateway.process)


def log(secure: Secure) -> str:
    return (secure.gateway.home.logs / "gateway.log").read_text()


@pytest.fixture
def secure(process: Secure, engine: MockEngine) -> Secure:
    engine.will(talk())
    return process


@pytest.fixture
def speaker(secure: Secure) -> Iterator[openai.OpenAI]:
    """The client as people install it."""
    where = f"https://127.0.0.1:{secure.gateway.port}/v1"
    http = openai.DefaultHttpxClient(verify=secure.trusting, trust_env=False)
    with openai.OpenAI(base_url=where, api_key=secure.gateway.key, max_retries=0, http_client=http) as made:
        yield made


def test_an_unmodified_client_is_answered_whole_and_streamed(speaker: openai.OpenAI) -> None:
    whole = speaker.chat.completions.create(model=CODER, messages=HELLO)
    streamed = speaker.chat.completions.create(model=CODER, messages=HELLO, stream=True)
    pieces = [chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices]
    assert whole.choices[0].message.content and "".join(pieces).strip() and len(pieces) > 1


@pytest.mark.parametrize(
    ("version", "taken"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated")
def test_tls_begins_with_1_2(secure: Secure, version: ssl.TLSVersion, taken: bool) -> None:
    asking = ssl.create_default_context(cadata=secure.kept.root().decode())
    asking.set_ciphers("ALL:@SECLEVEL=0")
    asking.minimum_version = asking.maximum_version = version
    if taken:
        with secure.greet(asking) as sock:
            assert sock.version() == version.name.replace("v1_", "v1.")
            cipher = sock.cipher()
            assert cipher and ("GCM" in cipher[0] or "CHACHA20" in cipher[0])
    else:
        with pytest.raises(ssl.SSLError):
            secure.greet(asking)


def test_a_client_that_does_not_trust_the_root_goes_away_and_nobody_else_notices(secure: Secure) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        secure.greet(ssl.create_default_context())
    assert secure.gateway.http.get("/healthz").status_code == 200


def test_plain_http_is_told_in_words_to_ask_for_https(secure: Secure) -> None:
    told = httpx.get(f"http://127.0.0.1:{secure.gateway.port}/v1/models", trust_env=False)
    assert told.status_code == 400 and told.json()["error"]["code"] == "not_encrypted"
    assert not answers("127.0.0.1", secure.gateway.port)


def test_two_hundred_that_say_nothing_hold_up_nobody(secure: Secure) -> None:
    out = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        secure.trusting.wrap_bio(ssl.MemoryBIO(), out, server_hostname=NAME).do_handshake()
    half = out.read()[:100]
    with ExitStack() as stack:
        for number in range(200):
            sock = stack.enter_context(secure.connect())
            if number % 2:
                sock.sendall(half)
        assert answers("127.0.0.1", secure.gateway.port, tls=True), "within its two seconds"


def test_who_hangs_up_before_or_in_the_handshake_leaves_no_traceback(secure: Secure) -> None:
    hard = struct.pack("ii", 1, 0)  # the other side hears a reset
    for words in (b"", b"\x16\x03\x01", b"\x16\x03\x01\xff\xff", b"\0" * 600):
        for linger in (False, True):
            with secure.connect() as sock:
                if linger:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hard)
                sock.sendall(words)
    assert answers("127.0.0.1", secure.gateway.port, tls=True)
    assert not eventually(lambda: "Traceback" in log(secure), 0.5)


def test_a_renewed_certificate_is_shown_at_once_and_cuts_off_no_stream(secure: Secure, engine: MockEngine) -> None:
    before = secure.shown()
    words = [delta(content=f"word{number} ") for number in range(30)]
    engine.will(say(delta(role="assistant"), *words, delta("stop"), pause=0.03))
    body = {"model": CODER, "messages": HELLO, "stream": True}
    with secure.gateway.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        told = [next(line for line in lines if "word0" in line)]
        secure.kept.renew(utcnow())
        after = secure.shown()
        told += lines
    assert before != after and "word29" in "".join(told) and "data: [DONE]" in told
    file = secure.gateway.home.certificate
    good = file.read_bytes()
    file.write_bytes(good[: len(good) // 2])
    assert secure.shown() == after and "the certificate from before goes on" in log(secure)
    file.write_bytes(good)
    assert secure.shown() == after


def test_a_client_that_leaves_ends_its_call_at_the_engine(secure: Secure, engine: MockEngine) -> None:
    engine.will(talk_for_ever)
    body = {"model": CODER, "messages": HELLO, "stream": True}
    with secure.gateway.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_lines())
    assert engine.left.wait(10)


def test_the_end_of_a_connection_is_said_so_that_nothing_can_be_cut_off(secure: Secure) -> None:
    with secure.greet() as sock:
        sock.sendall(f"GET /healthz HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        words = b""
        while piece := sock.recv(4096):  # an end without TLS's word for it is an error
            words += piece
    assert words.startswith(b"HTTP/1.1 200 ")


def test_the_line_asks_by_the_socket_in_the_home_whatever_the_certificate_is(secure: Secure) -> None:
    home = secure.gateway.home
    assert home.gateway_socket.stat().st_mode & 0o777 == 0o600
    line = GatewayModel.of_the_line(home, patience_seconds=0)
    spoken: list[str] = []
    try:
        askers = [threading.Thread(target=lambda: spoken.append(ask(line))) for _ in range(8)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(20)
        assert len(spoken) == 8 and all(spoken)
    finally:
        line.close()


def ask(line: GatewayModel) -> str:
    return line.chat(HELLO, task="chat", model=CODER).text


def test_without_a_certificate_it_says_what_to_do_and_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no certificate at ") as said:
        serve(Home(tmp_path), Settings(gateway=GatewaySettings(tls=True)))
    assert "appliance certificate create" in said.value.hint
