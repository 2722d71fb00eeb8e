"""A console over a real ledger, as a browser and as a program meet it."""

from __future__ import annotations

import json
import re
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from appliance.config import Home
from appliance.droids.account import trajectory
from appliance.evidence import keep
from appliance.ledger import Ledger, open_ledger
from appliance.ledger.lease import Worker
from appliance.mirror.serving import Served
from appliance.settings import Settings
from appliance.work import (
    Attempt,
    Candidate,
    Change,
    Kind,
    Noun,
    Outcome,
    Plan,
    Result,
    Signal,
    State,
    Suspect,
    TrackedRepository,
    Verdict,
    WorkItem,
)
from control.access import ensure_session_key, ensure_token
from control.app import create_app
from control.desk import Desk

DIFF = "--- a/rates.py\n+++ b/rates.py\n@@ -1,2 +1,2 @@\n def rate(x):\n-    return x > 5\n+    return x >= 5\n"


class Site(Noun):
    """A filled home: names of what is in it."""

    waiting: str
    """Stopped at ship, with a change."""
    ambiguous: str
    """Stopped at build, with two candidates."""
    live: str
    """Triaged, nobody's."""
    trajectory: str = ""
    """The file of a droid's steps that the first names."""


def steps(words: str) -> bytes:
    """A droid's trajectory."""
    said = [
        {"step_id": 1, "timestamp": "2026-11-02T09:00:00+00:00", "source": "system", "message": f"be careful {words}"},
        {"step_id": 2, "timestamp": "2026-11-02T09:00:05+00:00", "source": "agent", "message": f"an edit {words}",
         "model_name": words or "coder", "metrics": {"prompt_tokens": 900, "completion_tokens": 45},
         "observation": {"results": [{"content": f"1 test fails {words}"}]}},
    ]  # fmt: skip
    return json.dumps(trajectory("W-1-1", "1.0", words or "coder", said)).encode()


def fill(ledger: Ledger, words: str = "", home: Home | None = None) -> Site:
    """Items in several states; `words` go into every text that comes from outside. Evidence is kept in a `home`."""
    ledger.add_repository(TrackedRepository(name="shop", url=f"https://bot:hunter2@git.example/{words}", branch="main"))
    waiting = open_one(ledger, f"stops at ship {words}", words)
    plan = Plan(
        summary=words, acceptance=(f"tests/t.py::{words}",), files=(f"{words}.py",),
        suspects=(Suspect(path=f"{words}.py", line=1, function=words, score=0.9, why=words),),
    )  # fmt: skip
    change = Change(branch=f"factory/{words}", base="a" * 40, diff=DIFF.replace("rate", words or "rate"),
                    files=(f"{words}.py",), message=words, author_model=words)  # fmt: skip
    verdict = Verdict(gate="test", verdict=Result.PASS, evidence={"said": words}, model=words)
    held = {"rule": words or "S102", "path": f"{words or 'rate'}s.py", "line": 2, "message": f"too wide {words}",
            "severity": "warning", "tool": "ruff"}  # fmt: skip
    scanned = Verdict(gate="secure", verdict=Result.FAIL, evidence={"reason": words or "ruff", "new": [held]})
    candidates = tuple(
        Candidate(diff=DIFF, files={f"{words}.py": ""}, origin=words or "compare", why=words, telling_input=words)
        for _ in range(2)
    )
    kept = keep(home.evidence / waiting, "trajectory", "json", steps(words)) if home else None
    attempt = Attempt(
        n=1, trajectory=kept, strategy="search", outcome="ambiguous", detail=words, sandbox=words, candidates=candidates
    )
    move(ledger, waiting, words, state=State.NEEDS_HUMAN, stage="ship", waiting_for=f"approve? {words}", plan=plan,
         change=change, verdicts=(verdict, scanned), attempts=(attempt,))  # fmt: skip
    ambiguous = open_one(ledger, f"two ways {words}", words)
    move(ledger, ambiguous, words, state=State.NEEDS_HUMAN, stage="build", waiting_for="which one?", plan=plan,
         attempts=(attempt,))  # fmt: skip
    live = open_one(ledger, f"under way {words}", words)
    return Site(waiting=waiting, ambiguous=ambiguous, live=live, trajectory=kept.file if kept else "")


def open_one(ledger: Ledger, title: str, body: str = "") -> str:
    """A received item's id."""
    signal = ledger.receive(Signal(id="", repo="shop", title=title, body=body, kind=Kind.BUG, source="cli"))
    item = WorkItem(id="", repo="shop", title=title, body=body, signals=(signal.id,))
    return ledger.open_item(signal.id, Outcome(item=item, reason="opened")).id


def move(ledger: Ledger, item: str, reason: str, **fields: Any) -> None:
    """Record one stage's outcome."""
    worker = Worker.here()
    claim = ledger.claims.take(worker, 60, 3, [State.RECEIVED])
    assert claim is not None and claim.item.id == item
    moved, said = claim.item.with_(**fields), {"said": reason}
    outcome = Outcome(item=moved, reason=f"because {reason}", by=reason or "rule", facts=said)
    ledger.claims.record(claim, "triage", outcome, 1.0)


class Console:
    """The application with its ledger and token."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.ledger: Ledger = open_ledger(home)
        self.token = ensure_token(home)
        self.app: Flask = create_app(
            Desk(home, Settings(), self.ledger, Served(home.mirrors)), self.token, ensure_session_key(home)
        )

    def stranger(self) -> FlaskClient:
        return self.app.test_client()

    def browser(self) -> Browser:
        """Signed in by the form."""
        return Browser(self)

    def program(self, method: str, path: str, **more: Any) -> TestResponse:
        """A call with the token."""
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        return self.stranger().open(path, method=method, headers=headers, **more)


class Browser:
    """Keeps cookies and sends what forms send."""

    def __init__(self, console: Console) -> None:
        self.client = console.stranger()
        answer = self.client.post("/sign-in", data={"token": console.token})
        assert answer.status_code == 303

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.client.get(path, buffered=True, **more)  # else a file that is sent stays open

    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("/").text)
        assert found is not None
        return found[1]

    def post(self, path: str, **fields: str) -> TestResponse:
        return self.client.post(path, data={"csrf": self.csrf(), **fields})
