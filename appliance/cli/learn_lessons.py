"""`appliance learn lessons`: read what the box remembers, and decide what it goes on remembering."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Any

import click
from pydantic import ValidationError

from appliance.cli.context import Box, pass_box, table
from appliance.errors import UsageError
from appliance.ledger import open_ledger
from appliance.lesson import Evidence, Lesson, LessonState, Scope

SCOPE_FIELDS = ("repo", "path", "language", "stage", "role")


@click.group(name="lessons")
def lessons() -> None:
    """What the box remembers of its work."""


@lessons.command(name="list")
@click.option("--repo", default="", help="Only those that may be used in this repository.")
@click.option("--state", type=click.Choice([str(state) for state in LessonState]), help="Only in this state.")
@pass_box
def list_(box: Box, repo: str, state: str | None) -> None:
    """List lessons, newest first."""
    box.require_home()
    ledger = open_ledger(box.home)
    if repo:
        ledger.repository(repo)
    found = ledger.lessons.all(LessonState(state) if state else None, repo)
    rows = [(one.id, one.state, one.scope.in_words(), one.text) for one in found]
    box.emit([one.model_dump(mode="json") for one in found], table("lesson", "state", "where", "text", rows=rows))


@lessons.command()
@click.argument("id")
@pass_box
def show(box: Box, id: str) -> None:
    """Show a lesson: its words, where it holds, what taught it, where it was used and what came of that."""
    box.require_home()
    told = open_ledger(box.home).lessons.whole(id)
    box.emit(told, lambda: "\n".join(in_words(told)))


@lessons.command()
@click.argument("id")
@click.option("--why", default="a person says so", help="Why it is right.")
@pass_box
def confirm(box: Box, id: str, why: str) -> None:
    """Confirm a lesson: from now on it is used wherever its scope reaches."""
    _move(box, id, LessonState.CONFIRMED, why)


@lessons.command()
@click.argument("id")
@click.option("--why", default="a person says so", help="Why it is not wanted.")
@pass_box
def retire(box: Box, id: str, why: str) -> None:
    """Retire a lesson: it is used nowhere any more, and kept."""
    _move(box, id, LessonState.RETIRED, why)


def _scoped(command: Any) -> Any:
    """Give a command one option for each field of a scope."""
    for name in reversed(SCOPE_FIELDS):
        told = f"Where it holds: {Scope.model_fields[name].description}."
        command = click.option(f"--{name}", default=None, help=told)(command)
    return command


@lessons.command()
@click.argument("id")
@click.option("--text", default=None, help="The words instead of those it has.")
@_scoped
@pass_box
def edit(box: Box, /, id: str, text: str | None, **scope: str | None) -> None:
    """Change a lesson's words or where it holds; what is not named stays."""
    box.require_home()
    given = {name: value for name, value in scope.items() if value is not None}
    if text is None and not given:
        raise UsageError("nothing to change", "give --text, or one of --" + ", --".join(SCOPE_FIELDS))
    verbs = open_ledger(box.home).lessons
    try:
        where = Scope.model_validate({**verbs.get(id).scope.model_dump(), **given}) if given else None
        after = verbs.edit(id, getpass.getuser(), text, where)
    except ValidationError as error:
        raise _refused(error) from error
    box.emit(after.model_dump(mode="json"), f"{after.id} ({after.scope.in_words()}): {after.text}")


@lessons.command()
@click.argument("text")
@_scoped
@pass_box
def add(box: Box, /, text: str, **scope: str | None) -> None:
    """Write down a lesson; it counts at once, wherever its scope reaches."""
    box.require_home()
    try:
        where = Scope.model_validate({name: value for name, value in scope.items() if value is not None})
        fresh = Lesson(text=text, scope=where)
    except ValidationError as error:
        raise _refused(error) from error
    kept = open_ledger(box.home).lessons.add(fresh, getpass.getuser())
    box.emit(kept.model_dump(mode="json"), f"{kept.id} ({kept.scope.in_words()}): {kept.text}")


def in_words(told: Mapping[str, Any]) -> list[str]:
    """A lesson, as `show --json` has it, for people."""
    known = Lesson.model_validate({name: told[name] for name in Lesson.model_fields})
    return [
        f"{known.id} {known.state}: {known.text}",
        f"holds for: {known.scope.in_words()}",
        f"{known.state} by {known.by}: {known.why}" if known.why else f"{known.state} by {known.by}",
        f"taught by: {known.source}, learned {known.support} times",
        *(f"  {_evidence(one)}" for one in known.evidence),
        f"effect: {told['effect']['in_words']}",
        f"uses: {len(told['uses'])}",
        *(
            f"  {use['item']} round {use['round']}, {use['stage']}: {use['came_of'] or 'still open'}"
            for use in told["uses"]
        ),
    ]


def _evidence(one: Evidence) -> str:
    return " ".join(part for part in (one.item, one.repo, one.path, one.commit[:12]) if part)


def _move(box: Box, id: str, to: LessonState, why: str) -> None:
    box.require_home()
    after = open_ledger(box.home).lessons.move(id, to, getpass.getuser(), why)
    box.emit(after.model_dump(mode="json"), f"{after.id} is {after.state}: {after.text}")


def _refused(error: ValidationError) -> UsageError:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return UsageError(f"{place}: {first['msg']}", "see `appliance learn lessons add --help`")
