"""What every command gets: the home, its settings, and one way to print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from appliance.backup.binding import check_whole
from appliance.config import Home, load
from appliance.errors import NotFound
from appliance.settings import Settings

WIDE = 1000
"""Columns of a table that no terminal shows: a pipe or a file gets every cell whole, on one line."""


class Box:
    """One call's surroundings. Settings are read when first needed, so that `--help` works on a broken box."""

    def __init__(self, home: Home, as_json: bool, debug: bool) -> None:
        self.home = home
        self.as_json = as_json
        self.debug = debug

    @cached_property
    def settings(self) -> Settings:
        """Raises ConfigError with all problems named."""
        return load(self.home.settings_file)

    def require_home(self) -> None:
        """Raises NotFound when the home has not been set up, VerificationFailed when it is half restored."""
        check_whole(self.home)
        if not self.home.settings_file.exists():
            raise NotFound(
                f"there is no appliance in {self.home.root}", "run `appliance init`, or name the home with --home"
            )

    def emit(self, data: Any, text: str | Table | Callable[[], str] = "") -> None:
        """Print `data` as JSON with --json, else `text` (a string, a rich table, or a function making a string)."""
        if self.as_json:
            click.echo(json.dumps(data, indent=2, default=str, ensure_ascii=False))
        elif isinstance(text, Table):
            Console(width=None if sys.stdout.isatty() else WIDE).print(text)
        else:
            click.echo(text() if callable(text) else text)

    def say(self, line: str) -> None:
        """One line of progress, on standard error so that it never mixes with the result."""
        click.echo(line, err=True)
        sys.stderr.flush()


pass_box = click.make_pass_decorator(Box)


def table(*columns: str, rows: list[tuple[Any, ...]]) -> Table:
    """A plain table for people."""
    made = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made
