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
from appliance.ledger.inbox import head_of, inbox, same_as
from appliance.work import Kind, Signal
from control.inbox import STATES, narrowed, questions, whole

LONGEST_BODY = 1_000_000
MOST_LISTED = 1000


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
@click.option("--kind", type=click.Choice([str(kind) for kind in Kind]), help="Only what became an item of this kind.")
@click.option("--severity", type=click.Choice(["1", "2", "3", "4"]), help="Only this severity; 1 is worst.")
@click.option("--state", type=click.Choice(STATES), help="Only where the item is in this state.")
@click.option("--source", default="", help="Only from here: cli, hook, poll, mail, or the whole, like hook:gitea.")
@click.option("--text", "q", default="", help="Only with these words in title or text.")
@click.option("--since", default="", metavar="DAY", help="Not before this day (UTC), like 2026-11-27.")
@click.option("--until", default="", metavar="DAY", help="Not after this day (UTC).")
@pass_box
def list_(box: Box, /, **given: str | None) -> None:
    """List signals, newest first, up to 1,000."""
    box.require_home()
    found = inbox(open_ledger(box.home), narrowed({name: value or "" for name, value in given.items()}), MOST_LISTED)
    box.emit(
        [{**one.signal.model_dump(mode="json"), "item": one.item, "state": one.state, "duplicate_of": one.twin}
         for one in found],
        table("signal", "item", "state", "repo", "source", "title",
              rows=[(one.signal.id, one.item or "-", one.state or "unopened", one.signal.repo, one.signal.source,
                     one.signal.title + (f" (same as {one.twin})" if one.twin else "")) for one in found]),
    )  # fmt: skip


@command.command()
@click.argument("id")
@click.option("--raw", is_flag=True, help="What it was filed from, as it came, without secrets.")
@pass_box
def show(box: Box, id: str, raw: bool) -> None:
    """Show one signal, the signals that say the same, and what people were asked about it."""
    box.require_home()
    ledger = open_ledger(box.home)
    signal, item = ledger.signal(id)
    if raw:
        click.echo(whole(ledger, signal), nl=False)
        return
    head = head_of(ledger, item) if item else ""
    same = [one.signal for one in same_as(ledger, head) if one.item != item] if head else []
    asked = questions(ledger.history(item)) if item else []
    text = [f"{signal.id} ({signal.source}, {signal.created:%Y-%m-%d %H:%M:%S}) {signal.repo}: {signal.title}",
            signal.body, f"item: {item or 'not opened yet'}{f', a duplicate of {head}' if head != item else ''}",
            *(f"says the same: {one.id} {one.title}" for one in same)]  # fmt: skip
    for one in asked:
        text += [f"asked by {one.stage}: {one.words}", f"  {one.by} said {one.verb}: {one.text}" if one.verb else "  -"]
    box.emit(
        {**signal.model_dump(mode="json"), "item": item, "carried_by": head, "duplicates": [one.id for one in same],
         "questions": [one.model_dump() for one in asked]},
        "\n".join(text),
    )  # fmt: skip


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
    number, item = _said(box, id, "merge", into)
    box.emit({"command": number, "item": item, "into": into}, f"{item} will end as a duplicate of {into}")


@command.command()
@click.argument("id")
@click.option("--why", required=True, help="The reason; it becomes part of the record.")
@pass_box
def split(box: Box, id: str, why: str) -> None:
    """Say that a duplicate is none: its own item sets out anew, and is not taken for one again."""
    number, item = _said(box, id, "split", why)
    box.emit({"command": number, "item": item}, f"{item} will set out anew")


def _said(box: Box, id: str, verb: str, text: str) -> tuple[int, str]:
    """The number of a command to a signal's item, and the item. Raises Conflict."""
    box.require_home()
    ledger = open_ledger(box.home)
    _, item = ledger.signal(id)
    if not item:
        raise Conflict(f"{id} has no item yet", "wait until the line has opened it")
    return ledger.command(item, verb, getpass.getuser(), text), item
