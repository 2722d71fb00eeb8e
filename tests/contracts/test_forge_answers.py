"""Whatever a broken or hostile forge answers, each verb of each adapter ends with a result or with words."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import pytest

from appliance.errors import FactoryError, Unavailable
from appliance.mirror.workspace import Clone
from appliance.ports import Draft, Forge
from appliance.work import Finding, Origin, Proposal, Result
from tests.contracts.forges.server import Server

DRAFT = Draft(item="W-1", branch="factory/w-1", target="main", title="Mend the sum", text="Why and how")
FINDING = Finding(rule="S101", path="shop.py", line=1, message="assert used", tool="ruff")

BODIES = (
    b"<html><body>Sign in</body></html>", b"", b"null", b"true", b"7", b'"text"', b"{}", b"[]", b"[null]", b"[{}]",
    b"[[]]", b'["text"]', b'{"login": 5, "username": [], "permission": {}, "id": null, "version": 1}',
    b'{"state": "open", "number": "x", "iid": {}, "head": null, "user": "ann", "title": 3, "body": false}',
    b'[{"body": 1, "id": "x", "user": 7, "author": 3, "updated_at": "yesterday", "head": []}]', b'{"truncated": "',
    b"[" * 100_000, b'{"a": ' * 50_000, b"\xff\xfe\x00", b"[1e999, NaN, " + b"9" * 5000 + b"]",
)  # fmt: skip


class Until(list[str]):
    """The server's list of calls, which spoils its answer to one of them."""

    def __init__(self, server: Server, number: int, body: bytes) -> None:
        super().__init__()
        self.server, self.number, self.body = server, number, body

    def append(self, call: str) -> None:
        super().append(call)
        self.server.spoiled = (200, self.body, {}) if len(self) == self.number else None


def verbs(forge: Forge, number: int) -> dict[str, Callable[[], object]]:
    issue, proposal = Origin(number="1"), Proposal(number=str(number), branch="factory/w-1", commit="a" * 40)
    return {
        "proposal": lambda: forge.proposal(DRAFT),
        "status": lambda: forge.status("a" * 40, "test", Result.PASS, "", ""),
        "say": lambda: forge.say(issue, "W-1:progress", "planned"),
        "review": lambda: forge.review(proposal, [FINDING]),
        "close": lambda: forge.close(issue),
        "rights": lambda: forge.rights("ann"),
        "news": lambda: forge.news("2026-01-01T00:00:00Z"),
        "check": lambda: forge.check("main", "http://box.example/hooks/x/shop"),
    }


def ends_in_words(verb: str, call: Callable[[], object]) -> None:
    try:
        call()
    except FactoryError as error:
        assert error.message and error.hint, verb
        assert "t0ken" not in str(error.as_dict()), verb


def test_an_answer_that_makes_no_sense_is_told_in_words(
    forge: Forge, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    refused = [(code, body) for code in (404, 500) for body in (BODIES[0], BODIES[12], BODIES[16])]
    for code, body in [*((200, body) for body in BODIES), *refused]:
        server.spoiled = (code, body, {})
        for verb, call in verbs(forge, 2).items():
            ends_in_words(f"{verb} {code} {body[:80]!r}", call)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], "shown on a command line"


def test_an_answer_that_makes_no_sense_after_others_that_do_is_told_in_words(
    forge: Forge, server: Server, clone: Clone
) -> None:
    server.open_issue("ann", "The sum is wrong")
    number = int(forge.propose(clone, clone.commit("Mend the sum", [("Factory-Item", "W-1")]), DRAFT).number)
    server.review("ann", number, "approved")
    server.comment("ann", 1, "/factory stop")
    for verb, call in verbs(forge, number).items():
        server.calls = Until(server, 0, b"")
        with suppress(FactoryError):
            call()
        for place in range(1, len(server.calls) + 1):
            for body in (b"{}", b"[null]"):
                server.calls = Until(server, place, body)
                ends_in_words(verb, call)


def test_a_forge_that_sends_the_box_to_another_host_is_not_followed(forge: Forge, server: Server) -> None:
    server.spoiled = (302, b"", {"Location": "http://elsewhere.example/api"})
    with pytest.raises(Unavailable, match="elsewhere"):
        forge.rights("ann")
    server.spoiled = (200, b"[]", {"Link": '<http://elsewhere.example/other?page=2>; rel="next"'})
    for verb, call in verbs(forge, 2).items():
        ends_in_words(verb, call)
    assert all(server.api in call for call in server.calls)
