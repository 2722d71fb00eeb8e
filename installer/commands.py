"""The verbs of `python3 -m installer`; composition root of the installer."""

from __future__ import annotations

import argparse
import json
import sys

from installer import environment, foreground, preflight
from installer.checkout import Checkout
from installer.errors import InstallError
from installer.setup import setup
from installer.terminal import Terminal
from installer.wheelhouse import fill


def dispatch(words: list[str]) -> int:
    """Do what the words ask; the exit status."""
    asked = _parser().parse_args(words)
    checkout, terminal = Checkout.here(), Terminal()
    try:
        match asked.verb:
            case "setup":
                setup(checkout, terminal, dev=asked.dev)
            case "wheels":
                fill(checkout, terminal)
            case "environment":
                for lock in asked.lock:
                    environment.make(checkout, lock, terminal)
            case "preflight":
                return _preflight(asked.json, checkout)
            case "run":
                return foreground.run(asked.command)
    except InstallError as error:
        terminal.say("")
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        terminal.say("")
        print("interrupted; running the same command again goes on from here", file=sys.stderr)
        return 130
    return 0


def _preflight(as_json: bool, checkout: Checkout) -> int:
    rows = preflight.look(checkout)
    if as_json:
        print(json.dumps([row.as_dict() for row in rows], indent=1))
    else:
        for row in rows:
            print(f"{row.verdict:<5} {row.name:<18} {row.found}")
            if row.fix:
                print(f"{'':<24} fix: {row.fix}")
    return 1 if any(row.verdict == "fail" for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m installer", description="sets up a checkout of the appliance")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("setup", help="install everything the box needs into .venv; quick when it is there")
    verb.add_argument("--dev", action="store_true", help="with what tests and checks need")
    verbs.add_parser("wheels", help="fill offline-wheels/ for a machine without an index")
    verb = verbs.add_parser("environment", help="install a lock of offline-wheels/ into an environment of its own")
    verb.add_argument("lock", nargs="+", help="its name, such as `clients`")
    verb = verbs.add_parser("preflight", help="look at this machine: pass, warn or fail, each with its fix")
    verb.add_argument("--json", action="store_true")
    verb = verbs.add_parser("run", help="run a command in the foreground; Ctrl-C goes to it alone")
    verb.add_argument("command", nargs=argparse.REMAINDER)
    return parser
