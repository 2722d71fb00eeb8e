"""`appliance status`: what the box is doing, and what needs a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from appliance.cli import standing
from appliance.cli.context import Box, pass_box
from appliance.config import Home
from appliance.ledger import open_ledger
from appliance.ledger.lease import started_at
from appliance.presence import units
from appliance.work import State, utcnow

LISTED = 10
"""Mirrors in trouble that are named to people."""


@click.command()
@pass_box
def command(box: Box) -> int:
    """Show processes, engines, work in hand, and what waits for a person. Exit 0 when all runs."""
    box.require_home()
    ledger = open_ledger(box.home)
    processes = running(box.home)
    engines = (read(box.home.run / "engines.json") or []) if processes else []
    line = read(box.home.run / "line.json") or {"doing": []}
    mirrors, now = ledger.forges.all_health(), utcnow()
    waiting = ledger.items(states=[State.NEEDS_HUMAN], limit=50)
    data: dict[str, Any] = {
        "home": str(box.home.root),
        "processes": processes,
        "engines": engines,
        "doing": line["doing"],
        "items": ledger.counts(),
        "signals_waiting": len(ledger.signals(unopened=True, limit=1000)),
        "mirrors": len(ledger.repositories()),
        "mirrors_in_trouble": [
            {"name": name, "how": standing.in_short(health, now), "fix": health.hint or health.api_hint}
            for name, health in sorted(mirrors.items())
            if health.error or health.api_error
        ],
        "waiting": [{"id": item.id, "waiting_for": item.waiting_for} for item in waiting],
        "events": ledger.tip()[0],
    }
    box.emit(data, lambda: "\n".join(in_words(data)))
    return 0 if processes and all(process["state"] == "ready" for process in processes) else 1


def running(home: Home) -> list[dict[str, Any]]:
    """How the processes are that an `appliance up` which is still there looks after, or that systemd does."""
    up = read(home.run / "up.json") or {}
    alive = up.get("pid") and started_at(up["pid"]) == up.get("started")
    return list(up["processes"]) if alive else [_of_unit(row) for row in units(home)]


def _of_unit(row: dict[str, Any]) -> dict[str, Any]:
    """A process's own word, unless it is gone and could not take it back."""
    if row.get("pid") and started_at(row["pid"]) != row.get("started"):
        return {**row, "state": "failed", "reason": f"process {row['pid']} is gone; systemd starts it anew"}
    return row


def in_words(data: dict[str, Any]) -> list[str]:
    """The status for people."""
    lines = [f"home {data['home']}, {data['events']} events"]
    if not data["processes"]:
        lines.append("the box is not running; `appliance up` starts it")
    for process in data["processes"]:
        lines.append(f"  {process['name']:<9} {process['state']:<9} {process['reason']}".rstrip())
    for engine in data["engines"]:
        lines.append(f"  engine {engine['model']}: {engine['state']} {engine['reason'] or ''}".rstrip())
    for work in data["doing"]:
        lines.append(f"  working on {work['item']}, {work['stage']}: {work['doing']}")
    lines.append(
        "items: " + (", ".join(f"{count} {state}" for state, count in sorted(data["items"].items())) or "none")
    )
    if data["signals_waiting"]:
        lines.append(f"signals: {data['signals_waiting']} wait for the line to open items")
    lines.append(f"mirrors: {data['mirrors']}, {len(data['mirrors_in_trouble'])} in trouble")
    for mirror in data["mirrors_in_trouble"][:LISTED]:
        lines.append(f"  {mirror['name']}: {mirror['how']}")
    for item in data["waiting"]:
        lines.append(f"  {item['id']} waits for a person: {item['waiting_for'].splitlines()[0][:160]}")
    return lines


def read(file: Path) -> Any:
    """A status file's content; None when there is none."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
