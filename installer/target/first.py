"""A box's first minute: its names, a certificate with TLS on both doors, and a password for the first administrator.

On a fresh home alone: whatever a home has of this, an upgrade leaves as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from installer.errors import InstallError, Refused
from installer.target import firewall, running
from installer.target.journal import Change, Step
from installer.target.naming import begun
from installer.target.places import Places
from installer.target.site import Site
from installer.target.work import Work
from installer.terminal import Terminal

SCREEN = Path("/dev/tty")
"""Wherever output is led, this is seen by whoever sits there, and by nobody else."""


def step(work: Work) -> Step:
    """The step of an install: home, certificate, settings. Killed in between, it is done once more: the settings come
    last."""
    places, found = work.places, work.naming

    def apply() -> None:
        if found is None:
            raise Refused("this step needs what the box is called", "run install.sh from the medium again")
        words = ["init", "--listen", found.listen, *(word for name in found.names for word in ("--name", name))]
        said = running.command(places, work.release, words, seconds=running.READY_SECONDS)
        if said.returncode != 0:
            said_why = f"the box's home cannot be made: {_reason(said.stderr)}"
            raise InstallError(said_why, "mend that, then run this again")
        decided = work.site or Site()
        if decided.firewall:  # the rules name the doors that the settings name now
            firewall.apply(places, decided)

    return Step("home and certificate", lambda: begun(places), apply)


def farewell(places: Places, change: Change, release: Path, terminal: Terminal) -> None:
    """Where the box is, what to trust, and how the first administrator gets in: a password on the terminal alone."""
    if change.kept or change.mend:
        return
    shown = _told(running.command(places, release, ["certificate", "show"]).stdout)
    if shown:
        terminal.say(f"the root that browsers and clients have to trust, by its SHA-256: {shown['root_fingerprint']}")
        terminal.say(f"  {places.current}/venv/bin/appliance --home {places.home} certificate root --out root.pem")
    try:
        with SCREEN.open("w") as screen:
            told = _told(running.command(places, release, ["user", "first"]).stdout)
            if told:
                screen.write(_welcome(told))
                return
    except OSError:
        pass  # nobody sits there
    terminal.say("the first administrator gets a password for the first sign-in with")
    terminal.say(f"  {places.current}/venv/bin/appliance --home {places.home} user first")


def _welcome(told: Mapping[str, Any]) -> str:
    return (
        f"\n    console   {told['address']}\n    name      {told['name']}\n    password  {told['password']}\n\n"
        f"It counts for {told['hours']:g} hours and one sign-in, at which another is chosen. It is shown here alone.\n"
    )


def _told(printed: str) -> dict[str, Any]:
    try:
        found = json.loads(printed)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _reason(said: str) -> str:
    found = _told(said.strip().splitlines()[-1]) if said.strip() else {}
    error: Mapping[str, Any] = found.get("error", {})
    return f"{error['message']} ({error.get('hint', '')})" if error else said.strip()[-300:]
