"""`appliance config`: show, check and explain the settings."""

from __future__ import annotations

import getpass
from typing import Any

import click

from appliance.cli.context import Box, pass_box, table
from appliance.config import documented, render, toml_value
from appliance.errors import UsageError
from appliance.ledger import open_ledger
from appliance.ledger.limits import LimitsFile
from appliance.limits import LimitChange


@click.group()
def command() -> None:
    """The box's settings (appliance.toml)."""


@command.command()
@pass_box
def show(box: Box) -> None:
    """Print the settings in force, the environment's overrides included."""
    box.emit(box.settings.model_dump(mode="json"), lambda: render(box.settings))


@command.command()
@pass_box
def check(box: Box) -> None:
    """Check the settings file; all problems are named at once."""
    box.require_home()
    box.emit({"ok": bool(box.settings), "file": str(box.home.settings_file)}, f"{box.home.settings_file} is valid")


@command.command()
@pass_box
def schema(box: Box) -> None:
    """List every setting with its default and meaning."""
    rows = documented()
    box.emit(rows, table("setting", "default", "meaning", rows=[tuple(row.values()) for row in rows]))


@command.command("set")
@click.argument("changes", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.option("--why", required=True, help="The reason, kept with the change.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@pass_box
def set_(box: Box, changes: tuple[str, ...], why: str, dry_run: bool) -> None:
    """LimitChange limits of the box in its settings file: how far it goes alone, what an item may cost.

    They hold from the next stage of an item on, without a restart. The rest of the file stays as it is.
    """
    box.require_home()
    given = dict(_pair(one) for one in changes)
    ledger = open_ledger(box.home)
    try:
        kept = LimitsFile(box.home, ledger)
        found = kept.compare(given)[1] if dry_run else kept.save(given, getpass.getuser(), why)
    finally:
        ledger.close()
    box.emit([one.model_dump() for one in found], "\n".join(map(_told, found)) or "nothing would change")


def _pair(said: str) -> tuple[str, Any]:
    name, sign, text = said.partition("=")
    if not sign:
        raise UsageError(f"{said!r} is no NAME=VALUE", "like autonomy.max_files=5")
    return name.strip(), toml_value(text.strip())


def _told(change: LimitChange) -> str:
    return f"{change.name}: {change.before} → {change.after}{' (looser)' if change.looser else ''}"
