"""The verbs of `python3 -m installer`; composition root of the installer."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from installer import environment, foreground, preflight
from installer.bundle import build, importable, keys, seal
from installer.checkout import Checkout
from installer.diode import commands as diode
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
            case "keys":
                keys.create(asked.keys, asked.threshold, asked.of)
                terminal.say(f"fingerprint: {keys.fingerprint(asked.keys)}")
            case "rotate-keys":
                made = keys.rotate(asked.keys, asked.replace, asked.threshold, asked.of)
                terminal.say(f"{made.name}: goes with every medium from now on; boxes that know the one before take it")
                terminal.say(f"fingerprint: {keys.fingerprint(asked.keys)}")
            case "sign":
                _sign(asked.medium, asked.keys, terminal)
            case "bundle":
                build.build(checkout, asked.keys, asked.out, terminal, asked.extra, asked.since)
            case "medium":
                importable.make(checkout, asked.keys, asked.extra, asked.out, terminal)
            case "verify-bundle":
                return _compare(checkout, asked.keys, terminal)
            case "export" | "receive":
                return diode.run(asked, terminal)
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


def _compare(checkout: Checkout, keys: Path, terminal: Terminal) -> int:
    differing = build.compared(checkout, keys, terminal)
    terminal.say("two builds are equal, byte for byte" if not differing else "two builds differ:")
    for name in differing:
        terminal.say(f"  {name}")
    return 1 if differing else 0


def _sign(medium: Path, ring: Path, terminal: Terminal) -> None:
    whole = seal.sign(medium, ring)
    if whole is None:
        terminal.say("signed; still more people must sign it")
    else:
        terminal.say(f"signed by enough: release {whole.manifest.release}, list of files {whole.digest}")


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
    for name, what in (
        ("keys", "make the keys that media are signed with"),
        ("rotate-keys", "replace keys; boxes follow without a new fingerprint"),
        ("sign", "add the signature of another holder of keys to a medium"),
        ("bundle", "build what is carried into a closed network"),
        ("medium", "make a medium of models, repositories and advisories for boxes that run"),
        ("verify-bundle", "build the bundle twice and compare"),
    ):
        verb = verbs.add_parser(name, help=what)
        verb.add_argument("--keys", type=Path, required=True, help="the folder of the signing keys")
        if name in {"keys", "rotate-keys"}:
            once = 1 if name == "keys" else None
            verb.add_argument("--threshold", type=int, default=once, help="how many of the holders must sign")
            verb.add_argument("--of", type=int, default=once, help="how many people hold keys")
        if name == "rotate-keys":
            verb.add_argument("--replace", nargs="*", default=[], help="whose: holder-1 … or release")
        if name == "sign":
            verb.add_argument("--medium", type=Path, required=True, help="the medium's folder")
        if name in {"bundle", "medium"}:
            verb.add_argument("--out", type=Path, default=Path("dist"), help="where it goes (default: dist)")
            extra = "what it brings: models=DIR mirrors=DIR osv=FILE" + (" vllm debs" if name == "bundle" else "")
            verb.add_argument("--with", nargs="*", default=[], dest="extra", help=extra)
        if name == "bundle":
            verb.add_argument("--since", type=Path, help="an earlier bundle: only what is new since")
    diode.add(verbs)
    verb = verbs.add_parser("run", help="run a command in the foreground; Ctrl-C goes to it alone")
    verb.add_argument("command", nargs=argparse.REMAINDER)
    return parser
