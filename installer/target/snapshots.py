"""What an upgrade may change in a home: saved while the box runs, tried on a copy, put back where that must be.

A snapshot is taken with SQLite's online backup, by the new release's own SQLite, while the old release still serves.
Only where the new release changes the ledger's tables is it taken anew once the box is stopped: only then may it ever
take the ledger's place.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path

from installer.errors import InstallError
from installer.target import running, user
from installer.target.places import Places, read, settle, write
from installer.target.work import WHOLE, Work, remove, whole

LEDGER = ("ledger.db", "ledger.db-wal", "ledger.db-shm")
"""One thing in three files: a write-ahead log beside a database that is not its own would ruin it."""
KEPT = (*LEDGER, "appliance.toml", "secrets", "policy")
"""What an upgrade may change in the home, and the keys without which it is worth nothing."""
TABLES, STOPPED = "tables.json", "stopped"

SAVE = """
import pathlib, sys
import pysqlite3.dbapi2 as sqlite
source = sqlite.connect(pathlib.Path(sys.argv[1]).as_uri() + "?mode=ro", uri=True, timeout=60)
target = sqlite.connect(sys.argv[2])
source.backup(target)
target.close()
"""
TRY = """
import pathlib, sys
from appliance.config import Home
from appliance.ledger import open_ledger
open_ledger(Home(pathlib.Path(sys.argv[1]))).close()
"""


def save(work: Work) -> None:
    """Copy ledger, keys, settings and policy, whether the box runs or not. Raises InstallError."""
    home, snapshot = work.places.home, work.snapshot
    remove(snapshot)
    snapshot.mkdir(parents=True, mode=0o700)
    if running.pid(work.places) is None:
        _copy(home, snapshot)
    else:
        _copy(home, snapshot, tuple(name for name in KEPT if name not in LEDGER))
        _asked(work, SAVE, home / "ledger.db", snapshot / "ledger.db")
        _durable(snapshot / "ledger.db")
    (snapshot / WHOLE).write_text(_mark(work), "utf-8")
    settle(snapshot)


def saved(work: Work) -> bool:
    """Whether the snapshot is this change's own: one of an earlier try holds an older ledger."""
    return whole(work.snapshot) and (work.snapshot / WHOLE).read_text("utf-8") == _mark(work)


def rehearse(work: Work) -> None:
    """Let the new release migrate a copy, and read the settings, before it sees the box's own. Raises InstallError."""
    before = revision(work.snapshot)
    with tempfile.TemporaryDirectory(prefix="migrate-", dir=work.places.prefix) as folder:
        _copy(work.snapshot, Path(folder))
        _asked(work, TRY, folder)
        said = running.command(Places(work.places.prefix, Path(folder)), work.release, ["config", "check"])
        if said.returncode != 0:
            raise InstallError(_cannot(said.stderr), "the old release goes on")
        after = revision(Path(folder))
    write(work.snapshot / TABLES, {"before": before, "after": after})


def rehearsed(work: Work) -> bool:
    """Whether the new release has shown on this snapshot that it can take over."""
    return (work.snapshot / TABLES).is_file()


def save_the_rest(work: Work) -> None:
    """Copy again what came in until the box stopped. Raises InstallError when it runs."""
    if running.pid(work.places) is not None:
        raise InstallError("the box was started meanwhile", "stop it, then run this again")
    for name in LEDGER:
        (work.snapshot / name).unlink(missing_ok=True)
    _copy(work.places.home, work.snapshot)
    (work.snapshot / STOPPED).touch()
    settle(work.snapshot)


def complete(work: Work) -> bool:
    """Whether nothing of what the snapshot is for is missing from it."""
    tables = read(work.snapshot / TABLES) or {}
    return (work.snapshot / STOPPED).exists() or tables.get("before") == tables.get("after", "unknown")


def revision(home: Path) -> str:
    """The revision of a ledger's tables; nothing of the ledger is touched. "" where none is. Raises InstallError."""
    ledger, log = home / "ledger.db", home / "ledger.db-wal"
    if not ledger.exists():
        return ""
    if not log.exists() or log.stat().st_size == 0:
        return _revision(ledger, home)
    with tempfile.TemporaryDirectory(prefix="appliance-revision-") as folder:
        for file in (ledger, log):
            shutil.copyfile(file, Path(folder) / file.name)
        return _revision(Path(folder) / "ledger.db", home)


def _revision(ledger: Path, home: Path) -> str:
    alone = not ledger.with_name("ledger.db-wal").exists()
    try:
        connection = sqlite3.connect(f"{ledger.absolute().as_uri()}?{'immutable=1' if alone else 'mode=rw'}", uri=True)
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise InstallError(f"the ledger in {home} cannot be read: {error}", "restore it from a backup") from error
    return str(found[0]) if found else ""


def aside(work: Work) -> Path:
    """Where this change keeps what a snapshot takes the place of."""
    return work.places.snapshots / f"replaced-by-{work.snapshot.name}-{int(work.change.started)}"


def restore(home: Path, snapshot: Path, aside: Path) -> None:
    """Put a snapshot back. What lay there is moved to `aside`, never deleted. Killed at any point, it is run again."""
    aside.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not whole(aside):
        for name in KEPT:  # the ledger goes first and comes last: while it is away nothing takes the home for whole
            if (home / name).exists():
                shutil.move(home / name, aside / name)
        settle(home)
        (aside / WHOLE).touch()
        settle(aside)
    for name in KEPT:  # now whatever is there was copied by a run that was killed
        _discard(home / name)
    _copy(snapshot, home)
    user.give([home / name for name in KEPT], home)
    settle(home)


def take_up_again(home: Path, aside: Path) -> None:
    """Undo `restore`, whole or half done: what was moved aside comes back; what ran meanwhile is kept beside it."""
    if not aside.exists():
        return
    meanwhile = aside / "meanwhile"
    meanwhile.mkdir(exist_ok=True)
    names = [name for name in KEPT if (aside / name).exists()]
    for name in [*names, *(LEDGER if "ledger.db" in names else ())]:
        if (home / name).exists():
            _discard(meanwhile / name)
            shutil.move(home / name, meanwhile / name)
    for name in reversed(names):
        shutil.move(aside / name, home / name)
    user.give([home / name for name in KEPT], home)
    (aside / WHOLE).unlink(missing_ok=True)
    settle(home)


def _copy(source: Path, target: Path, names: tuple[str, ...] = KEPT) -> None:
    """Copy what is there of the names, durably, the ledger itself last and in one step."""
    for name in reversed(names):
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True, copy_function=_copied)
        elif (source / name).exists():
            half = target / (name + ".part")
            _copied(str(source / name), str(half))
            half.replace(target / name)
    settle(target)


def _copied(source: str, target: str) -> str:
    shutil.copy2(source, target)
    _durable(Path(target))
    return target


def _durable(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _discard(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _mark(work: Work) -> str:
    return f"{work.change.previous} {work.change.started}\n"


def _asked(work: Work, code: str, *words: str | Path) -> None:
    """Run a few lines in the new release's Python. Raises InstallError."""
    command = [str(work.release / "venv" / "bin" / "python"), "-I", "-c", code, *map(str, words)]
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
            env=running.environment(),
        )  # fmt: skip
    except OSError as error:
        raise InstallError(_cannot(str(error)), "the old release goes on") from error
    if said.returncode != 0:
        raise InstallError(_cannot(said.stderr), "the old release goes on")


def _cannot(said: str) -> str:
    last = (said.strip().splitlines() or ["no reason given"])[-1]
    return f"the new release cannot take over the box's data: {last}"
