"""A ledger with a history: items that go along the line and end in different ways, reproducible by seed."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from appliance.config import Home
from appliance.events import STAGE_FACTS, Event, Fact
from appliance.ledger import Ledger, open_ledger
from appliance.policy import Meaning
from appliance.work import TrackedRepository

REPOSITORIES = ("shop", "wms")
PEOPLE = ("ada", "grace hopper")
MEANING = Meaning.of([0.6, 0.8], "mini", "ab").model_dump()
LINE = ("triage", "plan", "build", "test", "review", "secure", "ship", "monitor", "learn")
STATES = ("triaged", "planned", "built", "tested", "reviewed", "secured", "shipped", "monitored", "closed")
AFTER = dict(zip(LINE, STATES, strict=True))


def with_repositories(ledger: Ledger) -> Ledger:
    """Name the repositories, unless they are named."""
    known = {repository.name for repository in ledger.repositories()}
    for name in REPOSITORIES:
        if name not in known:
            ledger.add_repository(TrackedRepository(name=name, url=f"file:///srv/{name}.git", branch="main"))
    return ledger


def tell(ledger: Ledger, items: range, seed: int = 1) -> None:
    """Append the events of some items, in one transaction a call."""
    dice = random.Random(f"{seed}-{items.start}")
    with ledger.database.writing() as connection:
        for number in items:
            _one(ledger, connection, number, dice)


def _one(ledger: Ledger, connection: Connection, number: int, dice: random.Random) -> None:
    repo, signal, item = dice.choice(REPOSITORIES), f"S-{number}", f"W-{number}"

    def append(kind: Fact, subject: str, /, **payload: Any) -> None:
        ledger.append_in(connection, Event(kind=kind, subject=subject, payload=payload))

    append(Fact.SIGNAL_RECEIVED, signal, repo=repo, title=f"it breaks, {number}", source="cli", kind="bug",
           author=dice.choice(PEOPLE))  # fmt: skip
    append(Fact.ITEM_OPENED, item, stage="signal", to="received", reason="opened", by="rule", wall_seconds=0.0,
           facts={"signal": signal}, **{"from": ""})  # fmt: skip
    before = "received"
    for stage in LINE[: dice.randint(1, len(LINE))]:
        after = AFTER[stage]
        by = "search" if stage == "build" else "rule"
        append(STAGE_FACTS[stage], item, stage=stage, to=after, reason="because", by=by,
               wall_seconds=round(dice.uniform(0, 20), 3), facts=facts_of(stage, dice), **{"from": before})  # fmt: skip
        before = after
    if before == "shipped" and dice.random() < 0.5:
        append(Fact.RELEASE_MONITORED, item, stage="monitor", to="rolled_back", reason="it does not hold", by="rule",
               wall_seconds=1.0, facts={"revert": "f" * 40}, **{"from": before})  # fmt: skip
    elif dice.random() < 0.3:
        append(Fact.COMMAND_GIVEN, item, number=number, verb="approve", by=dice.choice(PEOPLE), text="looks right")


def facts_of(stage: str, dice: random.Random) -> dict[str, Any]:
    """What a stage tells, in the shape the line gives it."""
    if stage == "build":
        found = [{"origin": "off by one", "weight": 0.5, "cluster": 0, "files": ["a.py"], "digest": "d" * 64}]
        account = {"strategy": "search", "model": "", "outcome": "plausible", "tried": dice.randint(1, 900),
                   "plausible": 1, "seconds": round(dice.uniform(0, 60), 2), "candidates": found}  # fmt: skip
        return {
            "rule": "code repair",
            "candidates": ["search", "coder-7b"],
            "meaning": MEANING,
            "attempt 1": {**account, "outcome": "none"},
            "attempt 2": account,
        }
    if stage == "review":
        return {"diff-policy": {"verdict": "PASS", "reason": "small"}, "model-review": {"verdict": "INCONCLUSIVE"}}
    if stage == "ship":
        return {"commit": f"{dice.getrandbits(160):040x}"}
    if stage == "secure":
        one = {"tool": "bandit", "rule": "B101", "path": "a.py", "line": 3, "message": "m", "severity": "note"}
        return {"verdict": "PASS", "reason": "none new", "new": [one] * dice.randint(0, 1)}
    if stage == "test":
        return {"verdict": "PASS", "reason": "all pass"}
    if stage == "learn":
        return {"strategy": "search", "model": "", "without_a_person": dice.random() < 0.7, "seconds_from_signal": 12.3}
    return {}


def calls(count: range, seed: int = 1) -> list[dict[str, Any]]:
    """Lines of the gateway's spool, as it writes them."""
    dice = random.Random(f"calls-{seed}-{count.start}")
    return [_call(number, dice) for number in count]


def _call(number: int, dice: random.Random) -> dict[str, Any]:
    models = dice.sample(["coder-7b", "coder-32b", "phi"], 3)
    failed = dice.random() < 0.1
    prompt = dice.randint(10, 4000)
    return {
        "at": f"2026-11-26T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.{number % 1000:03}+00:00",
        "id": f"{number:032x}", "endpoint": "/v1/chat/completions", "key": "k1", "task": "repair", "stage": "build",
        "repo": dice.choice(REPOSITORIES), "item": f"W-{number // 10}", "episode": f"W-{number // 10}",
        "model": models[0], "digest": "ab" * 6, "rule": dice.choice(["code repair", "the caller"]), "attempts": 1,
        "stream": False, "priority": "interactive", "prompt_tokens": prompt,
        "completion_tokens": dice.randint(0, 400), "seconds": round(dice.uniform(0.1, 30), 4),
        "waited_seconds": 0.25, "first_token_seconds": None, "status": 502 if failed else 200,
        "error": "engine_lost" if failed else "",
        "asked": {"task": "repair", "stage": "build", "language": "python", "prompt_tokens": prompt, "attempt": 1},
        "policy": "policy 3 ordered", "suggested": "", "candidates": models, "policy_version": 3, "propensity": 0.9,
        "explored": False, "objective": {"quality": 0.6, "cost": 0.3, "speed": 0.1}, "prompt_digest": f"{number:064x}",
    }  # fmt: skip


def spooled(home: Home, lines: list[dict[str, Any]], name: str = "usage-20261126.jsonl") -> Path:
    """Append lines to a file of the spool."""
    home.spool.mkdir(parents=True, exist_ok=True)
    file = home.spool / name
    with file.open("ab") as out:
        out.writelines(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
    return file


class Telling:
    """A clock that tests set, and a ledger told what happened."""

    def __init__(self, home: Home) -> None:
        self.time = datetime(2026, 11, 2, 8, tzinfo=UTC)
        self.ledger: Ledger = with_repositories(open_ledger(home, clock=self))  # type: ignore[arg-type]

    def now(self) -> datetime:
        return self.time

    def say(self, fact: Fact, subject: str, **payload: Any) -> None:
        self.ledger.append(Event(kind=fact, subject=subject, payload=payload))
