"""`appliance signal import`: a table of feedback, each row a signal, all or none."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path

import click

from appliance.cli.context import Box, pass_box
from appliance.errors import LimitExceeded, UsageError
from appliance.intake import generic, rows
from appliance.intake.rows import Import
from appliance.ledger import Ledger, open_ledger

MIB = 1024 * 1024
STEP = 100
"""Signals between two lines of progress."""


@click.command(name="import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--repo", required=True, help="Repository it is about.")
@click.option(
    "--mapping", "places", multiple=True, metavar="FIELD=COLUMN",
    help="Where a field is, or FIELD==words; say it again for further columns, tried in order.",
)  # fmt: skip
@click.option("--encoding", default="", help="Left out: found.")
@click.option("--delimiter", default="", help="Left out: found.")
@click.option("--keys", "prefix", default="", help="Put before each row's key, where several files count alike.")
@click.option("--dry-run", is_flag=True, help="Show what would be filed; nothing is.")
@click.option("--skip-bad", is_flag=True, help="File the rows that make sense, and list the others.")
@pass_box
def command(
    box: Box, file: Path, repo: str, places: tuple[str, ...], encoding: str, delimiter: str, prefix: str, dry_run: bool,
    skip_bad: bool,
) -> None:  # fmt: skip
    """File each row of a CSV file as a signal. A row is filed once, however often the file is imported."""
    box.require_home()
    ledger = open_ledger(box.home)
    ledger.repository(repo)
    raw = _content(file, box.settings.intake.max_mb)
    delimiter = "\t" if delimiter in ("\\t", "tab") else delimiter
    sheet = rows.read(raw, generic.places_of(places), encoding, delimiter, prefix)
    found = rows.compared(sheet, ledger.signals_of_keys(repo, [row.report.key for row in sheet.rows]))
    if dry_run:
        box.emit(found.as_data(()), lambda: "\n".join(_told(found, ())))
        return
    found.checked(skip_bad)
    filed = list(_file(box, ledger, repo, found))
    box.emit(found.as_data(filed), lambda: "\n".join(_told(found, filed)))


def _content(file: Path, most_mb: int) -> bytes:
    try:
        with click.open_file(str(file), "rb") as opened:
            raw: bytes = opened.read(most_mb * MIB + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror}", "name a readable file, or - for standard input"
        ) from error
    if len(raw) > most_mb * MIB:
        raise LimitExceeded(f"{file} is larger than {most_mb} MiB", "split it, or raise `intake.max_mb`")
    return raw


def _file(box: Box, ledger: Ledger, repo: str, found: Import) -> Iterator[tuple[int, str]]:
    """File what is new; line and signal of each."""
    source = f"csv:{getpass.getuser()}"
    for number, row in enumerate(found.new, 1):
        yield row.line, ledger.receive(row.report.as_signal(repo, source)).id
        if number % STEP == 0 and not box.as_json:
            box.say(f"{number} of {len(found.new)} filed")


def _told(found: Import, filed: tuple[tuple[int, str], ...] | list[tuple[int, str]]) -> Iterator[str]:
    sheet = found.sheet
    guessed = ", which is a guess" if sheet.encoding in ("cp1252", "latin-1") else ""
    yield f"read as {sheet.encoding}{guessed}, divided by {sheet.delimiter!r}: {', '.join(sheet.columns)}"
    yield from (f"line {one.line}: {one.why}" for one in found.bad)
    if not filed:
        yield from (f"line {row.line} would be filed: {row.report.title}" for row in found.new)
    counts = {
        "filed": len(filed), "to be filed": len(found.new) - len(filed), "filed before": len(found.known),
        "said twice": sheet.repeated, "over by its own words": sheet.over, "bad": len(found.bad),
    }  # fmt: skip
    yield ", ".join(f"{count} {words}" for words, count in counts.items() if count) or "no rows"
