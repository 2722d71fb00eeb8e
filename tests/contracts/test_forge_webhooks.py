"""What each faithful server sends is taken in, with its real signature, and says what happened."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from appliance.errors import VerificationFailed
from appliance.intake.reading import read, receive
from appliance.news import (
    ChangeNews,
    CommentNews,
    Delivery,
    IssueNews,
    News,
    PipelineNews,
    PushNews,
    ReviewNews,
)
from appliance.work import utcnow
from tests.contracts.forges.server import Server

SECRET = "hook-secret"


class Receiver:
    """Takes webhooks as the console does: the signature first, each delivery once."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.url = ""
        self.taken: dict[str, tuple[Delivery, bytes]] = {}
        self.replays = 0

    def __call__(self, environ: dict[str, object], start: object) -> object:
        request = Request(environ)  # type: ignore[arg-type]
        try:
            delivery = receive(self.kind, "shop", dict(request.headers), request.get_data(), [SECRET], utcnow(), 5.0)
        except VerificationFailed:
            return Response(status=401)(environ, start)  # type: ignore[arg-type]
        self.replays += delivery.id in self.taken
        self.taken[delivery.id] = (delivery, request.get_data())
        return Response(status=202)(environ, start)  # type: ignore[arg-type]

    def heard(self) -> list[News]:
        return [one for delivery, raw in self.taken.values() for one in read(delivery, raw)]


@pytest.fixture
def receiver(server: Server) -> Iterator[Receiver]:
    made = Receiver(server.kind)
    running = make_server("127.0.0.1", 0, made, threaded=True)  # type: ignore[arg-type]
    made.url = f"http://127.0.0.1:{running.server_port}/hooks/{server.kind}/shop"
    thread = threading.Thread(target=running.serve_forever, args=(0.02,))
    thread.start()
    yield made
    running.shutdown()
    thread.join()
    running.server_close()


def test_what_people_do_comes_as_signed_webhooks_and_says_what_it_was(server: Server, receiver: Receiver) -> None:
    server.hook(receiver.url, SECRET)
    number = server.open_issue("guest", "The sum is wrong", body="by a cent")
    server.label("ann", number, "factory")
    server.assign("ann", number, "factory")
    server.comment("ann", number, "/factory stop")
    pushed = server.commit("ann", "topic", "mend", {"shop.py": "PRICE = 2\n"})
    change = server.open_change("ann", "topic", "main", "Mend", f"Closes #{number}").number
    server.comment("guest", change, "looks odd", "change")
    server.review("owner", change, "approved", "fine")
    server.status("ann", pushed, "ci", server.states[1])
    merged = server.merge(change, by="owner")
    server.settled()
    assert {one.code for one in server.deliveries} == {202}
    heard = receiver.heard()
    issues = [one for one in heard if isinstance(one, IssueNews)]
    assert [(one.by, one.action) for one in issues] == [
        ("guest", "opened"), ("ann", "labelled"), ("ann", "assigned"), ("owner", "closed"),
    ]  # fmt: skip
    assert issues[0].body == "by a cent" and issues[0].author == "guest" and not issues[-1].open
    assert issues[-1].labels == ("factory",) and issues[-1].assignees == ("factory",)
    comments = [(one.by, one.text, one.origin.kind) for one in heard if isinstance(one, CommentNews)]
    assert comments[:2] == [("ann", "/factory stop", "issue"), ("guest", "looks odd", "change")]
    reviews = [(one.by, one.verdict, one.branch) for one in heard if isinstance(one, ReviewNews)]
    assert reviews == [("owner", "approved", "topic")]
    changes = [(one.state, one.branch, one.commit) for one in heard if isinstance(one, ChangeNews)]
    assert changes == [("open", "topic", ""), ("merged", "topic", merged)]
    pushes = [(one.by, one.branch, one.after) for one in heard if isinstance(one, PushNews)]
    assert pushes == [("ann", "topic", pushed), ("owner", "main", merged)]
    assert [(one.outcome, one.commit) for one in heard if isinstance(one, PipelineNews)] == [("success", pushed)]


def test_a_webhook_of_another_secret_is_turned_away(server: Server, receiver: Receiver) -> None:
    server.hook(receiver.url, "another")
    server.open_issue("ann", "The sum is wrong")
    server.settled()
    assert {one.code for one in server.deliveries} == {401} and receiver.taken == {}


def test_a_webhook_sent_again_is_known_by_its_delivery(server: Server, receiver: Receiver) -> None:
    server.hook(receiver.url, SECRET)
    server.open_issue("ann", "The sum is wrong")
    again = server.redeliver(server.deliveries[0].id)
    server.settled()
    assert again.code == 202 and receiver.replays == (0 if server.resent_anew else 1)


def test_blocked_webhooks_do_not_come_and_those_of_a_restarted_server_do(server: Server, receiver: Receiver) -> None:
    server.hook(receiver.url, SECRET)
    server.blocked = True
    server.open_issue("ann", "Unheard")
    server.blocked = False
    server.stop()
    server.start()
    server.open_issue("ann", "Heard")
    server.settled()
    assert [one.title for one in receiver.heard() if isinstance(one, IssueNews)] == ["Heard"]
