"""`appliance model admit`: try a model against its real engine, and let it do what it proved it can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from appliance.cli.context import Box, pass_box
from appliance.cli.exercises import exercises
from appliance.engines_client import EnginesClient
from appliance.errors import Conflict, Unavailable, UsageError, VerificationFailed
from models.admission import admit
from models.card import TASKS, Card
from models.registry import Registry
from models.score import Score
from models.talk import Talk


@click.command("admit")
@click.argument("name")
@click.option("--task", "tasks", multiple=True, type=click.Choice(TASKS), help="Only for this task; may be repeated.")
@click.option("--force", is_flag=True, help="Give the tasks named with --task on your word, without a trial.")
@pass_box
def command(box: Box, name: str, tasks: tuple[str, ...], force: bool) -> None:
    """Try a model in earnest and give it the tasks whose checks it passes. Loads it first when it is not loaded."""
    registry = Registry(box.home.models)
    card = registry.find(name)
    if force:
        _on_your_word(box, registry, card, tasks)
        return
    score = _tried(box, card, tasks)
    now = registry.get(card.id)  # a task or an alias may have come meanwhile
    if now.sha256 != card.sha256:
        raise Conflict(f"{card.id} was replaced by other weights while it was tried", "try it again")
    admitted = registry.update(now.scored(score))
    box.emit(admitted.model_dump(mode="json"), in_words(admitted))
    if failed := [task for task in tasks if task not in score.tasks]:
        why = "; ".join(f"{check.name}: {check.said}" for check in score.failed()[:3])
        raise VerificationFailed(
            f"{card.id} is not admitted for {', '.join(failed)} ({why})",
            f"`appliance model show {card.id}` has all checks; --force gives a task on your word",
        )


def in_words(card: Card) -> str:
    """What a card says of its admission, for people."""
    score = card.score
    if score is None:
        return f"not tried yet: `appliance model admit {card.id}`"
    stale = "" if score.digest == card.digest else " (of other weights)"
    head = f"tried {score.at:%Y-%m-%d %H:%M} UTC with {score.engine}, {score.context_tokens} tokens a request{stale}"
    checks = [f"  {'passed' if check.passed else 'FAILED'}  {check.name:<12} {check.said}" for check in score.checks]
    return "\n".join([head, *checks, f"  {_speeds(score)}", f"it may do: {', '.join(card.tasks) or 'nothing yet'}"])


def _speeds(score: Score) -> str:
    parts = (
        ("first token after {:.2f} s", score.first_token_seconds), ("writes {:.1f} tokens/s", score.tokens_per_second),
        ("reads {:.0f} tokens/s", score.prompt_tokens_per_second),
    )  # fmt: skip
    return ", ".join(text.format(value) for text, value in parts if value is not None) or "no speeds measured"


def _on_your_word(box: Box, registry: Registry, card: Card, tasks: tuple[str, ...]) -> None:
    if not tasks:
        raise UsageError("--force needs the tasks it gives", "name them with --task")
    by_person = card.tasks if card.tasks_by_person is None else card.tasks_by_person
    given = registry.update(card.given([*by_person, *tasks]))
    box.emit(given.model_dump(mode="json"), f"{card.id} may do: {', '.join(given.tasks)} (on your word)")


def _tried(box: Box, card: Card, tasks: tuple[str, ...]) -> Score:
    """The score, from the engine's own address; what was not loaded before is not loaded afterwards."""
    client = EnginesClient(box.home)
    served = card.base or card.id  # an adapter comes and goes with its base
    before = any(row["model"] == served and row["engine"] for row in client.engines())
    # Pinned, so that calls for other models do not make it leave half-way.
    pinned = any(row["model"] == served and row.get("pinned") for row in client.engines())
    row = client.load(card.id, again=True, pin=True)
    try:
        row = client.wait_ready(card.id, row["start_seconds"] + 5, box.say)
        name, authority = row.get("served_as") or card.id, row.get("ca_file") or ""
        talk = Talk(row["url"], _key(row), name, row["context_tokens"], authority)
        try:
            return admit(talk, card, tasks, exercises(), row["engine"], box.say)
        finally:
            talk.close()
    finally:
        if before:
            client.load(served, pin=pinned)
        else:
            client.unload(served)


def _key(row: dict[str, Any]) -> str:
    file = row.get("api_key_file")
    try:
        return Path(file).read_text(encoding="utf-8").strip() if file else ""
    except OSError as error:
        raise Unavailable(f"the engine's key cannot be read: {error.strerror}", "load the model again") from error
