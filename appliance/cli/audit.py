"""`appliance audit`: what was done by whom, and the proof that none of it was altered."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from appliance.cli.context import Box, pass_box, table
from appliance.errors import VerificationFailed
from appliance.ledger import open_ledger
from appliance.ledger.audit import Search, doer, found, verify_home, where, whole


def asked(decorated: Callable[..., None]) -> Callable[..., None]:
    """The options that say what is looked for."""
    moments = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
    options = [
        click.option("--kind", default="", help="A fact, like SessionOpened."),
        click.option("--subject", default="", help="An item, a signal, 'user NAME' and so on."),
        click.option("--person", default="", help="Who did it."),
        click.option("--words", default="", help="Anywhere in what is kept of it."),
        click.option("--since", type=click.DateTime(moments), help="Not before this day or time (UTC)."),
        click.option("--until", type=click.DateTime(moments), help="Before this day or time (UTC)."),
    ]
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


@click.group()
def command() -> None:
    """The audit chain."""


@command.command("list")
@asked
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="The newest so many.")
@pass_box
def list_(box: Box, /, limit: int, **search: Any) -> None:
    """What was done, newest first."""
    box.require_home()
    events = found(open_ledger(box.home), Search(**search), limit)
    rows = [(one.seq, one.at[:19], one.kind, one.subject, doer(one), where(one)) for one in events]
    shown = table("NUMBER", "WHEN (UTC)", "WHAT", "SUBJECT", "WHO", "FROM", rows=rows)
    box.emit([one.model_dump(mode="json") for one in events], shown if rows else "no such event")


@command.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@asked
@pass_box
def export(box: Box, /, file: Path, **search: str | datetime | None) -> None:
    """Write events with their hashes to FILE, a JSON object a line, oldest first; - is standard output."""
    box.require_home()
    count = 0
    with click.open_file(str(file), "w", encoding="utf-8", atomic=str(file) != "-") as out:
        for event in whole(open_ledger(box.home), Search.model_validate(search)):
            out.write(event.model_dump_json() + "\n")
            count += 1
            if count % 20_000 == 0 and sys.stderr.isatty():
                box.say(f"{count} events …")
    if str(file) != "-":
        box.emit({"events": count, "file": str(file)}, f"{count} events are in {file}")


@command.command()
@pass_box
def verify(box: Box) -> None:
    """Walk the whole hash chain and compare it with the anchor kept outside the database."""
    box.require_home()
    seen = verify_home(open_ledger(box.home), box.home)
    if not seen.ok:
        raise VerificationFailed(f"the audit chain is broken: {seen.problem}", "compare the ledger with a backup")
    box.emit(seen.model_dump(), f"{seen.events} events, chain unbroken up to {seen.tip[:16]}, {seen.anchored} anchored")
