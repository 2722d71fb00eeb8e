"""`appliance key`: who may use the gateway."""

from __future__ import annotations

from typing import Any

import click

from appliance.cli.context import Box, pass_box, table
from appliance.work import utcnow
from inference.keys import SCOPES, Key, KeyStore


@click.group("key")
def command() -> None:
    """Keys to the gateway."""


@command.command("create")
@click.argument("name")
@click.option("--expires", "days", type=float, metavar="DAYS", help="Days until it expires (default: never).")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="What it opens (default: all).")
@pass_box
def create(box: Box, name: str, days: float | None, scopes: tuple[str, ...]) -> None:
    """Make a key called NAME. Its token is shown now and never again."""
    box.require_home()
    key, token = _store(box).create(name, days, scopes or SCOPES)
    if not box.as_json:
        box.say(f"key {key.name} ({key.id}); keep the token, nobody can show it again:")
    box.emit({**as_json(key), "token": token}, token)


@command.command("list")
@pass_box
def list_keys(box: Box) -> None:
    """All keys, the dead ones too; without their tokens."""
    box.require_home()
    rows = [as_json(key) for key in _store(box).list()]
    shown = table(
        "NAME", "ID", "OPENS", "CREATED", "EXPIRES", "STATE",
        rows=[
            (row["name"], row["id"], ", ".join(row["scopes"]), row["created"][:10],
             (row["expires"] or "never")[:10], row["state"])
            for row in rows
        ],
    )  # fmt: skip
    box.emit(rows, shown if rows else "no keys; `appliance key create NAME` makes one")


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


def _store(box: Box) -> KeyStore:
    return KeyStore(box.home.secrets / "keys.json")
