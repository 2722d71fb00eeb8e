"""`appliance learn replay` and `learn tasks`: which model is better on this site's own tasks."""

from __future__ import annotations

from typing import Any

import click

from appliance.cli.context import Box, pass_box
from appliance.errors import UsageError
from appliance.ledger import Ledger, open_ledger


@click.command()
@click.option("--model", "one", required=True, help="A model's id, `search`, or `auto` for what the router chooses.")
@click.option("--vs", "other", default="", help="Whom to compare it with; `earlier` means its own earlier results.")
@click.option("--repo", default="", help="Only this repository's tasks.")
@click.option("--tasks", "count", type=click.IntRange(min=1), default=20, help="Tasks of each repository.")
@click.option("--seed", type=int, default=1, help="Decides which slips are seeded when the set is made.")
@pass_box
def replay(box: Box, one: str, other: str, repo: str, count: int, seed: int) -> None:
    """Let a model, or search, try the fixed tasks, and say whether it is better than another. Nothing is shipped.

    Each result is kept as it ends; the same call goes on where a killed one stopped.
    """
    from appliance.line.replay.run import grounds, tasks_of
    from appliance.line.replay.run import replay as go

    if one == other:
        raise UsageError("a contender cannot be compared with itself", "name another with --vs, or `earlier`")
    box.require_home()
    ledger = open_ledger(box.home)
    found: list[dict[str, Any]] = []
    with grounds(box.home, box.settings, lambda _: None) as every:
        for name in named(ledger, repo):
            ground = every.of(ledger, name)
            box.say(f"{name}: its fixed set of tasks")
            tasks = tasks_of(ledger, ground, count, seed).tasks[:count]
            found.append(go(ledger, ground, tasks, [one, *([other] if other else [])], box.say))
    box.emit(found, lambda: "\n".join(line for figures in found for line in in_words(figures)))


@click.command()
@click.option("--repo", default="", help="Only this repository's.")
@click.option("--renew", is_flag=True, help="Make the set anew; results so far stay with the old one.")
@click.option("--tasks", "count", type=click.IntRange(min=1), default=20, help="Tasks of each set that is made.")
@click.option("--seed", type=int, default=1, help="Decides which slips are seeded.")
@pass_box
def tasks(box: Box, repo: str, renew: bool, count: int, seed: int) -> None:
    """List the fixed tasks of each repository, why each is in, and why others are not. Makes a set where none is."""
    from appliance.line.replay.run import grounds, tasks_of

    box.require_home()
    ledger = open_ledger(box.home)
    sets = []
    with grounds(box.home, box.settings, box.say) as every:
        for name in named(ledger, repo):
            sets.append(tasks_of(ledger, every.of(ledger, name), count, seed, renew))
    data = [one.model_dump(mode="json") for one in sets]
    box.emit(data, lambda: "\n".join(line for one in data for line in listed(one)))


def named(ledger: Ledger, repo: str) -> list[str]:
    """The repositories meant. Raises NotFound."""
    return [ledger.repository(repo).name] if repo else [one.name for one in ledger.repositories()]


def listed(one: dict[str, Any]) -> list[str]:
    """A set for people."""
    lines = [f"{one['repo']}: {len(one['tasks'])} tasks, made at {one['base'][:12]} with seed {one['seed']}"]
    lines += [f"  {task['id']:<14} {task['why']}" for task in one["tasks"]]
    return [*lines, *(f"  not in: {left['what']}: {left['why']}" for left in one["left"])]


def in_words(figures: dict[str, Any]) -> list[str]:
    """A replay's figures for people."""
    from appliance.line.replay.scores import in_words as told

    lines = [f"{figures['repo']}, run {figures['run']}"]
    lines += [line for one in figures["contenders"] for line in told(one)]
    return [*lines, figures["comparison"]["words"]] if "comparison" in figures else lines
