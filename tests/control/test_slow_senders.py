"""Whoever sends slowly, or nothing, holds up nobody else."""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from click.testing import CliRunner

from appliance.cli.main import root
from appliance.config import Home
from appliance.intake import hook_secrets
from appliance.intake.hook_secrets import HookSecrets
from control.gathering import WAITING
from tests.control.real_console import served
from tests.control.world import Console, fill
from tests.intake.senders import SECRET, SENDERS

pytestmark = pytest.mark.integration

BODY = b'{"action": "opened"}'
HEAD = b"POST /hooks/gitea/shop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SLOW = 64
"""Four times as many as the console has threads."""


NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Console, int]]:
    """One console for all, with its port: what one test leaves behind, the next must bear."""
    home = Home(tmp_path_factory.mktemp("slow") / "home")
    for folder in (home.root, *home.folders):
        folder.mkdir()
    console = Console(home)
    fill(console.ledger)
    hook_secrets.save(home, "shop", HookSecrets(current=SECRET))
    with served(home) as (_, port):
        yield console, port
    console.ledger.close()


@pytest.fixture
def port(shared: tuple[Console, int]) -> int:
    return shared[1]


@contextmanager
def senders(port: int, count: int, words: bytes) -> Iterator[list[socket.socket]]:
    """Connections that said so much and no more."""
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            sock.sendall(words)
            made.append(sock)
        yield made


def heard(sock: socket.socket, answers: int) -> int:
    """How many answers come, up to so many."""
    words = b""
    while words.count(b"HTTP/1.1 200 ") < answers and (piece := sock.recv(65_536)):
        words += piece
    return words.count(b"HTTP/1.1 200 ")


def is_answered(port: int) -> None:
    """A page, and a genuine webhook, over new connections."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        assert client.get("/sign-in").status_code == 200
        headers = {**SENDERS["gitea"]("issues", BODY), "X-Gitea-Delivery": f"d-{next(NUMBERS)}"}
        headers["Content-Type"] = "application/json"
        assert client.post("/hooks/gitea/shop", content=BODY, headers=headers).status_code == 202
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "words",
    [b"", HEAD[:30], HEAD + b"Content-Length: 500\r\n\r\nxx", HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nx"],
    ids=["silent", "head", "body", "chunk"],
)  # fmt: skip
def test_pages_and_webhooks_are_answered_beside_64_senders_that_drip(port: int, words: bytes) -> None:
    with senders(port, SLOW, words) as slow:
        for _ in range(5):
            is_answered(port)
            for sock in slow if words else ():
                sock.sendall(b"x")  # it drips on
        is_answered(port)


def test_callers_that_do_not_hang_up_after_their_answer_hold_up_nobody(port: int) -> None:
    with senders(port, SLOW, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") as lingering:
        is_answered(port)
        assert all(sock.recv(15).startswith(b"HTTP/1.1 200") for sock in lingering)


def test_who_drips_its_head_is_told_so_after_ten_seconds_and_counted(shared: tuple[Console, int]) -> None:
    console, port = shared
    with senders(port, 2, HEAD[:20]) as slow:
        ends = time.monotonic() + 120
        for sock in slow:
            sock.settimeout(0.5)
        told: list[bytes] = []
        while len(told) < len(slow) and time.monotonic() < ends:
            for sock in slow:
                try:
                    sock.sendall(b"x")
                    told += [heard] if (heard := sock.recv(4096)) else []
                except TimeoutError:
                    continue
        assert len(told) == 2 and all(one.startswith(b"HTTP/1.1 408 ") for one in told)
    headers = {"Authorization": f"Bearer {console.token}"}
    counts = httpx.get(f"http://127.0.0.1:{port}/api/v1/deliveries", headers=headers).json()["turned_away"]["counts"]
    assert ("(unknown)", "too_slow", 2) in [(one["repo"], one["reason"], one["count"]) for one in counts]
    while '"too_slow"' not in (console.home.run / "turned-away.json").read_text():
        assert time.monotonic() < ends, "others are told within a second or so"
        time.sleep(0.1)
    words = CliRunner().invoke(root, ["--home", str(console.home.root), "signal", "deliveries"]).stdout
    assert "2 for (unknown): too slow" in words
    narrowed = ["--home", str(console.home.root), "--json", "signal", "deliveries", "--repo", "shop"]
    of_shop = json.loads(CliRunner().invoke(root, narrowed).stdout)["turned_away"]["counts"]
    assert all(one["repo"] == "shop" for one in of_shop)


def test_more_silent_connections_than_there_is_room_for_make_room_for_others(port: int) -> None:
    with senders(port, WAITING + 40, b"P"):
        is_answered(port)


def test_requests_that_come_at_once_on_one_connection_are_answered_in_turn(port: int) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with senders(port, 1, one * 3 + one[:20]) as (sock,):
        assert heard(sock, 3) == 3
        sock.sendall(one[20:])
        assert heard(sock, 1) == 1


def test_a_sender_that_waits_to_be_told_to_go_on_is_told_once(port: int) -> None:
    head = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n" % len(BODY)
    for name, value in SENDERS["gitea"]("issues", BODY).items():
        head += f"{name}: {value}\r\n".encode()
    with senders(port, 1, head + b"\r\n") as (sock,):
        assert sock.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(BODY)
        assert sock.recv(4096).startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize("framing", [b"Content-Length: %d" % (50 << 20), b"Transfer-Encoding: chunked"])
def test_50_mb_are_refused_long_before_they_are_here_and_hold_up_nobody(port: int, framing: bytes) -> None:
    piece = b"x" * (1 << 20)
    if framing.endswith(b"chunked"):
        piece = b"%x\r\n%s\r\n" % (len(piece), piece)
    with senders(port, 8, HEAD + framing + b"\r\n\r\n") as large:
        for sock in large:
            with pytest.raises(ConnectionError):
                for _ in range(50):
                    sock.sendall(piece)
            is_answered(port)


def test_a_body_that_is_refused_unread_is_not_taken_for_the_next_request(port: int) -> None:
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    large = HEAD + b"Content-Length: 99999999\r\n\r\n" + smuggled
    with senders(port, 1, large) as (sock,):
        answer = sock.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 413 ") and b"connection: close" in answer.lower()
        assert b" 200 " not in answer + sock.recv(65_536)
