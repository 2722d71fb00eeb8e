"""The learning store at size: how fast it takes in calls and events, how fast it answers, how large it gets.

Run: python -m tests.benchmarks.bench_learning [--calls 10000000] [--items 1000000] [--folder DIR]

Everything goes the way it goes in a box: lines of the gateway's spool and events of a real ledger, taken over by the
learning process's own loop with the settings' defaults. Rows are counted in all tables. The questions are those of the
console and the command line, each asked several times through the store. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from appliance.config import Home
from appliance.events import STAGE_FACTS, Fact
from appliance.learning.queries import QUERIES
from appliance.learning.service import Learning
from appliance.learning.tables import DERIVED
from appliance.ledger import Ledger, open_ledger, schema
from appliance.ledger.chain import GENESIS, canonical, digest
from appliance.settings import Settings
from tests.learning.world import AFTER, LINE, facts_of

MODELS = ("coder-7b", "coder-32b", "phi-4", "qwen-14b", "embed")
REPOSITORIES = tuple(f"repo-{n}" for n in range(40))
START = datetime(2026, 8, 1, tzinfo=UTC)
DAYS = 100
ROWS_AT_ONCE = 20_000
ASKED = 12


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the home is made; it is removed in the end")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-learning-", dir=given.folder))
    try:
        print(json.dumps(measured(Home(folder / "home"), given.calls, given.items), indent=1))
    finally:
        shutil.rmtree(folder)


def measured(home: Home, calls: int, items: int) -> dict[str, Any]:
    """Make the home, take everything over, ask."""
    for part in (home.spool, home.run, home.logs, home.policy):
        part.mkdir(parents=True, exist_ok=True)
    ledger = open_ledger(home)
    events = write_events(ledger, items)
    ledger.close()
    learning = Learning(home, Settings())
    report: dict[str, Any] = {"events": taken(learning, events)}
    written = write_calls(home, calls)
    report["calls"] = taken(learning, calls)
    report["questions"] = {name: asked(learning, name) for name in QUERIES}
    report["slowest_p95_milliseconds"] = max(one["p95_milliseconds"] for one in report["questions"].values())
    status = learning.status()
    learning.close()
    report["file_bytes"] = home.learning.stat().st_size
    report["ledger_bytes"], report["spool_bytes"] = home.ledger.stat().st_size, written
    report["memory_limit_mb"] = Settings().learning.memory_mb
    report["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    report["held"] = {name: status[name] for name in ("events", "items", "model_calls", "decisions")}
    return report


def taken(learning: Learning, inputs: int) -> dict[str, float]:
    """Take over what there is, and how fast that went: in inputs (events or lines) and in rows of all tables."""
    before, wall, cpu = rows_of(learning), time.perf_counter(), time.process_time()
    learning.catch_up()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rows = rows_of(learning) - before
    return {"inputs": inputs, "rows": rows, "seconds": round(wall, 1), "cpu_seconds": round(cpu, 1),
            "inputs_per_second": round(inputs / wall), "rows_per_second": round(rows / wall),
            "rows_per_cpu_second": round(rows / cpu)}  # fmt: skip


def rows_of(learning: Learning) -> int:
    """Rows in all tables."""
    counted = " + ".join(f"(SELECT count(*) FROM {table})" for table in DERIVED)
    return int(learning.answer({"ask": "sql", "with": {"sql": f"SELECT {counted}"}})["rows"][0][0])


def asked(learning: Learning, name: str) -> dict[str, float]:
    """Milliseconds of one named question, for all and for one repository."""
    took = []
    for n in range(ASKED):
        narrow = {"repo": REPOSITORIES[n]} if n % 2 and "repo" in QUERIES[name].parameters else {}
        began = time.perf_counter()
        learning.answer({"ask": name, "with": narrow})
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return {"median_milliseconds": round(took[len(took) // 2], 1), "p95_milliseconds": round(took[-1], 1)}


def write_calls(home: Home, calls: int) -> int:
    """Lines as the gateway writes them, over `DAYS` days; bytes."""
    dice, written = random.Random(5), 0
    for day in range(DAYS):
        many = calls // DAYS + (day < calls % DAYS)
        date = START + timedelta(days=day)
        with (home.spool / f"usage-{date:%Y%m%d}.jsonl").open("wb") as out:
            for n in range(many):
                at = date + timedelta(milliseconds=86_400_000 * n // many)
                written += out.write(json.dumps(call(at, dice), separators=(",", ":")).encode() + b"\n")
    return written


def call(at: datetime, dice: random.Random) -> dict[str, Any]:
    """One line."""
    names = dice.sample(MODELS, 3)
    repo, item = dice.choice(REPOSITORIES), f"W-{dice.randrange(1_000_000)}"
    tokens, failed = dice.randrange(8000), dice.random() < 0.02
    return {
        "at": at.isoformat(timespec="milliseconds"), "id": f"{dice.getrandbits(128):032x}",
        "endpoint": "/v1/chat/completions", "key": f"k{dice.randrange(20)}", "task": "repair", "stage": "build",
        "repo": repo, "item": item, "model": names[0], "digest": "0123456789ab", "rule": "code repair", "attempts": 1,
        "stream": True, "priority": "interactive", "prompt_tokens": tokens, "completion_tokens": dice.randrange(900),
        "seconds": round(dice.lognormvariate(0.5, 1), 4), "waited_seconds": round(dice.random(), 4),
        "first_token_seconds": round(dice.random(), 4), "status": 502 if failed else 200,
        "error": "engine_lost" if failed else "", "policy": "policy 12 ordered", "suggested": "", "episode": item,
        "asked": {"task": "repair", "stage": "build", "language": "python", "repo": repo, "prompt_tokens": tokens,
                  "key": "line", "severity": 2, "attempt": 1},
        "candidates": names, "policy_version": 12, "propensity": 0.95, "explored": dice.random() < 0.05,
        "objective": {"quality": 0.6, "cost": 0.3, "speed": 0.1}, "prompt_digest": f"{dice.getrandbits(64):016x}",
        "features": {"length": tokens, "novelty": round(dice.random(), 3)}, "engine": "llama.cpp",
        "quantisation": "Q4_K_M",
    }  # fmt: skip


def write_events(ledger: Ledger, items: int) -> int:
    """Items that went down the line, chained and hashed as the ledger does it; events."""
    seq, prev, rows = 0, GENESIS, list[dict[str, Any]]()
    with ledger.database.writing() as connection:
        for at, kind, subject, payload in story(items):
            seq, body = seq + 1, canonical(payload)
            hash = digest(seq, at, kind, subject, body, prev)
            rows.append({"seq": seq, "at": at, "kind": kind, "subject": subject, "payload": body, "prev": prev,
                         "hash": hash})  # fmt: skip
            prev = hash
            if len(rows) == ROWS_AT_ONCE:
                connection.execute(insert(schema.events), rows)
                rows.clear()
        if rows:
            connection.execute(insert(schema.events), rows)
    return seq


def story(items: int) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """When, what kind, about whom, with what payload: of items, each on its way from signal to close."""
    dice = random.Random(7)
    for number in range(1, items + 1):
        at = (START + timedelta(seconds=86_400 * DAYS * number / items)).isoformat(timespec="milliseconds")
        repo, signal, item = dice.choice(REPOSITORIES), f"S-{number}", f"W-{number}"
        told = {"repo": repo, "title": f"it breaks, {number}", "source": "cli", "kind": "bug", "author": "ada"}
        yield at, Fact.SIGNAL_RECEIVED, signal, {**told, "body": "It fails when the list is empty. " * 6}
        yield at, Fact.ITEM_OPENED, item, end("signal", "", "received", {"signal": signal})
        before = "received"
        for stage in LINE[: dice.choice((3, 6, 9, 9))]:
            after = AFTER[stage]
            yield at, STAGE_FACTS[stage], item, end(stage, before, after, facts_of(stage, dice))
            before = after


def end(stage: str, before: str, after: str, facts: dict[str, Any]) -> dict[str, Any]:
    """What the end of a stage tells."""
    return {"stage": stage, "from": before, "to": after, "reason": "all of it holds", "by": "rule",
            "wall_seconds": 1.25, "facts": facts}  # fmt: skip


if __name__ == "__main__":
    main()
