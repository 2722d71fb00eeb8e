"""`appliance repo mapping`: where the fields of a report are in any JSON that senders of a repository send."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.cli.context import Box, pass_box
from appliance.errors import UsageError
from appliance.intake import generic
from appliance.ledger import open_ledger
from appliance.work import TrackedRepository


@click.command()
@click.argument("name")
@click.option(
    "--set", "places", multiple=True, metavar="FIELD=PLACE",
    help="A JSON pointer (/alert/name) or =words; say it again for further places, tried in order.",
)  # fmt: skip
@click.option("--clear", is_flag=True, help="Go back to the usual names.")
@click.option(
    "--try", "payload", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Show what this message would become; nothing is changed.",
)  # fmt: skip
@pass_box
def command(box: Box, name: str, places: tuple[str, ...], clear: bool, payload: Path | None) -> None:
    """Show or set where reports have their title, text and the rest; `--try` shows what a message would become."""
    box.require_home()
    ledger = open_ledger(box.home)
    tracked = ledger.repository(name)
    wanted = generic.places_of(places) if places or clear else tracked.mapping
    generic.check(wanted)
    if payload is not None:
        _show_reports(box, payload, wanted)
        return
    if wanted != tracked.mapping:
        tracked = ledger.change_repository(name, mapping=wanted)
    _show(box, tracked)


def _show(box: Box, tracked: TrackedRepository) -> None:
    places = {field: list(tracked.mapping.get(field, usual)) for field, usual in generic.USUAL.items()}
    lines = [
        f"{field}: {', '.join(found) or '-'}{'' if field in tracked.mapping else ' (usual)'}"
        for field, found in places.items()
    ]
    box.emit({"name": tracked.name, "mapping": dict(tracked.mapping), "in_force": places}, "\n".join(lines))


def _show_reports(box: Box, payload: Path, mapping: generic.Places) -> None:
    try:
        reports = generic.read_any(payload.read_bytes(), mapping)
    except OSError as error:
        raise UsageError(f"cannot read {payload}: {error.strerror}", "name a readable file") from error
    shown = [one.model_dump(mode="json", exclude={"at", "what"}) for one in reports]
    text = "\n\n".join("\n".join(f"{field}: {value}" for field, value in one.items()) for one in shown)
    box.emit(shown, text or "it tells nothing")
