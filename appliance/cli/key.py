"""`appliance key`: who may use the gateway, for what and how much."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from pydantic import ValidationError

from appliance.cli.context import Box, pass_box, table
from appliance.cli.strangers import strangers
from appliance.errors import UsageError
from appliance.keys import READ, SCOPES
from appliance.work import utcnow
from inference.counts import Counts
from inference.journal import read_counts
from inference.keys import ALL_SCOPES, Key, KeyStore, Terms
from inference.limits import UNITS, Limits, Priority, paused, usage
from models.card import TASKS

NONE = "none"
"""Takes a limit or a restriction away."""
PRIORITIES = [priority.value for priority in Priority]
LISTS = {"model": "models", "task": "tasks", "route": "routes"}
LIMITS = {
    "rpm": "requests_per_minute", "tpm": "tokens_per_minute", "parallel": "parallel",
    "tokens_per_day": "tokens_per_day", "tokens_per_month": "tokens_per_month",
    "seconds_per_day": "seconds_per_day", "seconds_per_month": "seconds_per_month",
}  # fmt: skip
Command = Callable[..., None]


@click.group("key")
def command() -> None:
    """Keys to the gateway."""


def with_terms(decorated: Command) -> Command:
    """The options that say what a key is for. What is not restricted is open; `none` takes a restriction away."""
    options = [
        click.option("--model", multiple=True, metavar="PATTERN", help="Models it may call, like coder-*."),
        click.option("--task", multiple=True, type=click.Choice((*TASKS, NONE)), help="Tasks its calls may have."),
        click.option("--route", multiple=True, metavar="PATTERN", help="Rules its calls may go by."),
        click.option("--team", help="Whom it belongs to."),
        click.option("--priority", type=click.Choice(PRIORITIES), help="Who waits when the gateway is full."),
        *(
            click.option(f"--{name.replace('_', '-')}", metavar="N", help=f"Most {UNITS[field]}; or none.")
            for name, field in LIMITS.items()
        ),
    ]
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def with_repositories(decorated: Command) -> Command:
    """The option that says which mirrors a key with the scope git reads."""
    text = "Repositories it may read, with the scope git (default: every one)."
    return click.option("--repo", "repositories", multiple=True, metavar="PATTERN", help=text)(decorated)


@command.command("create")
@click.argument("name", required=False)
@click.option("--name", "named", metavar="NAME", help="The same as NAME.")
@click.option("--expires", metavar="DAYS|DATE", help="Days until it expires, or a date (default: never).")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(ALL_SCOPES), help="What it opens (default: infer, route)."
)
@with_repositories
@with_terms
@pass_box
def create(
    box: Box, /, name: str | None, named: str | None, expires: str | None, scopes: tuple[str, ...],
    repositories: tuple[str, ...], **said: Any,
) -> None:  # fmt: skip
    """Make a key called NAME. Its token is shown now and never again."""
    box.require_home()
    if name and named and name != named:
        raise UsageError("a key has one name", "give NAME or --name")
    end = _end(expires)
    days = (end - utcnow()) / timedelta(days=1) if end else None
    scopes, terms = scopes or SCOPES, _terms(Terms(), said)
    key, token = _store(box).create(name or named or "", days, scopes, terms, _readable(repositories, scopes))
    for line in strangers(box, key):
        box.say(f"note: {line}")
    if not box.as_json:
        box.say(f"key {key.name} ({key.id}); keep the token, nobody can show it again:")
    box.emit({**as_json(key), "token": token}, token)


@command.command("list")
@pass_box
def list_keys(box: Box) -> None:
    """All keys, the dead ones too; without their tokens."""
    box.require_home()
    counts = read_counts(box.home.spool)
    rows = [_with_use(key, counts) for key in _store(box).list()]
    shown = table(
        "NAME", "ID", "OPENS", "PRIORITY", "TOKENS TODAY", "EXPIRES", "STATE",
        rows=[
            (row["name"], row["id"], ", ".join(row["scopes"]), row["terms"]["priority"],
             f"{row['used']['tokens_per_day']['used']:,}", (row["expires"] or "never")[:10], row["state"])
            for row in rows
        ],
    )  # fmt: skip
    box.emit(rows, shown if rows else "no keys; `appliance key create NAME` makes one")


@command.command("show")
@click.argument("name")
@pass_box
def show(box: Box, name: str) -> None:
    """What the key NAME (or its id) may do, and how much of it is used."""
    box.require_home()
    key = _store(box).find(name)
    counts = read_counts(box.home.spool)
    shown, total = _with_use(key, counts), counts.key(key.id).total
    used = shown["used"]
    ever = {"calls": total.calls, "prompt_tokens": total.prompt, "completion_tokens": total.completion,
            "model_seconds": total.milliseconds / 1000}  # fmt: skip

    def text() -> str:
        terms = key.terms
        lines = [
            f"key {key.name} ({key.id}), {shown['state']}, {terms.priority}",
            *([f"paused    {shown['paused']}"] if shown["paused"] else []),
            f"team      {terms.team or 'none'}",
            f"opens     {', '.join(key.scopes)}",
            *(f"{word:9} {', '.join(getattr(terms, word)) or 'all'}" for word in LISTS.values()),
            *([f"reads     {', '.join(key.repositories) or 'all'}"] if READ in key.scopes else []),
            f"expires   {key.expires.isoformat(timespec='minutes') if key.expires else 'never'}",
            "",
            *(_line(row["used"], row["limit"], UNITS[name]) for name, row in used.items()),
            "",
            f"ever      {total.calls:,} calls, {total.prompt:,} prompt tokens, {total.completion:,} answer tokens, "
            f"{total.milliseconds / 1000:,.1f} model-seconds",
        ]
        return "\n".join(lines)

    box.emit({**shown, "ever": ever}, text)


@command.command("set")
@click.argument("name")
@click.option("--expires", metavar="DAYS|DATE", help="Days from now, a date, or none.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(ALL_SCOPES), help="What it opens, instead of before."
)
@with_repositories
@with_terms
@pass_box
def change(
    box: Box, /, name: str, expires: str | None, scopes: tuple[str, ...], repositories: tuple[str, ...], **said: Any
) -> None:
    """Change what the key NAME (or its id) may do; what is not named stays. It holds from the next call on."""
    box.require_home()

    def new(key: Key) -> Key:
        changed = key.with_(terms=_terms(key.terms, said), scopes=scopes or key.scopes)
        if repositories:
            changed = changed.with_(repositories=_readable(repositories, changed.scopes))
        return changed.with_(expires=_end(expires)) if expires else changed

    key = _store(box).change(name, new)
    for line in strangers(box, key):
        box.say(f"note: {line}")
    box.emit(as_json(key), f"key {key.name} ({key.id}) is changed; `appliance key show {key.name}` shows it")


@command.command("revoke")
@click.argument("name")
@pass_box
def revoke(box: Box, name: str) -> None:
    """Make the key NAME (or its id) useless from now on."""
    box.require_home()
    key = _store(box).revoke(name)
    box.emit(as_json(key), f"key {key.name} ({key.id}) opens nothing any more")


def as_json(key: Key) -> dict[str, Any]:
    """A key without anything that helps to guess its token."""
    shown: dict[str, Any] = key.model_dump(mode="json", exclude={"sha256"})
    state = "revoked" if key.revoked else "expired" if key.dead(utcnow()) else "alive"
    return {**shown, "state": state}


def _terms(old: Terms, said: dict[str, Any]) -> Terms:
    """The terms with what was said on the command line. Raises UsageError."""
    changes: dict[str, Any] = {
        field: () if said[name] == (NONE,) else said[name] for name, field in LISTS.items() if said[name]
    }
    changes |= {name: said[name] for name in ("team", "priority") if said[name] is not None}
    limits = {
        field: None if said[name] == NONE else said[name] for name, field in LIMITS.items() if said[name] is not None
    }
    try:
        return old.with_(**changes, limits=Limits.model_validate({**dict(old.limits), **limits}))
    except ValidationError as error:
        problem = error.errors()[0]
        options = {field: name for name, field in LIMITS.items()}
        name = options.get(str(problem["loc"][-1]), str(problem["loc"][-1])).replace("_", "-")
        raise UsageError(
            f"--{name} {problem['input']}: {problem['msg']}", "give a number above zero, or none"
        ) from error


def _readable(patterns: tuple[str, ...], scopes: tuple[str, ...]) -> tuple[str, ...]:
    """The patterns of repositories. Raises UsageError for a key that reads none."""
    if patterns and READ not in scopes:
        raise UsageError("a key without the scope git reads no repositories", f"give --scope {READ} too")
    return () if patterns == (NONE,) else patterns


def _end(text: str | None) -> datetime | None:
    """When a key expires, from days or a date. Raises UsageError."""
    if text is None or text == NONE:
        return None
    try:
        end = utcnow() + timedelta(days=float(text))
    except (ValueError, OverflowError):
        try:
            end = datetime.fromisoformat(text)
        except ValueError as error:
            raise UsageError(
                f"--expires {text!r} is no number of days and no date", "like 90, or 2027-01-31"
            ) from error
        end = end if end.tzinfo else end.replace(tzinfo=UTC)
    if end <= utcnow():
        raise UsageError("a key must expire in the future", "give --expires days above zero, or a later date")
    return end


def _with_use(key: Key, counts: Counts) -> dict[str, Any]:
    """A key with what it has used, and whether a budget pauses it."""
    shown, count, limits, now = as_json(key), counts.key(key.id), key.terms.limits, time.time()
    why = paused(count, limits, now)
    if why and shown["state"] == "alive":
        shown["state"] = "paused"
    return {**shown, "paused": why, "used": usage(count, limits, now)}


def _line(used: float, limit: float | None, unit: str) -> str:
    amount = f"{used:,.1f}" if isinstance(used, float) else f"{used:,}"
    return f"{amount:>12} of {'any number' if limit is None else f'{limit:,}':>12} {unit}"


def _store(box: Box) -> KeyStore:
    return KeyStore(box.home.secrets / "keys.json")
