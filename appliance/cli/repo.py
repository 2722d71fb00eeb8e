"""`appliance repo`: the repositories the box looks after."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click

from appliance.cli import repo_media, repo_trust
from appliance.cli.context import Box, pass_box, table
from appliance.cli.hook import command as hook
from appliance.cli.mapping import command as mapping
from appliance.errors import Conflict, FactoryError
from appliance.ledger import open_ledger
from appliance.mirror.mirror import Mirror
from appliance.work import Autonomy, TrackedRepository

FORGES = ("plain",)
"""Forges with an adapter in appliance/mirror/forges."""


@click.group()
def command() -> None:
    """Mirrored repositories of the internal git server."""


command.add_command(hook, "hook")
command.add_command(mapping, "mapping")


@command.command()
@click.argument("name")
@click.option("--url", required=True, help="Where the repository is: file, ssh, http or https.")
@click.option("--forge", type=click.Choice(FORGES), default="plain", show_default=True, help="What serves it.")
@click.option("--branch", default="", help="Branch changes go to; left out: the server's default.")
@click.option("--autonomy", type=click.Choice([str(level) for level in Autonomy]), default="low", show_default=True)
@click.option("--test", default="", help="Command that runs its tests; left out: pytest.")
@click.option("--token-file", type=click.File(), help="File with TOKEN or NAME:TOKEN for http; - is standard input.")
@click.option(
    "--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The https server's own CA, PEM."
)
@pass_box
def add(
    box: Box, name: str, url: str, forge: str, branch: str, autonomy: str, test: str,
    token_file: IO[str] | None, ca: Path | None,
) -> None:  # fmt: skip
    """Mirror a repository and look after it."""
    box.require_home()
    ledger = open_ledger(box.home)
    if any(known.name == name for known in ledger.repositories()):
        raise Conflict(f"there is a repository {name!r} already", "choose another name, or `repo remove` it first")
    address = repo_trust.with_token(url, token_file.read()) if token_file else url
    mirror = Mirror(box.home, name, address, branch, box.settings.mirror)
    key = repo_trust.give_key(box, name, mirror.url)
    kept = repo_trust.keep_ca(box.home, name, ca) if ca else None
    box.say(f"cloning {name}")
    try:
        head = mirror.create()
    except FactoryError:
        if kept:
            kept.unlink(missing_ok=True)
        raise
    tracked = TrackedRepository(
        name=name, url=mirror.url, branch=mirror.branch, forge=forge, autonomy=Autonomy(autonomy), test=test
    )
    try:
        ledger.add_repository(tracked)
    except Conflict:  # somebody was quicker: the mirror is theirs
        raise
    except FactoryError:
        mirror.remove()
        raise
    box.emit(
        {**tracked.model_dump(mode="json"), "head": head, **({"public_key": key} if key else {})},
        f"{name} is mirrored at {head[:12]} ({mirror.branch}), autonomy {autonomy}",
    )


command.add_command(repo_trust.key)
command.add_command(repo_trust.trust)
command.add_command(repo_media.import_)
command.add_command(repo_media.export)
command.add_command(repo_media.signer)


@command.command(name="list")
@pass_box
def list_(box: Box) -> None:
    """List the repositories."""
    box.require_home()
    rows = open_ledger(box.home).repositories()
    box.emit(
        [row.model_dump(mode="json") for row in rows],
        table("name", "branch", "forge", "autonomy", "url",
              rows=[(row.name, row.branch, row.forge, row.autonomy, row.url) for row in rows]),
    )  # fmt: skip


@command.command()
@click.argument("name")
@pass_box
def show(box: Box, name: str) -> None:
    """Show one repository and its mirror."""
    box.require_home()
    ledger = open_ledger(box.home)
    tracked, mirror = _mirror(box, name)
    counts: dict[str, int] = {}
    for item in ledger.items(name):
        counts[item.state] = counts.get(item.state, 0) + 1
    data = {**tracked.model_dump(mode="json"), "head": mirror.head(), "items": counts}
    box.emit(data, "\n".join(f"{key}: {value}" for key, value in data.items()))


@command.command()
@click.argument("name")
@pass_box
def sync(box: Box, name: str) -> None:
    """Fetch now."""
    box.require_home()
    _, mirror = _mirror(box, name)
    head = mirror.sync()
    box.emit({"name": name, "head": head}, f"{name} is at {head[:12]}")


@command.command()
@click.argument("name")
@pass_box
def remove(box: Box, name: str) -> None:
    """Forget a repository and delete its mirror (the server's repository stays as it is)."""
    box.require_home()
    tracked, mirror = _mirror(box, name)
    open_ledger(box.home).remove_repository(name)
    mirror.remove()
    repo_media.forget(box, tracked)
    box.emit({"removed": name}, f"{name} is no longer looked after")


def _mirror(box: Box, name: str) -> tuple[TrackedRepository, Mirror]:
    ledger = open_ledger(box.home)
    tracked = ledger.repository(name)
    return tracked, Mirror(box.home, tracked.name, tracked.url, tracked.branch, box.settings.mirror)
