"""A flood of webhooks, signed or not: it is cut off, it is counted, and it leaves nothing else behind."""

from __future__ import annotations

import io
import socket
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.intake import hook_secrets
from appliance.intake.hook_secrets import HookSecrets
from control.desk import EXTENSION
from control.pace import Bucket, Pace, take_one
from control.turned_away import UNKNOWN, TurnedAway
from control.views import hooks
from tests.control.real_console import served
from tests.control.world import Console, Site
from tests.intake.senders import SECRET, SENDERS

BODY = b'{"action": "opened"}'
MEBIBYTE = 1024 * 1024


@pytest.fixture
def hooked(console: Console, site: Site) -> Console:
    hook_secrets.save(console.home, "shop", HookSecrets(current=SECRET))
    return console


def send(console: Console, path: str = "gitea/shop", secret: str = SECRET, **more: object) -> tuple[int, str]:
    """The status and what Retry-After says."""
    asked = {"data": BODY, "content_type": "application/json", "headers": SENDERS["gitea"]("issues", BODY, secret)}
    answer = console.stranger().post(f"/hooks/{path}", **{**asked, **more})  # type: ignore[arg-type]
    return answer.status_code, answer.headers.get("Retry-After", "")


def counted(console: Console, repo: str = "") -> dict[tuple[str, str], int]:
    told = console.program("GET", f"/api/v1/deliveries?repo={repo}").json
    assert told is not None
    return {(one["repo"], one["reason"]): one["count"] for one in told["turned_away"]["counts"]}


class Minute:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def paced(console: Console, a_minute: int) -> Minute:
    """Let the console take so many a minute, by a clock that stands still."""
    desk, clock = console.app.extensions[EXTENSION], Minute()
    intake = desk.settings.intake.model_copy(update={"hooks_per_minute": a_minute})
    desk.settings = desk.settings.model_copy(update={"intake": intake})
    console.app.extensions[hooks.PACE] = Pace(clock)
    return clock


def test_a_bucket_gives_a_minutes_messages_at_once_and_then_as_many_as_flow_in() -> None:
    bucket, waits = None, []
    for _ in range(5):
        bucket, wait = take_one(bucket, 3, 0.0)
        waits.append(wait)
    assert waits == [0, 0, 0, 20, 20], "asking in vain costs nothing"
    assert take_one(bucket, 3, 20.0) == (Bucket(0.0, 20.0), 0.0)
    assert take_one(bucket, 3, 86_400.0) == (Bucket(2.0, 86_400.0), 0.0), "no more than a minute's gathers"
    assert take_one(Bucket(1.0, 50.0), 3, 10.0)[1] == 0, "a clock that went back takes nothing away"


def test_a_signed_flood_is_cut_for_its_repository_alone_until_there_is_room(hooked: Console) -> None:
    clock = paced(hooked, 2)
    assert [send(hooked)[0] for _ in range(2)] == [202, 200]
    assert [send(hooked) for _ in range(2)] == [(429, "30")] * 2
    assert counted(hooked) == {("shop", "too_fast"): 2}
    assert hooked.app.extensions[hooks.PACE].wait("other", 2) == 0
    clock.seconds += 30
    assert [send(hooked)[0] for _ in range(2)] == [200, 429]
    paced(hooked, 0)
    assert {send(hooked)[0] for _ in range(5)} == {200}


def test_a_stranger_cannot_use_up_the_room_of_those_who_sign(hooked: Console) -> None:
    paced(hooked, 1)
    assert {send(hooked, secret="guess")[0] for _ in range(9)} == {401, 429}
    assert send(hooked)[0] == 202


def test_refusals_are_counted_by_repository_and_reason(hooked: Console) -> None:
    for _ in range(8):
        send(hooked, secret="guess")
    send(hooked, content_type="text/plain")
    send(hooked, data=b"x" * (5 * MEBIBYTE + 1))
    send(hooked, "github/shop", headers=SENDERS["generic"]("x", BODY, SECRET))
    send(hooked, headers={"Host": "elsewhere.example"})
    send(hooked)
    before = counted(hooked, "shop")
    assert before.pop(("shop", "wrong_signature")) + before.pop(("shop", "too_many_tries")) == 9
    assert before == {("shop", "not_json"): 1, ("shop", "too_large"): 1, ("shop", "usage"): 1}
    assert counted(hooked, "nope") == {}
    page = hooked.browser().get("/deliveries").text
    assert "Turned away" in page and "wrong signature" in page and "since the console started" in page
    families = text_string_to_metric_families(hooked.program("GET", "/metrics").text)
    (refused,) = [one for one in families if one.name == "appliance_hooks_refused"]
    assert {(one.labels["repository"], one.labels["reason"]): one.value for one in refused.samples} == counted(hooked)


def test_a_stranger_makes_no_names_and_leaves_no_words(hooked: Console) -> None:
    for n in range(20):
        send(hooked, f"gitea/nope-{n}", data=b'{"password": "hunter3"}', headers={"X-Gitea-Event": f"word-{n}"})
    send(hooked, "nobody/shop")
    assert counted(hooked) == {(UNKNOWN, "not_found"): 20, ("shop", "not_found"): 1}
    shown = hooked.browser().get("/deliveries").text + hooked.program("GET", "/metrics").text
    assert UNKNOWN in shown and not any(word in shown for word in ("nope-", "hunter3", "word-"))
    assert hooked.ledger.deliveries.list() == []


def test_a_count_tells_when_the_latest_came_and_the_latest_is_first() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = iter(start + timedelta(seconds=n) for n in range(9))
    counts = TurnedAway(lambda: next(times))
    for reason in ("not_json", "too_large", "not_json"):
        counts.note("shop", reason)
    assert counts.since == start
    assert [(one.reason, one.count, (one.last - start).seconds) for one in counts.counts()] == [
        ("not_json", 2, 3),
        ("too_large", 1, 2),
    ]


class Endless(io.RawIOBase):
    """A body in chunks, whose length nobody told and which does not end."""

    def __init__(self) -> None:
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, room: object) -> int:
        into = memoryview(room)  # type: ignore[arg-type]
        into[:] = b" " * len(into)
        self.given += len(into)
        return len(into)


@pytest.mark.parametrize("source", ["gitea", "alertmanager"])
def test_a_body_in_chunks_is_read_to_the_limit_and_refused_even_if_a_token_signs_it(
    hooked: Console, source: str
) -> None:
    body, path, headers = Endless(), f"{source}/shop", SENDERS[source]("issues", BODY, SECRET)
    chunked = {"wsgi.input": body, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    assert send(hooked, path, headers=headers, data=None, environ_overrides=chunked)[0] == 413
    assert 5 * MEBIBYTE <= body.given <= 6 * MEBIBYTE
    assert counted(hooked) == {("shop", "too_large"): 1}
    assert hooked.ledger.deliveries.list() == []
    short = {**chunked, "wsgi.input": io.BytesIO(BODY)}
    assert send(hooked, path, headers=headers, data=None, environ_overrides=short)[0] == 202


def test_a_table_in_chunks_that_is_too_long_is_not_filed_in_part(hooked: Console) -> None:
    table = io.BytesIO(b"title\n" + b"long row\n" * 700_000)
    chunked = {"wsgi.input": table, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    answer = hooked.program("POST", "/api/v1/signals/import?repo=shop", environ_overrides=chunked)
    assert answer.status_code == 413 and "intake.max_mb" in answer.text


def test_a_part_of_a_message_whose_sender_hung_up_is_not_taken_for_the_whole(hooked: Console) -> None:
    headers = SENDERS["alertmanager"]("alert", BODY, SECRET)
    part = {"wsgi.input": io.BytesIO(BODY[:5]), "wsgi.input_terminated": True}
    assert send(hooked, "alertmanager/shop", headers=headers, environ_overrides=part)[0] == 400
    assert hooked.ledger.deliveries.list() == [] and counted(hooked) == {("shop", "usage"): 1}


@pytest.mark.integration
def test_the_console_s_own_server_takes_chunks_to_the_limit_and_neither_parts_nor_nonsense(hooked: Console) -> None:
    headers = {**SENDERS["alertmanager"]("alert", BODY, SECRET), "Content-Type": "application/json"}
    with served(hooked.home) as (_, port), httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:

        def chunked(size: int) -> int:
            pieces = (b" " * min(65_536, size - at) for at in range(0, size, 65_536))
            return client.post("/hooks/alertmanager/shop", content=pieces, headers=headers).status_code

        assert [chunked(size) for size in (5 * MEBIBYTE, 5 * MEBIBYTE + 1)] == [202, 413]
        lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "localhost", **headers}.items())
        chunks = "Transfer-Encoding: chunked\r\n\r\n"
        for length in ("Content-Length: 500\r\n\r\n", f"{chunks}14\r\n", f"{chunks}fff\r\n", f"{chunks}nonsense\r\n"):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as sender:
                sender.sendall(f"POST /hooks/alertmanager/shop HTTP/1.1\r\n{lines}{length}".encode() + BODY)
                sender.shutdown(socket.SHUT_WR)
                assert b" 400 " in sender.recv(64)
    assert len(hooked.ledger.deliveries.list()) == 1
