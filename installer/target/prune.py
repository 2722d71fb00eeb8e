"""Removes releases that nobody goes back to, with the snapshots from before them. What one took the place of stays."""

from __future__ import annotations

import shutil
from pathlib import Path

from installer.target.journal import Step
from installer.target.places import Places
from installer.target.site import Site, recorded
from installer.terminal import Terminal


def step(places: Places, terminal: Terminal, whole: str) -> Step:
    """The last step of a change. `whole` is the file without which a release counts as half."""
    return Step("remove what is too old", lambda: not old(places, _kept(places)),
                lambda: _remove(places, whole, terminal))  # fmt: skip


def old(places: Places, keep: int) -> list[Path]:
    """Releases and snapshots beyond the newest `keep`; never what runs or ran before, nor a folder of another kind."""
    releases = sorted(
        (one for one in _folders(places.releases) if _built(one.name) is not None), key=_age, reverse=True
    )
    needed = {places.chosen(places.current), places.chosen(places.previous)}
    room = max(0, keep - len([one for one in releases if one.name in needed]))
    spare = [one for one in releases if one.name not in needed]
    stay = needed | {one.name for one in spare[:room]}
    snapshots = [one for one in _folders(places.snapshots) if _built(one.name) is not None]
    return [one for one in (*releases, *snapshots) if one.name not in stay]


def _remove(places: Places, whole: str, terminal: Terminal) -> None:
    for folder in old(places, _kept(places)):
        (folder / whole).unlink(missing_ok=True)  # first, so that a kill in between leaves nothing that looks whole
        shutil.rmtree(folder)
        terminal.say(f"  removed {folder}")


def _kept(places: Places) -> int:
    return (recorded(places) or Site()).keep


def _folders(folder: Path) -> list[Path]:
    return [one for one in folder.iterdir() if one.is_dir() and not one.is_symlink()] if folder.is_dir() else []


def _age(folder: Path) -> int:
    return _built(folder.name) or 0


def _built(name: str) -> int | None:
    """A release's time, which orders releases, from its name `version-built`."""
    _, dash, built = name.rpartition("-")
    return int(built) if dash and built.isdecimal() else None
