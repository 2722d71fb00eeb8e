"""`appliance repo`: the repositories the box looks after."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import click

from appliance.cli import repo_forge, repo_media, repo_trust, standing
from appliance.cli.context import Box, pass_box, table
from appliance.cli.hook import command as hook
from appliance.cli.mapping import command as mapping
from appliance.cli.repo_check import command as check
from appliance.cli.repo_set import command as set_
from appliance.errors import Conflict, FactoryError, NotFound, Unavailable, UsageError
from appliance.ledger import open_ledger
from appliance.mirror.mirror import Mirror
from appliance.work import Autonomy, MirrorHealth, TrackedRepository, utcnow


@click.group()
def command() -> None:
    """Mirrored repositories of the internal git server."""


command.add_command(hook, "hook")
command.add_command(mapping, "mapping")
command.add_command(check, "check")
command.add_command(set_, "set")


@command.command()
@click.argument("name")
@click.option("--url", required=True, help="Where the repository is: file, ssh, http or https.")
@click.option("--branch", default="", help="Branch changes go to; left out: the server's default.")
@click.option("--autonomy", type=click.Choice([str(level) for level in Autonomy]), default="low", show_default=True)
@click.option("--test", default="", help="Command that runs its tests; left out: pytest.")
@click.option("--token-file", type=click.File(), help="File with TOKEN or NAME:TOKEN for http; - is standard input.")
@click.option(
    "--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The https server's own CA, PEM."
)
@click.option("--lfs", is_flag=True, help="Fetch the files that Git LFS keeps beside it.")
@click.option("--depth", type=click.IntRange(0), default=0, help="Newest commits of each branch to mirror [0: all].")
@click.option("--allow-empty", is_flag=True, help="Take a repository without any commit, and wait for the first.")
@repo_forge.options
@pass_box
def add(
    box: Box, /, name: str, url: str, branch: str, autonomy: str, test: str,
    token_file: IO[str] | None, ca: Path | None, lfs: bool, depth: int, allow_empty: bool, **forge: Any,
) -> None:  # fmt: skip
    """Mirror a repository and look after it."""
    box.require_home()
    ledger = open_ledger(box.home)
    if any(known.name == name for known in ledger.repositories()):
        raise Conflict(f"there is a repository {name!r} already", "choose another name, or `repo remove` it first")
    address = repo_trust.with_token(url, token_file.read()) if token_file else url
    told = repo_forge.Told(**forge)
    token = told.token()
    wanted = TrackedRepository(
        name=name, url=url, branch=branch, autonomy=Autonomy(autonomy), test=test, lfs=lfs, depth=depth
    )
    wanted = repo_forge.asked(box, wanted, told, token, ca)
    if token and address == url and repo_trust.lacks_login(url):
        box.say("git uses the API's token too (--token-file gives another)")
        address = repo_trust.with_token(url, token)
    mirror = Mirror(box.home, name, address, branch, box.settings.mirror, depth=depth, lfs=lfs)
    key = repo_trust.give_key(box, name, mirror.url)
    kept = repo_trust.keep_ca(box.home, name, ca) if ca else None
    box.say(f"cloning {name}")
    try:
        head = mirror.create(allow_empty)
    except FactoryError:
        if kept:
            kept.unlink(missing_ok=True)
        raise
    tracked = wanted.with_(url=mirror.url, branch=mirror.branch)
    try:
        ledger.add_repository(tracked)
    except Conflict:  # somebody was quicker: the mirror is theirs
        raise
    except FactoryError:
        mirror.remove()
        raise
    repo_forge.keep(box.home, tracked, token)
    repo_forge.owed(box, tracked)
    box.emit(
        {**tracked.model_dump(mode="json"), "head": head, **({"public_key": key} if key else {})},
        f"{name} is mirrored at {head[:12] or 'no commit yet'} ({mirror.branch}), autonomy {autonomy}",
    )


command.add_command(repo_trust.key)
command.add_command(repo_trust.trust)
command.add_command(repo_media.import_)
command.add_command(repo_media.export)
command.add_command(repo_media.signer)


@command.command(name="list")
@pass_box
def list_(box: Box) -> None:
    """List the repositories and how their mirrors stand."""
    box.require_home()
    ledger, now = open_ledger(box.home), utcnow()
    known = ledger.forges.all_health()
    rows = [(one, known.get(one.name, MirrorHealth())) for one in ledger.repositories()]
    box.emit(
        [standing.told(one, health, now) for one, health in rows],
        table("name", "branch", "forge", "project", "label", "autonomy", "mirror", "url",
              rows=[(one.name, one.branch, one.forge, one.project, "every issue" if one.every_issue else one.label,
                     one.autonomy, standing.in_short(health, now), one.url) for one, health in rows]),
    )  # fmt: skip


@command.command()
@click.argument("name")
@pass_box
def show(box: Box, name: str) -> None:
    """Show one repository, how its mirror stands, and its items."""
    box.require_home()
    ledger, now = open_ledger(box.home), utcnow()
    tracked, health = ledger.repository(name), ledger.forges.health(name)
    counts: dict[str, int] = {}
    for item in ledger.items(name):
        counts[str(item.state)] = counts.get(str(item.state), 0) + 1
    hook = ledger.deliveries.newest_hook(name)
    data = {
        **standing.told(tracked, health, now), "head": _head(box, tracked, health), "items": counts,
        "last_webhook": hook.received.isoformat() if hook else None,
    }  # fmt: skip
    fields = [f"{key}: {_in_words(value)}" for key, value in data.items() if key != "mirror"]
    box.emit(data, "\n".join([*fields, *standing.at_length(health, now)]))


def _head(box: Box, tracked: TrackedRepository, health: MirrorHealth) -> str:
    """The mirror's newest commit; what the last fetch told is older once the box has pushed something itself."""
    try:
        return Mirror.of(box.home, tracked, box.settings.mirror).head()
    except FactoryError:
        return health.head


def _in_words(value: Any) -> str:
    """A field for people.

    >>> [_in_words(value) for value in ({"closed": 2, "failed": 1}, {}, "", None, 0, True)]
    ['2 closed, 1 failed', '-', '-', '-', '0', 'True']
    """
    if isinstance(value, dict):
        return ", ".join(f"{number} {name}" for name, number in value.items()) or "-"
    return "-" if value in ("", None) else str(value)


@command.command()
@click.argument("name")
@pass_box
def sync(box: Box, name: str) -> None:
    """Fetch now."""
    box.require_home()
    ledger = open_ledger(box.home)
    tracked = ledger.repository(name)
    after = Mirror.of(box.home, tracked, box.settings.mirror).examine(ledger.forges.health(name))
    ledger.forges.note_turn(name, after, None)
    if after.error:
        raise (Unavailable if after.failures else NotFound)(after.error, after.hint)
    box.emit({"name": name, "head": after.head}, f"{name} is at {after.head[:12]}")


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@pass_box
def remove(box: Box, name: str, yes: bool) -> None:
    """Forget a repository: its mirror, its secrets, how it stood (the server's repository stays as it is)."""
    box.require_home()
    ledger = open_ledger(box.home)
    tracked = ledger.repository(name)
    mirror = Mirror.of(box.home, tracked, box.settings.mirror)
    if not yes and (box.as_json or not click.confirm(f"forget {name} and delete its mirror and secrets?", err=True)):
        raise UsageError("nothing was changed", "say --yes to remove it")
    ledger.remove_repository(name)
    mirror.remove()
    repo_media.forget(box, tracked)
    repo_forge.forget(box.home, name)
    box.emit({"removed": name}, f"{name} is no longer looked after")
