"""`appliance item plan` and `item take`: what a person changes in a plan, or makes instead of the line."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from pydantic import ValidationError

from appliance.by_hand import LONGEST_PATCH, Editable, as_text, editable
from appliance.cli.context import Box, pass_box
from appliance.errors import Conflict, UsageError
from appliance.ledger import Ledger, open_ledger
from appliance.limits import Limits
from appliance.line.commands import decide
from appliance.mirror.mirror import Mirror
from appliance.work import NewTest, State, WorkItem
from control.by_hand import base_of, handed_in, plan_edit, told


@click.command("plan")
@click.argument("id")
@click.option("--set", "given", multiple=True, metavar="FIELD=VALUE",
              help="acceptance, files or notes; say it again for a list, FIELD= empties it.")  # fmt: skip
@click.option("--test", "tests", multiple=True, metavar="PATH=FILE", help="A test to ship with the change, from FILE.")
@click.option("--drop-test", "dropped", multiple=True, metavar="PATH", help="Leave out a test that the plan brings.")
@click.option("--why", default="", help="The reason; it becomes part of the record.")
@pass_box
def plan(box: Box, id: str, given: tuple[str, ...], tests: tuple[str, ...], dropped: tuple[str, ...], why: str) -> None:
    """Show an item's plan, or change it: the line plans and builds anew from it."""
    box.require_home()
    ledger = open_ledger(box.home)
    item = ledger.item(id)
    now = editable(item.plan)
    if not (given or tests or dropped):
        box.emit({**now.model_dump(mode="json"), "by": item.plan.by if item.plan else ""}, as_text(now).rstrip())
        return
    after = changed(now, given, tests, dropped)
    protected = Limits(box.home.settings_file, box.settings).now().autonomy.protected_paths
    edit, problems = plan_edit(item, after, why, _mirror(box, ledger, item), protected)
    if edit is None:
        raise UsageError("; ".join(problems), "mend what is named; nothing is changed")
    number = ledger.command(id, "plan", getpass.getuser(), edit.model_dump_json())
    box.emit({"command": number, "item": id}, f"the plan is noted for {id}; the line plans and builds anew from it")


def changed(now: Editable, given: Sequence[str], tests: Sequence[str], dropped: Sequence[str]) -> Editable:
    """The plan with what the options say. Raises UsageError."""
    fields: dict[str, list[str]] = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or name not in ("acceptance", "files", "notes"):
            raise UsageError(f"--set cannot be {one!r}", "acceptance=TEST, files=PATH or notes=WORDS")
        fields.setdefault(name, []).extend([value] if value.strip() else [])
    brought = {test.path: test for test in now.tests if test.path not in dropped}
    for one in tests:
        path, sign, file = one.partition("=")
        if not sign:
            raise UsageError(f"--test cannot be {one!r}", "PATH=FILE: where it goes in the repository, and its text")
        content = _read(Path(file), 10 * LONGEST_PATCH).decode("utf-8", "replace")
        brought[path] = NewTest(path=path, content=content, origin=f"written by {getpass.getuser()}")
    try:
        return Editable(
            acceptance=tuple(fields.get("acceptance", now.acceptance)), files=tuple(fields.get("files", now.files)),
            tests=tuple(brought.values()), notes="\n".join(fields["notes"]) if "notes" in fields else now.notes,
        )  # fmt: skip
    except ValidationError as error:
        raise UsageError("; ".join(told(error)), "shorten it") from error


@click.command("take")
@click.argument("id")
@click.option("--patch", type=click.Path(dir_okay=False, path_type=Path),
              help="Hand in what you made, from git diff or git format-patch; - reads standard input.")  # fmt: skip
@click.option("--back", is_flag=True, help="Give the item back to the line.")
@click.option("--author", default="", metavar='"NAME <ADDRESS>"', help="Left out: as the patch says, else you.")
@click.option("--message", default="", help="Of the commit. Left out: as the patch says, else the item's title.")
@click.option("--why", default="", help="Why it is right.")
@pass_box
def take(box: Box, id: str, patch: Path | None, back: bool, author: str, message: str, why: str) -> None:
    """Make the change of an item by hand: take it over, hand a patch in, or give it back."""
    box.require_home()
    if patch and back:
        raise UsageError("--patch and --back do not go together", "say one of them")
    ledger, by = open_ledger(box.home), getpass.getuser()
    item = ledger.item(id)
    if patch is None:
        _noted(box, ledger, item, "give_back" if back else "take", by)
        return
    mirror, raw = _mirror(box, ledger, item), _read(patch, LONGEST_PATCH + 1)
    own = f"{by} <{by}@{box.settings.mirror.author_email.rpartition('@')[2]}>"
    handed = handed_in(item, raw, by, mirror, own, author=author, message=message, why=why)
    number = ledger.command(id, "hand_in", by, handed.model_dump_json())
    box.emit(
        {"command": number, "item": id, "base": handed.base, "files": handed.files, "author": handed.author},
        f"the patch fits on {handed.base[:12]} and is noted for {id}; the line takes it through the gates",
    )


def _noted(box: Box, ledger: Ledger, item: WorkItem, verb: str, by: str) -> None:
    if item.state is State.NEEDS_HUMAN:  # it stays as it is until somebody says something: what is refused, is so now
        decide(item, verb, by, "")
    elif verb == "give_back" and not item.taken_by:
        raise Conflict(f"nobody has taken {item.id} over", "there is nothing to give back")
    number = ledger.command(item.id, verb, by)
    base = base_of(item, _mirror(box, ledger, item)) if verb == "take" else ""
    how = f"; make the change on {base}, then `appliance item take {item.id} --patch FILE`" if base else ""
    box.emit({"command": number, "item": item.id, "base": base}, f"{verb.replace('_', ' ')} noted for {item.id}{how}")


def _mirror(box: Box, ledger: Ledger, item: WorkItem) -> Mirror:
    return Mirror.of(box.home, ledger.repository(item.repo), box.settings.mirror)


def _read(file: Path, most: int) -> bytes:
    """Raises UsageError."""
    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(most)
        with file.open("rb") as opened:
            return opened.read(most)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", "name a readable file") from error
