"""`appliance signal deliveries|delivery|replay`: messages from outside, what came of them, and once more."""

from __future__ import annotations

import json

import click

from appliance.cli import refusals
from appliance.cli.context import Box, pass_box, table
from appliance.intake.shown import Shown, as_data, shown
from appliance.ledger import open_ledger
from appliance.news import Delivery, DeliveryState


@click.command()
@click.option("--repo", default="", help="Only those for this repository.")
@click.option("--state", type=click.Choice([str(state) for state in DeliveryState]), help="Only those in this state.")
@pass_box
def deliveries(box: Box, repo: str, state: str | None) -> None:
    """List messages from outside, newest first, what came of each, and how many the console turned away."""
    box.require_home()
    rows = open_ledger(box.home).deliveries.list(repo, DeliveryState(state) if state else None)
    refused = refusals.turned_away(box.home, repo)
    if box.as_json:
        box.emit({"deliveries": [row.model_dump(mode="json") for row in rows], "turned_away": refused})
        return
    columns = ("number", "source", "event", "repo", "state", "why")
    box.emit(None, table(*columns, rows=[tuple(getattr(one, name) for name in columns) for one in rows]))
    box.emit(None, "\n".join(refusals.in_words(refused)))


@click.command()
@click.argument("number", type=click.IntRange(1))
@pass_box
def show(box: Box, number: int) -> None:
    """Show one message from outside: what came of it and why, what it is read as, and what was sent."""
    box.require_home()
    ledger = open_ledger(box.home)
    delivery = ledger.deliveries.get(number)
    seen = shown(delivery, ledger.deliveries.raw(number), ledger.deliveries.mapping(delivery))
    box.emit(as_data(delivery, seen), lambda: _in_words(delivery, seen))


@click.command()
@click.argument("number", type=click.IntRange(1))
@pass_box
def replay(box: Box, number: int) -> None:
    """Let the line work on a message once more. What it led to already is not made a second time."""
    box.require_home()
    again = open_ledger(box.home).deliveries.again(number)
    box.emit(again.model_dump(mode="json"), f"delivery {number} waits for the line again")


def _in_words(delivery: Delivery, seen: Shown) -> str:
    told = [dict(one) for one in seen.told]
    lines = [
        f"delivery {delivery.number}: {delivery.source} {delivery.event}, for {delivery.repo or 'no repository'}",
        f"came {delivery.received:%Y-%m-%d %H:%M:%S}, {delivery.size} bytes, named {delivery.id}",
        f"{delivery.state}: {delivery.why or 'the line has not worked on it yet'}",
        *(f"led to {one}" for one in (delivery.signal, delivery.item) if one),
        *(f"{name}: {value}" for name, value in delivery.headers.items()),
        f"cannot be read: {seen.problem}" if seen.problem else f"read as: {json.dumps(told, ensure_ascii=False)}",
        "", seen.text if seen.kept else "(its bytes are not kept)",
    ]  # fmt: skip
    return "\n".join([*lines, "(the rest is left out)"] if seen.cut else lines)
