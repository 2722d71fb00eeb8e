"""`appliance model`: the models of the box."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from appliance.cli import admit, fit, remote
from appliance.cli.context import Box, pass_box, table
from appliance.cli.route import readable
from appliance.engines_client import EnginesClient
from appliance.errors import Conflict, Unavailable, VerificationFailed
from inference.engines.server import kinds
from inference.engines.showing import Showing
from models.card import TASKS, Card
from models.importing import Imported, import_model
from models.registry import BytesDone, Registry, quiet

NOT_SHOWN = frozenset({"model", "api_key_file", "use", "log"})
"""Of an engine's row: its name is above already, keys are nobody's business, the others have lines of their own."""
OUTCOMES = {
    "added": "imported",
    "updated": "was here already; its card is updated",
    "unchanged": "is here already; nothing changed",
}
LEAVE_SECONDS = 40.0
"""For others to finish their answers and leave."""


@click.group("model")
def command() -> None:
    """Models: what the box has, what they may do, and what is loaded."""


command.add_command(admit.command)
command.add_command(remote.command)


@command.command("list")
@pass_box
def list_models(box: Box) -> None:
    """All models, with the state of those that are loaded."""
    told = _showing(box).models(_loaded(box))
    rows = told["models"]
    for problem in told["problems"]:
        box.say(f"not listed: {problem}")
    for copied in told["unfinished"]:
        box.say(f"unfinished: an import with {copied / 1e6:,.0f} MB copied; the same import goes on with it")
    shown = table(
        "MODEL", "TASKS", "SIZE", "QUANT", "CONTEXT", "LICENCE", "STATE",
        rows=[
            (row["id"], ", ".join(row["tasks"]), f"{row['size_bytes'] / 1e6:,.0f} MB", row["quantisation"],
             row["context_tokens"], row["licence"], row["state"])
            for row in rows
        ],
    )  # fmt: skip
    box.emit(rows, shown if rows else "no models; `appliance model import PATH` adds one")


@command.command("show")
@click.argument("name")
@pass_box
def show_model(box: Box, name: str) -> None:
    """One model's card, its engine when it is loaded, the memory it needs, and what would fit."""
    card = Registry(box.home.models).find(name)
    data = _showing(box).model(card.id, _loaded(box))
    engine = data["engine"]
    look = EnginesClient(box.home).look(card.id) if engine and engine["engine"] else {}
    engine = look or engine
    data |= {"engine": engine}
    flat = {key: value for key, value in data.items() if key not in ("engine", "files", "score", "fit")}
    flat["files"] = [f"{part.name} ({part.size_bytes / 1e6:,.1f} MB)" for part in card.parts]
    flat["score"] = admit.in_words(card)
    if engine:
        flat |= {f"engine {key}": value for key, value in engine.items() if key not in NOT_SHOWN and value}
    lines = [f"{key:<18} {_in_words(value)}" for key, value in flat.items()]
    box.emit(data, "\n".join([*lines, *fit.in_words(data["fit"]), *_taken(look)]))


def _taken(look: dict[str, Any]) -> list[str]:
    """What a loaded model's engine takes now, and the end of its log."""
    if not look:
        return []
    use, gpus = look["use"], sum(look["use"]["gpu_bytes"].values())
    takes = f"{use['ram_bytes'] / 1e6:,.0f} MB of RAM, {use['cores']:g} cores"
    return [
        f"takes now: {takes}" + (f", {gpus / 1e6:,.0f} MB on GPUs" if gpus else ""),
        *(["the end of its log:"] if look["log"] else []),
        *(f"  {line}" for line in look["log"]),
    ]


@command.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--id", "id", default="", help="Name of the model (default: from the file's name).")
@click.option("--licence", default="", help="Licence of the weights, as SPDX names it.")
@click.option("--task", "tasks", multiple=True, type=click.Choice(TASKS), help="What it may do; may be repeated.")
@click.option("--alias", "aliases", multiple=True, help="Another name for it; may be repeated.")
@click.option("--base", default="", help="The model that a LoRA adapter belongs to.")
@click.option("--progress", "told", is_flag=True, help="With --json: a line {done, total} in bytes after each 64 MiB.")
@pass_box
def import_command(
    box: Box, path: Path, id: str, licence: str, tasks: tuple[str, ...], aliases: tuple[str, ...], base: str, told: bool
) -> None:
    """Copy a model into the box after checking it: a GGUF file, a split one, or a folder with safetensors.

    Safe to run again: an import that was interrupted goes on where it stopped.
    """
    box.require_home()
    with _progress(box, f"importing {path.name}", told) as report:
        done = import_model(path, Registry(box.home.models), id, licence, tasks, aliases, report, base)
    for line in () if box.as_json else _remarks(done):
        box.say(line)
    may = ", ".join(done.card.tasks) or f"nothing yet (`appliance model admit {done.card.id}` tries it)"
    box.emit(
        {
            **_as_json(done.card), "outcome": done.outcome, "left_out": done.left_out,
            "resumed_bytes": done.resumed_bytes, "unconfined": done.unconfined,
        },
        f"{done.card.id} {OUTCOMES[done.outcome]} (SHA-256 {done.card.digest}…); it may do: {may}",
    )  # fmt: skip


def _remarks(done: Imported) -> Iterator[str]:
    """What a person should know about an import besides its end."""
    if done.resumed_bytes:
        yield f"{done.resumed_bytes / 1e6:,.0f} MB were copied before and are used"
    if done.left_out:
        more = f" and {len(done.left_out) - 8} more" if len(done.left_out) > 8 else ""
        yield f"not needed and left out: {', '.join(done.left_out[:8])}{more}"
    if done.unconfined:
        yield f"the formats were looked at without: {', '.join(done.unconfined)} (this machine does not offer it)"


@command.command("verify")
@click.argument("name", required=False)
@pass_box
def verify(box: Box, name: str | None) -> None:
    """Compare the weights of one model, or of all, with their cards."""
    registry = Registry(box.home.models)
    cards = (registry.find(name),) if name else registry.list()
    problems = [] if name else list(registry.problems())
    sound: list[Card] = []
    for card in cards:
        try:
            with _progress(box, f"verifying {card.id}") as report:
                sound.append(registry.verify(card.id, report))
        except VerificationFailed as error:
            problems.append(error.message)
    lines = [f"{card.id}: sound (SHA-256 {card.sha256})" for card in sound]
    data = [{"id": card.id, "sha256": card.sha256, "verified": True} for card in sound]
    if sound or not problems:
        box.emit(data, "\n".join(lines) or "no models to verify")
    if problems:
        raise VerificationFailed("; ".join(problems), "`appliance model remove` them and import them again")


@command.command("remove")
@click.argument("name")
@click.option("--force", is_flag=True, help="Unload it first when it is loaded; remove it though a rule names it.")
@pass_box
def remove(box: Box, name: str, force: bool) -> None:
    """Remove a model and its weights."""
    registry = Registry(box.home.models)
    card = registry.find(name)
    if adapters := [other.id for other in registry.list() if other.base == card.id]:
        raise Conflict(f"{card.id} is the base of {', '.join(adapters)}", "remove these first")
    if (named := _rules_naming(box, card)) and not force:
        raise Conflict(
            f"the rules of {box.home.routes_file} name {card.id}: {', '.join(named)}",
            "take it out there first (a gateway refuses rules with unknown models), or say --force",
        )
    # An engine that is between two starts has no process, yet its weights are needed; a refused preload has no engine.
    if any(row["model"] == card.id and row["engine"] for row in _loaded(box)):
        if not force:
            first = f"`appliance model unload {card.base or card.id}` first"
            raise Conflict(f"{card.id} is loaded", f"{first}, or say --force")
        if not card.base:  # the engine of an adapter goes on with its base and the others, and it is served no more
            EnginesClient(box.home).unload(card.id)
    registry.remove(card.id)
    box.emit({"id": card.id, "removed": True}, f"{card.id} is removed")


def _rules_naming(box: Box, card: Card) -> list[str]:
    """The site's own routing rules that name a model."""
    rules = readable(box) if box.home.routes_file.exists() else ()
    return [rule.name for rule in rules if {card.id, *card.aliases} & {*rule.candidates, *rule.fallback}]


@command.command("load")
@click.argument("name")
@click.option("--context", "context_tokens", type=click.IntRange(1), default=None, help="Tokens of each request.")
@click.option("--slots", type=click.IntRange(1), default=None, help="Requests at once.")
@click.option("--pin/--no-pin", default=None, help="Whether it stays when others need its place.")
@pass_box
def load(box: Box, name: str, context_tokens: int | None, slots: int | None, pin: bool | None) -> None:
    """Serve a model, and wait until it has produced its first token. Others leave when there is no room beside them."""
    card = Registry(box.home.models).find(name)
    client = EnginesClient(box.home)
    row = client.load(card.id, again=True, context_tokens=context_tokens or 0, slots=slots or 0, pin=pin)
    row = client.wait_ready(card.id, row["start_seconds"] + LEAVE_SECONDS, box.say)
    pinned = ", pinned" if row["pinned"] else ""
    if row["context_tokens"] < (context_tokens or 0):
        box.say(f"note: {card.id} was made for {row['context_tokens']} tokens at most")
    box.emit(row, f"{card.id} is ready ({row['slots']} requests at once, {row['context_tokens']} tokens each{pinned})")


@command.command("unload")
@click.argument("name")
@pass_box
def unload(box: Box, name: str) -> None:
    """Stop serving a model; answers in flight are finished first, for up to half a minute."""
    row = EnginesClient(box.home).unload(name)
    box.emit(row, f"{row['model']} is being unloaded")


def _loaded(box: Box) -> list[dict[str, Any]]:
    """What the engines process serves; nothing when it does not run."""
    try:
        return EnginesClient(box.home, timeout=5.0).engines()
    except Unavailable:
        return []


def _showing(box: Box) -> Showing:
    return Showing(box.home, box.settings, kinds(box.settings))


def _as_json(card: Card) -> dict[str, Any]:
    return card.model_dump(mode="json")


def _in_words(value: Any) -> str:
    return ", ".join(map(str, value)) or "-" if isinstance(value, list) else str(value)


@contextmanager
def _progress(box: Box, what: str, told: bool = False) -> Iterator[BytesDone]:
    """A bar on a terminal, a line each tenth elsewhere; with --json nothing, or JSON if that was asked for."""
    if box.as_json:
        yield (lambda done, total: box.say(json.dumps({"done": done, "total": total}))) if told else quiet
    elif not sys.stderr.isatty():
        yield _by_tenths(box.say, what)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task(what, total=None)

            def report(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            yield report


def _by_tenths(say: Callable[[str], None], what: str) -> BytesDone:
    told = -1

    def report(done: int, total: int) -> None:
        nonlocal told
        tenth = 10 * done // total if total else 10
        if tenth > told:
            told = tenth
            say(f"{what}: {10 * tenth} %")

    return report
