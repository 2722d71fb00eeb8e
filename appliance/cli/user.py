"""`appliance user`: who may use the console, and what each may do."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from appliance.cli.context import Box, pass_box, table
from appliance.errors import PolicyRefused, UsageError
from appliance.ledger import open_ledger
from appliance.user import MAY, Role, User
from control import accounts
from control.accounts import NewUser

FROM_STDIN = click.option("--password-stdin", is_flag=True, help="Read the first password from standard input.")


@click.group("user")
def command() -> None:
    """People who use the console."""


@command.command()
@click.argument("name")
@click.option("--role", type=click.Choice([str(role) for role in Role]), required=True, help="What they may do.")
@click.option("--full-name", default="", help="How people call them.")
@FROM_STDIN
@pass_box
def add(box: Box, name: str, role: str, full_name: str, password_stdin: bool) -> None:
    """Let somebody in. Prints a password for the first sign-in, once."""
    box.require_home()
    try:
        new = NewUser(name=name, role=Role(role), full_name=full_name)
        user, first = accounts.add(open_ledger(box.home), new, _me(), _given(password_stdin))
    except ValidationError as error:
        raise UsageError(f"{name!r} cannot be a name", "1 to 64 lower-case letters, digits and . _ @ -") from error
    box.emit(*_with_password(user, "" if password_stdin else first))


@command.command()
@click.option("--name", default="", help=f"What they are called; {accounts.FIRST} unless said.")
@pass_box
def first(box: Box, name: str) -> None:
    """A password for the first administrator's first sign-in, shown once, on the terminal alone."""
    box.require_home()
    if os.geteuid() != box.home.root.stat().st_uid:
        raise PolicyRefused("only the box's own user lets the first administrator in", f"whoever owns {box.home.root}")
    if not (box.as_json or _has_terminal()):
        raise UsageError(
            "there is no terminal to show the password on", "`ssh -t`, or --json, which prints it for a program"
        )
    try:
        user, password = accounts.first(open_ledger(box.home), name, _me())
    except ValidationError as error:
        raise UsageError(f"{name!r} cannot be a name", "1 to 64 lower-case letters, digits and . _ @ -") from error
    hours = box.settings.console.given_password_hours
    told = {"address": box.settings.console.address, "name": user.name, "hours": hours}
    if box.as_json:
        box.emit({**told, "password": password})
        return
    with TERMINAL.open("w") as terminal:
        terminal.write(f"\n    console   {told['address']}\n    name      {user.name}\n    password  {password}\n\n")
        terminal.write(f"It counts for {hours:g} hours and for one sign-in, at which another is chosen.\n")


@command.command("list")
@pass_box
def list_(box: Box) -> None:
    """Every account."""
    box.require_home()
    users = open_ledger(box.home).users.all()
    rows = [
        (
            one.name, one.role, one.source, "disabled" if one.disabled else "may sign in",
            "yes" if one.two_factors else "no",
            one.last_seen.isoformat(timespec="minutes") if one.last_seen else "never",
        )
        for one in users
    ]  # fmt: skip
    text = table("name", "role", "known by", "state", "one-time code", "last signed in", rows=rows) if rows else NOBODY
    box.emit([one.model_dump(mode="json") for one in users], text)


@command.command()
@click.argument("name")
@click.argument("role", type=click.Choice([str(role) for role in Role]))
@pass_box
def role(box: Box, name: str, role: str) -> None:
    """Give another role; the person is signed out."""
    box.require_home()
    user = open_ledger(box.home).users.change(name, _me(), role=Role(role))
    box.emit(user.model_dump(mode="json"), f"{user.name} is {user.role}: {MAY[user.role]}")


@command.command()
@click.argument("name")
@FROM_STDIN
@pass_box
def password(box: Box, name: str, password_stdin: bool) -> None:
    """A new password for one sign-in, for somebody who lost theirs. It is printed once; all their sessions end."""
    box.require_home()
    user, first = accounts.reset(open_ledger(box.home), name, _me(), _given(password_stdin))
    box.emit(*_with_password(user, "" if password_stdin else first))


@command.command()
@click.argument("name")
@pass_box
def disable(box: Box, name: str) -> None:
    """Shut somebody out, at once."""
    _set(box, name, True, "is shut out")


@command.command()
@click.argument("name")
@pass_box
def enable(box: Box, name: str) -> None:
    """Let somebody in again."""
    _set(box, name, False, "may sign in again")


@command.command()
@click.argument("name")
@click.option("--off", is_flag=True, help="Ask for no codes any more.")
@pass_box
def codes(box: Box, name: str, off: bool) -> None:
    """One-time codes of somebody who lost the phone and the recovery codes."""
    box.require_home()
    if not off:
        raise UsageError("nothing to do", "--off turns them off; the person sets up new ones on the page Account")
    user = open_ledger(box.home).users.set_codes(name, _me(), "", ())
    box.emit(user.model_dump(mode="json"), f"{user.name} signs in without one-time codes until new ones are set up")


NOBODY = "nobody yet; `appliance user first` lets the first administrator in"
TERMINAL = Path("/dev/tty")
"""The one that the caller sits at, wherever output is led: what is piped into a file or a log is not shown there."""


def _has_terminal() -> bool:
    try:
        with TERMINAL.open("w"):
            return True
    except OSError:
        return False


def _set(box: Box, name: str, disabled: bool, said: str) -> None:
    box.require_home()
    user = open_ledger(box.home).users.change(name, _me(), disabled=disabled)
    box.emit(user.model_dump(mode="json"), f"{user.name} {said}")


def _given(stdin: bool) -> str:
    if not stdin:
        return ""
    found = sys.stdin.readline().rstrip("\n")
    if not found:
        raise UsageError("no password came on standard input", "`printf %s PASSWORD | appliance user …`")
    return found


def _with_password(user: User, first: str) -> tuple[dict[str, Any], str]:
    told = user.model_dump(mode="json")
    if not first:
        return told, f"{user.name} ({user.role}) signs in with that password once, and then chooses another"
    text = f"{user.name} ({user.role}) signs in with this password once, and then chooses another:\n\n    {first}\n"
    return {**told, "password": first}, text


def _me() -> str:
    return f"cli:{getpass.getuser()}"
