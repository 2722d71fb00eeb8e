"""`appliance learn`: the learning store, and building it anew."""

from __future__ import annotations

from typing import Any

import click

from appliance.cli.context import Box, pass_box
from appliance.cli.learn_figures import figures
from appliance.cli.learn_frictions import frictions
from appliance.cli.learn_lessons import lessons
from appliance.cli.learn_policy import promote, report, rollback, train
from appliance.cli.learn_query import export, query
from appliance.cli.replay import replay, tasks
from appliance.errors import UsageError
from appliance.learning.client import LearningClient


@click.group()
def command() -> None:
    """What the box has learned."""


command.add_command(query)
command.add_command(export)
command.add_command(figures)
command.add_command(frictions)
command.add_command(lessons)
command.add_command(replay)
command.add_command(tasks)
for _verb in (report, train, promote, rollback):
    command.add_command(_verb)


@command.command()
@click.option("--repo", default="", help="Only this repository's.")
@click.option("--days", type=click.IntRange(min=0), default=0, help="Only the last N days; 0 means all.")
@pass_box
def status(box: Box, repo: str, days: int) -> None:
    """Show how far the store is, what came of items, and how long each stage takes."""
    box.require_home()
    client = LearningClient(box.home)
    data: dict[str, Any] = {
        "store": client.status(),
        "outcomes": client.query("outcomes", repo=repo, days=days),
        "stage_durations": client.query("stage_durations", repo=repo, days=days),
    }
    box.emit(data, lambda: "\n".join(in_words(data)))


def in_words(data: dict[str, Any]) -> list[str]:
    """The status for people."""
    store = data["store"]
    behind = f", {store['behind']} behind the ledger" if store["behind"] else ""
    lines = [
        f"{store['events']} events{behind}: {store['items']} items, {store['stage_runs']} stage runs, "
        f"{store['attempts']} attempts, {store['verdicts']} verdicts; {store['bytes'] / 2**20:.1f} MiB"
    ]
    if store["only_here"]:
        lines.append(f"files of the spool that a rebuild would miss: {', '.join(store['only_here'])}")
    if store["begun_anew"]:
        lines.append(f"built anew at the last start: {store['begun_anew']}")
    for row in data["outcomes"]:
        by = f" by {row['strategy']}" if row["strategy"] else ""
        alone = f", {row['without_a_person']} without a person" if row["without_a_person"] else ""
        lines.append(f"  {row['repo']}: {row['items']} {row['state']}{by}{alone}")
    for row in data["stage_durations"]:
        lines.append(f"  {row['stage']:<8} {row['runs']} runs, median {row['median']:.2f} s, p95 {row['p95']:.2f} s")
    return lines


@command.command()
@click.option("--yes", is_flag=True, help="Do it without asking.")
@pass_box
def rebuild(box: Box, yes: bool) -> None:
    """Build the store anew from the ledger; the old file is put aside. Nothing is lost by it."""
    box.require_home()
    if not yes and (box.as_json or not click.confirm("build the learning store anew from the ledger?", err=True)):
        raise UsageError("nothing was changed", "say --yes to build the store anew")
    client = LearningClient(box.home)
    found = client.rebuild() if client.answers() else by_itself(box)
    box.emit(found, f"built anew: {found['events']} events, {found['items']} items")


@command.command()
@click.option("--person", required=True, help="The name, as people and forges write it.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@pass_box
def forget(box: Box, person: str, yes: bool) -> None:
    """Put a pseudonym in the place of a person's name, in all that the store tells. The ledger keeps the name."""
    box.require_home()
    if not yes and (box.as_json or not click.confirm(f"forget {person}, and build the store anew?", err=True)):
        raise UsageError("nothing was changed", "say --yes to forget a person")
    client = LearningClient(box.home)
    found = client.forget(person) if client.answers() else by_itself(box, person)
    box.emit(found, f"{person} is {found['pseudonym']} from now on; built anew: {found['events']} events")


def by_itself(box: Box, forget: str = "") -> dict[str, Any]:
    """Rebuild while the box is stopped. DuckDB is loaded only here."""
    from appliance.learning.service import rebuild_stopped

    return rebuild_stopped(box.home, box.settings, forget)
