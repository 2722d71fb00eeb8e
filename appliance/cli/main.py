"""The command group: global options, the nouns, and how errors are shown."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from appliance import __version__
from appliance.cli.becoming import become_owner
from appliance.cli.context import Box
from appliance.config import Home
from appliance.errors import FactoryError, of_system

COMMANDS = {
    "init": "init", "up": "up", "status": "status", "doctor": "doctor", "prove": "prove", "config": "config",
    "model": "model", "key": "key", "route": "route", "repo": "repo", "signal": "signal", "item": "item",
    "learn": "learn", "audit": "audit", "backup": "backup", "support": "support", "user": "user",
    "certificate": "certificate", "serve": "serve",
}  # fmt: skip
"""Command → the module of this package that holds it. Loaded when called, so that `appliance status` stays quick."""


class Nouns(click.Group):
    """Loads a noun's module only when it is called, and gives every command --json, --home and --debug."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for name in COMMANDS if name != "serve"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"appliance.cli.{COMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command


@click.group(cls=Nouns, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="appliance")
@click.option("--home", metavar="DIR", help="Where the box keeps everything (default: $APPLIANCE_HOME, else ./var).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def root(ctx: click.Context, home: str | None, as_json: bool, debug: bool) -> None:
    """A software factory in one box."""
    where = Home.from_environment(home)
    become_owner(where)
    ctx.obj = Box(where, as_json, debug)


def hoist(arguments: Sequence[str]) -> list[str]:
    """Move the global options to the front, so that they may stand anywhere before a `--`.

    >>> hoist(["item", "list", "--json", "--home", "x"])
    ['--json', '--home', 'x', 'item', 'list']
    """
    front: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in ("--json", "--debug") or word.startswith("--home="):
            front.append(word)
        elif word == "--home":
            front += [word, *[value for value in [next(words, None)] if value is not None]]
        else:
            rest.append(word)
    return front + rest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 failed, 2 usage, 3 refused, 4 not found, 5 unverified."""
    words = hoist(sys.argv[1:] if arguments is None else arguments)
    try:
        result: Any = root.main(words, prog_name="appliance", standalone_mode=False)
    except FactoryError as error:
        if "--debug" in words:
            raise
        show(error, "--json" in words)
        return error.exit_status
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.UsageError as error:
        show(FactoryError(error.format_message(), _usage_hint(error)), "--json" in words, code="usage")
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        return 0
    except OSError as error:  # they need no traceback
        if "--debug" in words:
            raise
        show(of_system(error), "--json" in words)
        return 1
    return result if isinstance(result, int) else 0


def show(error: FactoryError, as_json: bool, code: str = "") -> None:
    """Print an error on standard error, in the shape promised to scripts."""
    if as_json:
        shape = error.as_dict()
        shape["error"]["code"] = code or error.code
        click.echo(json.dumps(shape), err=True)
        return
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


def _usage_hint(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "appliance"
    return f"`{path} --help` shows how it is called"
