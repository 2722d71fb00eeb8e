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
from installer.trust.manifest import Entry, Manifest
from installer.trust.medium import FOLDER, trusted
from installer.trust.metadata import opened

MEDIUM = "medium"
"""The folder of a release with the files it came as: what a delta leaves out is taken from there."""
INSTALLER = "installer.pyz"
VLLM = "vllm"
"""The folder with vLLM's wheels, and the environment they are installed into."""
IMPORTED = frozenset({"models", "mirrors", "osv"})
"""Folders of a medium with what a running box takes in."""
APART = IMPORTED | {"debs"}
"""Folders of a medium that are no part of a release."""


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


def installed(manifest: Manifest) -> tuple[Entry, ...]:
    """The files of a medium that a release is made of, and that it keeps."""
    return tuple(entry for entry in manifest.files if entry.path.split("/")[0] not in APART)


def apart(manifest: Manifest) -> frozenset[str]:
    """The paths of the others: an install does without them."""
    return frozenset(entry.path for entry in manifest.files) - {entry.path for entry in installed(manifest)}


def sources(medium: Path, manifest: Manifest, places: Places) -> list[tuple[Entry, Path]]:
    """Every file of a release and the folder it is read from: the medium, or for a delta the release that has it.

    Raises:
        Refused: no such release is here.
    """
    wanted = installed(manifest)
    lacking = {one.path for one in wanted if one.path in manifest.absent and not (medium / one.path).is_file()}
    kept = base_of(places, manifest) if lacking else medium
    return [(entry, kept if entry.path in lacking else medium) for entry in wanted]


def base_of(places: Places, manifest: Manifest) -> Path:
    """Where the files are that a delta leaves out. Raises Refused when the box lacks the release they belong to."""
    if manifest.base is None:
        raise Refused("the medium leaves out files and names no release that has them", "take the whole bundle instead")
    release = places.release(manifest.base.release)
    kept, listed = release / MEDIUM, release / FOLDER / "targets.json"
    if not kept.is_dir() or opened(listed.read_bytes(), "targets").digest != manifest.base.digest:
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
