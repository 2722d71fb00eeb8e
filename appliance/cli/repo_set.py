"""`appliance repo set`: change what is known of a repository, after its server and forge agreed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from appliance.cli import repo_forge, repo_trust
from appliance.cli.context import Box, pass_box
from appliance.errors import UsageError
from appliance.ledger import open_ledger
from appliance.mirror.address import ca_file
from appliance.mirror.mirror import Mirror
from appliance.private import replace_private
from appliance.work import Autonomy

FETCHED = ("branch", "depth", "lfs")
"""A change of these is tried at once, by a fetch."""


@click.command()
@click.argument("name")
@click.option("--branch", help="Branch changes go to.")
@click.option("--autonomy", type=click.Choice([str(level) for level in Autonomy]))
@click.option("--test", help="Command that runs its tests; empty: pytest.")
@click.option(
    "--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The https server's own CA, PEM."
)
@click.option("--lfs/--no-lfs", default=None, help="Fetch the files that Git LFS keeps beside it.")
@click.option("--depth", type=click.IntRange(0), help="Newest commits of each branch to mirror; 0: all.")
@repo_forge.options
@pass_box
def command(
    box: Box, /, name: str, branch: str | None, autonomy: str | None, test: str | None, ca: Path | None,
    lfs: bool | None, depth: int | None, **forge: Any,
) -> None:  # fmt: skip
    """Change a repository's settings. A wrong token, project, branch or CA changes nothing."""
    box.require_home()
    ledger = open_ledger(box.home)
    tracked = ledger.repository(name)
    given = {"branch": branch, "autonomy": autonomy, "test": test, "lfs": lfs, "depth": depth}
    wanted = tracked.with_(**{field: value for field, value in given.items() if value is not None})
    told = repo_forge.Told(**forge)
    if ca is None and wanted == tracked and told == repo_forge.Told():
        raise UsageError("nothing to change was named", "`appliance repo set --help` lists what can be changed")
    token = told.token()
    if ca is not None or told != repo_forge.Told():
        wanted = repo_forge.asked(box, wanted, told, token, ca)
    before = ca_file(box.home.secrets, name)
    kept = before.read_bytes() if before.exists() else None
    try:
        if ca is not None:
            repo_trust.keep_ca(box.home, name, ca)
        if ca is not None or any(getattr(wanted, field) != getattr(tracked, field) for field in FETCHED):
            box.say(f"fetching {name}")
            Mirror.of(box.home, wanted, box.settings.mirror).sync()
    except BaseException:
        if ca is not None:
            before.unlink(missing_ok=True) if kept is None else replace_private(before, kept)
        raise
    repo_forge.keep(box.home, wanted, token)
    fields = {field: value for field, value in wanted.model_dump().items() if value != getattr(tracked, field)}
    changed = ledger.change_repository(name, **fields) if fields else tracked
    if told != repo_forge.Told():
        repo_forge.owed(box, changed)
    shown = [f"{field}: {value}" for field, value in changed.model_dump(mode="json", include=set(fields)).items()]
    box.emit(changed.model_dump(mode="json"), "\n".join(shown) or f"{name}: its secrets are changed")
