"""The live stream: in order, resumed by id, never holding the server up."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys

import pytest

from appliance.config import Home, render
from appliance.errors import Unavailable
from appliance.ledger import open_ledger
from appliance.settings import Settings
from control.access import ensure_token
from control.live import Places, has_left, stream
from tests.control.real_console import get, served
from tests.control.world import Console, Site, fill, open_one


def ids(frames: list[str]) -> list[int]:
    return [int(line[4:]) for frame in frames for line in frame.splitlines() if line.startswith("id: ")]


def taken(console: Console, after: int, looks: int = 2) -> list[str]:
    """What a stream says until the server has been asked to stop after some looks."""
    asked = iter([False] * looks)
    return list(stream(console.ledger, after, lambda: next(asked, True), lambda: False, pause=0.0))


def test_a_stream_resumes_after_the_number_it_is_given_and_skips_nothing(console: Console, site: Site) -> None:
    tip = console.ledger.tip()[0]
    assert ids(taken(console, 0)) == list(range(1, tip + 1))
    assert ids(taken(console, 4)) == list(range(5, tip + 1))
    assert ids(taken(console, tip)) == []


def test_more_events_than_one_read_holds_all_come(console: Console, site: Site) -> None:
    for number in range(120):
        open_one(console.ledger, f"item {number}")
    tip = console.ledger.tip()[0]
    assert tip > 200 and ids(taken(console, 0, looks=4)) == list(range(1, tip + 1))


def test_words_in_an_event_cannot_end_its_frame(console: Console) -> None:
    fill(console.ledger, "a\n\nid: 999\nevent: fact\ndata: {}\n\n")
    frames = taken(console, 0)
    assert ids(frames) == list(range(1, console.ledger.tip()[0] + 1))
    for frame in frames[1:]:
        assert json.loads(frame.split("data: ", 1)[1])["seq"]


def test_a_browser_that_left_ends_its_stream() -> None:
    ours, theirs = socket.socketpair()
    assert not has_left(ours)
    theirs.close()
    assert has_left(ours)
    ours.close()
    assert has_left(ours) and not has_left(None)


def test_the_number_of_streams_is_capped_and_a_place_comes_back() -> None:
    places = Places(1)
    places.take()
    with pytest.raises(Unavailable, match="too many live pages"):
        places.take()
    places.give_back()
    places.take()


def test_a_stream_that_ends_gives_its_place_back(console: Console, site: Site) -> None:
    for _ in range(20):  # more than there are places
        answer = console.program("GET", "/events", headers={"Last-Event-ID": "0"})
        assert answer.status_code == 200 and answer.mimetype == "text/event-stream"
        assert answer.headers["X-Accel-Buffering"] == "no"
        next(iter(answer.response))
        answer.close()


def facts(response: http.client.HTTPResponse, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        line = response.readline().decode()
        if line.startswith("id: "):
            found.append(int(line[4:]))
    return found


def test_a_stream_that_never_begins_gives_its_place_back(console: Console, site: Site) -> None:
    for _ in range(20):  # more than there are places; the browser left before the first event was asked for
        answer = console.program("GET", "/events", headers={"Last-Event-ID": "0"})
        assert answer.status_code == 200
        answer.close()


@pytest.mark.integration
def test_a_client_cut_off_resumes_by_last_event_id_and_misses_nothing(home: Home) -> None:
    ledger = open_ledger(home)
    fill(ledger)
    token = ensure_token(home)
    with served(home) as (_, port):
        tip = ledger.tip()[0]
        headers = {"Authorization": f"Bearer {token}"}
        with get(port, "/events", **headers) as response:
            open_one(ledger, "first")
            seen = facts(response, 2)
        open_one(ledger, "while nobody listened")
        with get(port, "/events", **headers, **{"Last-Event-ID": str(seen[-1])}) as response:
            open_one(ledger, "third")
            seen += facts(response, 4)
        assert seen == list(range(tip + 1, tip + 7))
    ledger.close()


@pytest.mark.integration
def test_open_streams_neither_block_pages_nor_the_end_of_the_process(home: Home) -> None:
    ledger = open_ledger(home)
    token = ensure_token(home)
    with served(home) as (process, port):
        headers = {"Authorization": f"Bearer {token}"}
        streams = [get(port, "/events", **headers) for _ in range(9)]
        assert [response.status for response in streams] == [200] * 8 + [503]
        with get(port, "/api/v1/items", **headers) as answer:
            assert answer.status == 200
        process.terminate()
        assert process.wait(30) == 0
        assert token not in (home.logs / "console.log").read_text()
        for response in streams:
            response.close()
    ledger.close()


@pytest.mark.integration
def test_a_taken_port_is_said_in_words(home: Home) -> None:
    home.settings_file.write_text(render(Settings()))
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = subprocess.run(
            [sys.executable, "-m", "appliance", "serve", "console", "--home", str(home.root)],
            env={**os.environ, "APPLIANCE_CONSOLE_PORT": str(other.getsockname()[1])},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1 and "the port is taken" in done.stderr and "Traceback" not in done.stderr
