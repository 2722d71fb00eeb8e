"""What a box makes of a medium by what it trusts, and starting the medium's own installer once it is trusted."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from installer.errors import Refused
from installer.target.places import Places
from installer.terminal import Terminal
from installer.trust import payload
from installer.trust.chain import Decision, Trusted, decide
from installer.trust.manifest import Manifest
from installer.trust.medium import trusted

MEDIUM = "medium"
"""The folder of a release with the files it came as: what a delta leaves out is taken from there."""
INSTALLER = "installer.pyz"


def read(medium: Path | None, fingerprint: str, places: Places, terminal: Terminal) -> Trusted:
    """Judge a medium by the root this box trusts, else by the fingerprint; warnings are said. Raises Refused."""
    if medium is None:
        raise Refused("no medium was named", "run install.sh on the medium, or name its folder: --medium DIR")
    found = trusted(medium, fingerprint, places.accepted(), time.time())
    for warning in found.warnings:
        terminal.say(f"warning: {warning}")
    return found


def judged(medium: Path | None, fingerprint: str, places: Places, terminal: Terminal) -> tuple[Trusted, Decision]:
    """Judge a medium that should bring a release. Raises Refused when the box may not take it."""
    found = read(medium, fingerprint, places, terminal)
    decision = decide(found, places.accepted())
    if decision.kind == "refused":
        raise Refused(decision.reason, "appliance releases only go forward by a medium")
    return found, decision


def base_of(places: Places, manifest: Manifest) -> Path:
    """Where the files are that a delta leaves out. Raises Refused when the box lacks the release they belong to."""
    if manifest.base is None:
        return places.staging
    kept = places.release(manifest.base.release) / MEDIUM
    if not kept.is_dir():
        raise Refused(
            f"the medium has only what is new since {manifest.base.release}, which this box does not have",
            "take the whole bundle instead",
        )
    return kept


def hand_over(medium: Path | None, places: Places, terminal: Terminal, words: Sequence[str]) -> int:
    """Start the installer of a medium that this box trusts, from a checked copy; its exit status.

    Raises:
        Refused: the box trusts nothing yet, or the medium may not be taken.
    """
    if medium is None or places.accepted() is None:
        raise Refused("this box took no release yet, so it knows no keys", "run install.sh with the fingerprint")
    found, _ = judged(medium, "", places, terminal)
    entry = next((entry for entry in found.manifest.files if entry.path == INSTALLER), None)
    if entry is None:
        raise Refused(f"the medium has no {INSTALLER}", "have it made again")
    with tempfile.TemporaryDirectory(prefix="appliance-upgrade-") as folder:
        program = payload.stage(medium, entry, Path(folder))
        return subprocess.call([sys.executable, "-I", str(program), *words])
