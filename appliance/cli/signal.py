"""`appliance signal`: tell the box what happened."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import click

from appliance.cli import delivery, signal_import
from appliance.cli.context import Box, pass_box, table
from appliance.cli.processes import resting
from appliance.errors import Conflict, UsageError
from appliance.ledger import open_ledger
from appliance.ledger.ids import item_of
from appliance.work import Kind, Signal

LONGEST_BODY = 1_000_000


@click.group()
def command() -> None:
    """Bug reports, feedback, alerts and findings on their way in."""


@command.command()
@click.option("--repo", required=True, help="Repository it is about.")
@click.option("--title", required=True, help="What is wrong, in one line.")
@click.option(
    "--body-file", type=click.Path(dir_okay=False, path_type=Path), help="The report; - reads standard input."
)
@click.option("--kind", type=click.Choice([str(kind) for kind in Kind]), help="Left out: triage decides.")
@pass_box
def add(box: Box, repo: str, title: str, body_file: Path | None, kind: str | None) -> None:
    """File a signal; the line opens an item for it."""
    box.require_home()
    if not title.strip():
        raise UsageError("the title is empty", "say in one line what is wrong")
    signal = Signal(
        id="", repo=repo, title=title, body=read_body(body_file), kind=Kind(kind) if kind else None,
        source=f"cli:{getpass.getuser()}",
    )  # fmt: skip
    kept = open_ledger(box.home).receive(signal)
    item = item_of(kept.id)
    box.emit({"signal": kept.id, "item": item}, f"received as {kept.id}; `appliance item watch {item}` shows its way")
    if why := resting(box.home):
        box.say(why)


def read_body(file: Path | None) -> str:
    """The report's text. Raises UsageError when it cannot be read, is not text, or is too long."""
    if file is None:
        return ""
    try:
        raw = sys.stdin.buffer.read(LONGEST_BODY + 1) if str(file) == "-" else file.read_bytes()[: LONGEST_BODY + 1]
        text = raw.decode("utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror}", "name a readable file, or - for standard input"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text", "convert it first") from error
    if len(raw) > LONGEST_BODY:
        raise UsageError(
            f"the report is longer than {LONGEST_BODY} bytes", "keep what matters; attach the rest elsewhere"
        )
    return text


@command.command(name="list")
@click.option("--repo", default="", help="Only this repository's.")
@pass_box
def list_(box: Box, repo: str) -> None:
    """List signals, newest first."""
    box.require_home()
    rows = open_ledger(box.home).signals(repo)
    box.emit(
        [{**signal.model_dump(mode="json"), "item": item} for signal, item in rows],
        table("signal", "item", "repo", "source", "title",
              rows=[(one.id, item or "-", one.repo, one.source, one.title) for one, item in rows]),
    )  # fmt: skip


@command.command()
@click.argument("id")
@pass_box
def show(box: Box, id: str) -> None:
    """Show one signal as it came."""
    box.require_home()
    signal, item = open_ledger(box.home).signal(id)
    head = f"{signal.id} ({signal.source}, {signal.created:%Y-%m-%d %H:%M:%S}) {signal.repo}: {signal.title}"
    text = f"{head}\n{signal.body}\nitem: {item or 'not opened yet'}"
    box.emit({**signal.model_dump(mode="json"), "item": item}, text)


command.add_command(delivery.deliveries)
command.add_command(delivery.show, "delivery")
command.add_command(delivery.replay)
command.add_command(signal_import.command)


@command.command()
@click.argument("id")
@click.option("--into", required=True, metavar="ITEM", help="The item that says the same.")
@pass_box
def merge(box: Box, id: str, into: str) -> None:
    """Say that a signal is a duplicate: its own item ends, and the other one carries on for both."""
    box.require_home()
    ledger = open_ledger(box.home)
    _, item = ledger.signal(id)
    if not item:
        raise Conflict(f"{id} has no item yet", "wait until the line has opened it")
    number = ledger.command(item, "merge", getpass.getuser(), into)
    box.emit({"command": number, "item": item, "into": into}, f"{item} will end as a duplicate of {into}")
