"""`appliance config`: show, check and explain the settings."""

from __future__ import annotations

import click

from appliance.cli.context import Box, pass_box, table
from appliance.config import documented, render


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
