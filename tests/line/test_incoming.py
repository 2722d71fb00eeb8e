from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.intake import files
from appliance.intake.reading import receive
from appliance.ledger import Ledger, open_ledger
from appliance.line.incoming import Incoming
from appliance.mirror.forges.plain import PlainForge
from appliance.news import Delivery
from appliance.work import Origin, TrackedRepository, utcnow
from tests.intake.senders import SECRET, gitea, packed


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.db")
    opened.add_repository(TrackedRepository(name="shop", url="file:///nowhere", branch="main"))
    yield opened
    opened.close()


@pytest.fixture
def fetched() -> list[str]:
    return []


@pytest.fixture
def incoming(ledger: Ledger, fetched: list[str]) -> Incoming:
    return Incoming(ledger, lambda tracked: fetched.append(tracked.name), lambda _tracked: PlainForge(), "http://box")


def sent(ledger: Ledger, event: str, body: Any, id: str = "gt-1") -> Delivery:
    raw = body if isinstance(body, bytes) else packed(body)
    headers = {**gitea(event, raw), "X-Gitea-Delivery": id}
    return ledger.deliveries.take(receive("gitea", "shop", headers, raw, [SECRET], utcnow(), 5.0), raw)[0]


def issue(*labels: str, action: str = "opened", state: str = "open") -> dict[str, Any]:
    person = {"login": "mira"}
    told = {
        "number": 7, "title": "slug keeps blanks", "body": "It should not.", "state": state, "user": person,
        "labels": [{"name": label} for label in labels], "assignees": None, "html_url": "http://git.example/t/s/issues/7",
    }  # fmt: skip
    return {"action": action, "issue": told, "sender": person, "repository": {"full_name": "t/s"}}


def test_an_issue_that_is_labelled_becomes_one_signal_however_often_it_is_told(
    ledger: Ledger, incoming: Incoming
) -> None:
    sent(ledger, "issues", issue("factory"))
    sent(ledger, "issues", issue("factory", "urgent", action="label_updated"), id="gt-2")
    assert incoming.work_off() == 2
    ((signal, _),) = ledger.signals()
    assert (signal.title, signal.author, signal.source) == ("slug keeps blanks", "mira", "hook:gitea")
    assert signal.origin == Origin(number="7", url="http://git.example/t/s/issues/7")
    assert [(one.state, one.signal) for one in ledger.deliveries.list()] == [("done", "S-1"), ("done", "S-1")]
    assert incoming.work_off() == 0


def test_an_issue_nobody_handed_over_is_left_alone_in_words(ledger: Ledger, incoming: Incoming) -> None:
    sent(ledger, "issues", issue("bug"))
    sent(ledger, "issues", issue("factory", action="closed", state="closed"), id="gt-2")
    incoming.work_off()
    assert ledger.signals() == []
    assert {(one.state, one.why) for one in ledger.deliveries.list()} == {
        ("ignored", "the issue does not carry the label 'factory'"),
        ("ignored", "the issue is closed, and the box is not at work on it"),
    }


def test_a_push_is_fetched_at_once(ledger: Ledger, incoming: Incoming, fetched: list[str]) -> None:
    push = {"ref": "refs/heads/main", "before": "1" * 40, "after": "2" * 40, "pusher": {"login": "mira"}}
    kept = sent(ledger, "push", push)
    incoming.work_off()
    assert fetched == ["shop"] and ledger.deliveries.get(kept.number).why == "a push; it is fetched at once"


def test_what_cannot_be_read_is_refused_with_the_reason_and_kept(ledger: Ledger, incoming: Incoming) -> None:
    kept = sent(ledger, "issues", b"{no json")
    incoming.work_off()
    settled = ledger.deliveries.get(kept.number)
    assert settled.state == "refused" and "JSON" in settled.why
    assert ledger.deliveries.raw(kept.number) == b"{no json"


def dropped(ledger: Ledger, rows: int) -> Delivery:
    """A table that somebody put into the repository's folder."""
    raw = ("title,body\n" + "".join(f"it breaks {n},row {n}\n" for n in range(rows))).encode()
    return ledger.deliveries.take(files.receive("shop", "feedback.csv", raw), raw)[0]


def test_a_long_table_is_filed_in_turns_and_others_are_heard_between(
    ledger: Ledger, incoming: Incoming, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.line.incoming.TURN_SECONDS", 0.0)
    table = dropped(ledger, 5)
    sent(ledger, "issues", issue("factory"))
    assert incoming.work_off() == 1, "the issue, not the table"
    waiting = {one.number: one for one in ledger.deliveries.list()}[table.number]
    assert (waiting.state, waiting.why) == ("waiting", "1 of 5 are done")
    monkeypatch.setattr("appliance.line.incoming.read", None)  # it was read, and is not read again for each turn
    for _ in range(4):
        incoming.work_off()
    assert {one.number: one for one in ledger.deliveries.list()}[table.number].state == "done"
    assert sorted(one.title for one, _ in ledger.signals()) == [
        *(f"it breaks {n}" for n in range(5)),
        "slug keeps blanks",
    ]


def test_a_table_cut_off_by_a_kill_is_filed_on_and_each_row_once(
    ledger: Ledger, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fresh() -> Incoming:
        return Incoming(ledger, lambda tracked: fetched.append(tracked.name), lambda _: PlainForge(), "http://box")

    monkeypatch.setattr("appliance.line.incoming.TURN_SECONDS", 0.0)
    dropped(ledger, 3)
    first = fresh()
    first.work_off()
    first.work_off()
    again = fresh()
    while not again.work_off():
        pass
    assert sorted(one.title for one, _ in ledger.signals()) == [f"it breaks {n}" for n in range(3)]
