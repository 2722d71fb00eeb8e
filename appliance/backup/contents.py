"""What of a home is in a backup. Whatever is not named here as left out is in it, so that a new folder is never lost
because nobody thought of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from appliance.backup.binding import RESTORING
from appliance.config import Home, shown
from appliance.settings import Settings

LEFT_OUT: dict[str, str] = {
    "learning.duckdb": "built anew from ledger and spool at the first start",
    "computers": "scratch of the sandboxes; what was under way begins anew",
    "logs": "of this machine; `appliance support create` takes their ends",
    "run": "sockets and process numbers",
    "backups": "a backup of backups would grow without end",
    "lost+found": "the file system's own",
    RESTORING: "the mark of a restore under way",
}
"""Name in the home → why it is not backed up. Files beside the two databases go with them."""

LEDGER = "ledger.db"
"""Copied by SQLite's online backup, not as a file."""
ANCHOR = "secrets/ledger.anchor"
"""Read before the ledger: a newer anchor would name events that the copy does not have."""
REPOSITORIES = ("mirrors", "media")
"""Folders with bare repositories, `NAME.git` each."""
MODELS = "models"

_OF_GIT = ("objects", "refs", "logs", "hooks", "packed-refs", "FETCH_HEAD", "gc.pid", "gc.log")
"""In a bare repository: what packs and references stand for, or nobody misses."""


def files(home: Home, models: bool) -> Iterator[tuple[str, Path]]:
    """(path in the home, where it lies) of every file that is copied as it is, by path."""
    for top in sorted(home.root.iterdir()):
        if _is_left_out(top.name) or (top.name == MODELS and not models):
            continue
        if top.is_dir():
            yield from _below(home, top)
        elif top.is_file():
            yield top.name, top


def repositories(home: Home) -> list[Path]:
    """The bare repositories, by path."""
    return [
        found for folder in REPOSITORIES
        for found in sorted((home.root / folder).glob("[!.]*.git"))
        if (found / "HEAD").is_file()
    ]  # fmt: skip


def outside(home: Home, settings: Settings) -> list[str]:
    """Settings that name an existing file outside the home, with the file: none of it is in a backup."""
    found = []
    for name, value in shown(settings).items():
        path = Path(value.strip('"')) if value.startswith('"/') else None
        if path and path.is_file() and not path.resolve().is_relative_to(home.root.resolve()):
            found.append(f"{name} = {value}")
    return found


def _is_left_out(name: str) -> bool:
    return name in LEFT_OUT or name.startswith((LEDGER, "learning.duckdb"))


def _below(home: Home, top: Path) -> Iterator[tuple[str, Path]]:
    """Files below a folder. What is being made (a dot in front, in models and repositories) is left out; a link to a
    file counts as the file, a link to a folder is followed at the top alone."""
    bare = set(repositories(home)) if top.name in REPOSITORIES else set()
    for folder, inner, names in os.walk(top):
        here = Path(folder)
        if here in bare:
            inner[:] = [name for name in inner if name not in _OF_GIT]
            names = [name for name in names if name not in _OF_GIT]
        if top.name in (MODELS, *REPOSITORIES):
            inner[:] = [name for name in inner if not name.startswith(".")]
        inner.sort()
        for name in sorted(names):
            file = here / name
            if here == top == home.models and name.startswith("."):
                continue  # the registry's lock
            if _is_regular(file) and not (top.name in REPOSITORIES and name.endswith(".lock")):
                yield str(file.relative_to(home.root)), file


def _is_regular(file: Path) -> bool:
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except OSError:
        return False
