"""`appliance learn replay` and `learn tasks`: which model is better on this site's own tasks."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click

from appliance.cli.context import Box, pass_box
from appliance.door import PR_SET_PDEATHSIG
from appliance.errors import UsageError
from appliance.ledger import Ledger, open_ledger


@click.command()
@click.option("--model", "one", default="", help="A model's id, `search`, or `auto` for what the router chooses.")
@click.option("--vs", "other", default="", help="Whom to compare it with; `earlier` means its own earlier results.")
@click.option("--repo", default="", help="Only this repository's tasks.")
@click.option("--tasks", "count", type=click.IntRange(min=1), default=20, help="Tasks of each repository.")
@click.option("--seed", type=int, default=1, help="Decides which slips are seeded when the set is made.")
@click.option("--list", "listing", is_flag=True, help="Only list the runs so far, and what each has shown.")
@click.option("--due", "when_due", is_flag=True, help="Replay what is due: models, rules or policy have changed.")
@click.option("--background", is_flag=True, hidden=True, help="For the line: behind everything else, and end with it.")
@pass_box
def replay(
    box: Box, one: str, other: str, repo: str, count: int, seed: int, listing: bool, when_due: bool, background: bool
) -> None:
    """Let a model, or search, try the fixed tasks, and say whether it is better than another. Nothing is shipped.

    Each result is kept as it ends; the same call goes on where a killed one stopped.
    """
    if bool(one) + listing + when_due != 1:
        raise UsageError("say either whom to replay, --due or --list", "`appliance learn replay --model auto`")
    if one == other and one:
        raise UsageError("a contender cannot be compared with itself", "name another with --vs, or `earlier`")
    box.require_home()
    ledger = open_ledger(box.home)
    repos = named(ledger, repo)
    if listing:
        runs = {name: runs_of(ledger, name) for name in repos}
        box.emit(runs, lambda: "\n".join(line for name in runs for line in runs_in_words(name, runs[name])))
        return
    if background:
        stand_back()
    found = due_now(box, ledger, repos, seed) if when_due else tried(box, ledger, repos, (one, other), count, seed)
    box.emit(found, lambda: "\n".join(line for figures in found for line in in_words(figures)))


def tried(
    box: Box, ledger: Ledger, repos: Sequence[str], pair: tuple[str, str], count: int, seed: int
) -> list[dict[str, Any]]:
    """What a replay of one contender, or two, shows in each repository."""
    from appliance.line.replay.run import grounds, tasks_of
    from appliance.line.replay.run import replay as go

    found, contenders = [], [name for name in pair if name]
    with grounds(box.home, box.settings, lambda _: None) as every:
        every.require(contenders)
        for name in repos:
            ground = every.of(ledger, name)
            box.say(f"{name}: its fixed set of tasks")
            tasks = tasks_of(ledger, replace(ground, progress=box.say), count, seed).tasks[:count]
            found.append(go(ledger, ground, tasks, contenders, box.say, every.setup(ground, contenders)))
    return found


def due_now(box: Box, ledger: Ledger, repos: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """What the replays that are due show."""
    from appliance.line.replay.run import grounds
    from appliance.line.replay.scheduled import may_be_due, replay_due

    learning = box.settings.learning
    rested = may_be_due(ledger, repos, datetime.now(UTC), learning.replay_days)
    for name in repos:
        if name not in rested:
            box.say(f"{name}: replayed, or added, less than {learning.replay_days:g} days ago (learning.replay_days)")
    if not rested:
        return []
    with grounds(box.home, box.settings, lambda _: None) as every:
        return list(replay_due(ledger, every, rested, learning.replay_tasks, seed, box.say))


def stand_back() -> None:
    """Let everything else go first, and end with the process that began this one, however that ends."""
    os.nice(19)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def runs_of(ledger: Ledger, repo: str) -> list[dict[str, Any]]:
    """The runs so far, the oldest first."""
    from appliance.line.replay import book

    return [
        {
            "run": run.number, "at": run.at, "contenders": run.contenders, "ended": run.ended, "why": run.why,
            "order": run.setup.order, "tasks": len(run.tasks), "results": len(run.rows), "words": run.words,
            "right": {name: sum(row.selected for row in run.rows if row.contender == name) for name in run.contenders},
        }
        for run in book.read(ledger, repo).runs
    ]  # fmt: skip


def runs_in_words(repo: str, runs: Sequence[dict[str, Any]]) -> list[str]:
    """The same for people."""
    lines = [f"{repo}: {len(runs)} runs"]
    for run in runs:
        right = ", ".join(f"{name} {count} of {run['tasks']}" for name, count in run["right"].items())
        when = run["at"].strftime("%Y-%m-%d %H:%M") if run["at"] else ""
        cut = "" if run["ended"] else f"; cut off after {run['results']} results"
        lines.append(f"  {run['run']:>3} {when} right: {right}{cut}{'; because ' + run['why'] if run['why'] else ''}")
        lines += [f"      {run['words']}"] if run["words"] else []
    return lines


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
