"""`appliance learn query` and `learn export`: the store's tables for the site's own questions and programs."""

from __future__ import annotations

import csv
import io
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from appliance.cli.context import Box, pass_box, table
from appliance.errors import Conflict, UsageError
from appliance.learning.client import LearningClient
from appliance.learning.tables import TABLES


@click.command()
@click.argument("sql", default="")
@click.option("--limit", type=click.IntRange(min=1, max=100_000), default=1000, help="Rows at most.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "arrow"]),
    default="table",
    help="Comma-separated values, or a stream in Arrow's IPC format, instead of a table.",
)
@click.option("--tables", is_flag=True, help="Show tables, columns and types instead.")
@pass_box
def query(box: Box, sql: str, limit: int, form: str, tables: bool) -> None:
    """Ask with one SELECT of your own; it can change nothing and is cut off after 10 s."""
    if tables:
        rows: list[tuple[Any, ...]] = [
            (name, column, kind) for name, columns in TABLES.items() for column, kind in columns.items()
        ]
        box.emit({name: dict(columns) for name, columns in TABLES.items()},
                 table("table", "column", "type", rows=rows))  # fmt: skip
        return
    if not sql:
        raise UsageError("there is no question", "say one SELECT, or --tables to see what can be asked")
    box.require_home()
    client = LearningClient(box.home)
    if form == "arrow":
        if sys.stdout.isatty():
            raise UsageError("a stream in Arrow's format is no text for a terminal", "send it on: > answer.arrows")
        content, more = client.stream(sql, limit)
        sys.stdout.buffer.write(content)
    else:
        found = client.look(sql, limit)
        more = found["more"]
        if form == "csv":
            click.echo(as_lines(found), nl=False)
        else:
            box.emit(found, table(*found["columns"], rows=[tuple(row) for row in found["rows"]]))
    if more:
        box.say(f"there are more than {limit} rows: --limit shows more, `learn export` gives all")


def as_lines(found: dict[str, Any]) -> str:
    """Comma-separated values, with the columns' names first."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerows([found["columns"], *found["rows"]])
    return out.getvalue()


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@pass_box
def export(box: Box, folder: Path) -> None:
    """Write every table into FOLDER as Parquet, all as of one moment."""
    box.require_home()
    there = sorted(name for name in TABLES if (folder / f"{name}.parquet").exists())
    if there:
        raise Conflict(f"{folder} has {there[0]}.parquet already", "name another folder")
    found = LearningClient(box.home).export()
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(Path(found["folder"]).iterdir()):
        shutil.move(file, folder / file.name)
    rows = sum(found["rows"].values())
    box.emit({"folder": str(folder), "rows": found["rows"]},
             f"{rows} rows in {len(found['rows'])} tables written to {folder}")  # fmt: skip
