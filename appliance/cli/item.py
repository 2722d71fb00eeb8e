"""`appliance item`: look at work, follow it, and decide what it asks."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from appliance.cli import item_by_hand
from appliance.cli.context import Box, pass_box, table
from appliance.cli.processes import resting
from appliance.cli.story import story
from appliance.config import Home
from appliance.errors import NotFound
from appliance.evidence import named, read
from appliance.ledger import Ledger, open_ledger
from appliance.ledger.chain import Recorded
from appliance.ledger.ids import signal_of
from appliance.line.commands import decide
from appliance.work import ENDED, State, WorkItem

LOOK_SECONDS = 0.25
SETTLED = ENDED | {State.NEEDS_HUMAN}


@click.group()
def command() -> None:
    """Work items on the line."""


@command.command(name="list")
@click.option("--repo", default="", help="Only this repository's.")
@click.option("--state", type=click.Choice([str(state) for state in State]), help="Only in this state.")
@pass_box
def list_(box: Box, repo: str, state: str | None) -> None:
    """List items, newest first."""
    box.require_home()
    rows = open_ledger(box.home).items(repo, [State(state)] if state else [])
    box.emit(
        [row.model_dump(mode="json", include=SUMMARY) for row in rows],
        table("item", "state", "severity", "repo", "title",
              rows=[(row.id, row.state, row.severity, row.repo, row.title) for row in rows]),
    )  # fmt: skip


SUMMARY = {"id", "state", "stage", "repo", "title", "kind", "severity", "waiting_for", "created", "updated"}


@command.command()
@click.argument("id")
@pass_box
def show(box: Box, id: str) -> None:
    """Show one item: its story, or with --json everything known about it."""
    box.require_home()
    ledger = open_ledger(box.home)
    item, history = _item(box, ledger, id), ledger.history(id)
    box.emit(as_json(item, history), lambda: story(item, history))


def as_json(item: WorkItem, history: list[Recorded]) -> dict[str, Any]:
    """The item as interfaces promise it."""
    return {**item.model_dump(mode="json"), "events": [event.model_dump(mode="json") for event in history]}


@command.command()
@click.argument("id")
@click.option("--timeout", type=float, default=0.0, help="Seconds to wait at most; 0 waits for ever.")
@pass_box
def watch(box: Box, id: str, timeout: float) -> int:
    """Stream an item's events until it ends or asks; exit 0 when it shipped."""
    box.require_home()
    item = follow(box, id, timeout)
    if item.state is State.NEEDS_HUMAN and not box.as_json:
        click.echo(f"{id} waits for a person: {item.waiting_for}")
    return 0 if item.state is State.CLOSED else 1


def follow(box: Box, id: str, timeout: float = 0.0) -> WorkItem:
    """Print events and what is being done until the item is settled or time is over."""
    ledger = open_ledger(box.home)
    if (_unopened(ledger, id) or ledger.item(id).state not in SETTLED) and (why := resting(box.home)):
        box.say(why)
    deadline = time.monotonic() + timeout if timeout else None
    doing = ""
    for event in stream(ledger, id, deadline):
        if event is not None:
            click.echo(event.model_dump_json() if box.as_json else one_line(event))
        elif not box.as_json and (now := _doing(box.home, id)) != doing:
            doing = now
            if now:
                box.say(f"           … {now}")
    return _item(box, ledger, id)


def _item(box: Box, ledger: Ledger, id: str) -> WorkItem:
    """Raises NotFound."""
    if _unopened(ledger, id):
        raise NotFound(f"{id} is not opened yet: its signal waits for the line", resting(box.home) or "a second or two")
    return ledger.item(id)


def _unopened(ledger: Ledger, id: str) -> bool:
    """Is this the item that a signal waits to become?"""
    try:
        return id.startswith("W-") and not ledger.signal(signal_of(id))[1]
    except NotFound:
        return False


def stream(ledger: Ledger, id: str, deadline: float | None) -> Iterator[Recorded | None]:
    """The item's events as they come; None between looks. Ends when it is settled, or at the deadline."""
    seen = 0
    while deadline is None or time.monotonic() < deadline:
        for event in ledger.history(id):
            if event.seq > seen:
                seen = event.seq
                yield event
        known = {item.id: item for item in ledger.items()} if not seen else {}
        if (seen or id in known) and ledger.item(id).state in SETTLED:
            return
        yield None
        time.sleep(LOOK_SECONDS)


def one_line(event: Recorded) -> str:
    """An event for people."""
    payload = event.payload
    where = f"{payload.get('stage') or event.kind} → {payload['to']}" if "to" in payload else event.kind
    took = f" ({payload['wall_seconds']:.1f} s, by {payload['by']})" if payload.get("wall_seconds") else ""
    return f"{event.at[11:19]}  {where:<22}{payload.get('reason') or payload.get('verb', '')}{took}"


def _doing(home: Home, id: str) -> str:
    try:
        doing = json.loads((home.run / "line.json").read_text(encoding="utf-8"))["doing"]
    except (OSError, ValueError, KeyError):
        return ""
    return next((f"{one['stage']}: {one['doing']}" for one in doing if one["item"] == id), "")


def _command(box: Box, id: str, verb: str, text: str = "") -> None:
    box.require_home()
    ledger, by = open_ledger(box.home), getpass.getuser()
    item = ledger.item(id)
    if item.state is State.NEEDS_HUMAN:  # it stays as it is until somebody says something: what is refused, is so now
        decide(item, verb, by, text)
    number = ledger.command(id, verb, by, text)
    box.emit(
        {"command": number, "item": id, "verb": verb}, f"{verb} noted for {id}; the line applies it between stages"
    )


@command.command()
@click.argument("id")
@pass_box
def approve(box: Box, id: str) -> None:
    """Let a change go on that waits at review, secure or ship."""
    _command(box, id, "approve")


@command.command()
@click.argument("id")
@click.option("--why", required=True, help="The reason; it becomes part of the record.")
@pass_box
def reject(box: Box, id: str, why: str) -> None:
    """End an item without a change."""
    _command(box, id, "reject", why)


@command.command()
@click.argument("id")
@click.option("--text", required=True, help="A candidate's number, or words that decide.")
@pass_box
def answer(box: Box, id: str, text: str) -> None:
    """Answer what an item asks."""
    _command(box, id, "answer", text)


@command.command()
@click.argument("id")
@pass_box
def retry(box: Box, id: str) -> None:
    """Take up again an item that stopped or ended without a change."""
    _command(box, id, "retry")


@command.command()
@click.argument("id")
@pass_box
def cancel(box: Box, id: str) -> None:
    """Stop working on an item."""
    _command(box, id, "cancel")


command.add_command(item_by_hand.plan)
command.add_command(item_by_hand.take)


@command.command()
@click.argument("id")
@click.argument("name", default="")
@pass_box
def evidence(box: Box, id: str, name: str) -> None:
    """List the files that an item's attempts and verdicts rest on, or print the one called NAME."""
    box.require_home()
    ledger = open_ledger(box.home)
    files = named(ledger.item(id), (event.payload for event in ledger.history(id)))
    if name and name not in files:
        raise NotFound(f"{id} names no evidence {name!r}", f"`appliance item evidence {id}` lists what it names")
    if name:
        click.echo(read(box.home.evidence / id, files[name]), nl=False)
        return
    box.emit(
        [one.model_dump() for one in files.values()],
        table("file", "sha256", rows=[(one.file, one.sha256) for one in files.values()]),
    )


@command.command()
@click.argument("id")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@pass_box
def export(box: Box, id: str, file: Path) -> None:
    """Write everything known about an item to FILE as JSON."""
    box.require_home()
    ledger = open_ledger(box.home)
    text = json.dumps(as_json(ledger.item(id), ledger.history(id)), indent=2)
    file.write_text(text, encoding="utf-8")
    box.emit({"file": str(file), "bytes": len(text)}, f"{id} written to {file} ({len(text)} bytes)")
