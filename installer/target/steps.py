"""The steps of an install and of an upgrade. The order is the promise: nothing the box runs on is touched before the
new release is whole, and what the box accepts as newest changes only after it was healthy."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from installer import pip
from installer.errors import InstallError, Refused
from installer.preflight import Row
from installer.target import health, prune, running, seal, surroundings, user
from installer.target.journal import Change, Step
from installer.target.media import MEDIUM, base_of
from installer.target.places import Places, point, settle, write
from installer.target.site import Site
from installer.terminal import Terminal, run
from installer.trust import payload
from installer.trust.manifest import Manifest
from installer.trust.medium import FOLDER as METADATA

WHOLE = "whole"
"""The file a release or snapshot gets last: a folder without it was interrupted."""
KEPT = ("ledger.db", "ledger.db-wal", "ledger.db-shm", "appliance.toml", "secrets", "policy")
"""What an upgrade may change in the home, and the keys without which it is worth nothing."""
TRY_LEDGER = "import sys, pathlib\nfrom appliance.config import Home\nfrom appliance.ledger import open_ledger\n\
open_ledger(Home(pathlib.Path(sys.argv[1]))).close()\n"


@dataclass(frozen=True)
class Work:
    """What the steps work with; `medium`, `manifest` and `lock` are None where a run only takes back;
    `site` None is what was decided before.

    `lock` is the open file that holds the installation: what unpacks keeps it, so that a run after a kill waits for it.
    """

    places: Places
    change: Change
    terminal: Terminal
    medium: Path | None = None
    manifest: Manifest | None = None
    lock: int | None = None
    site: Site | None = None

    @property
    def release(self) -> Path:
        return self.places.release(self.change.release)

    @property
    def old(self) -> Path:
        return self.places.release(self.change.previous)

    @property
    def snapshot(self) -> Path:
        return self.places.snapshots / self.change.release


def steps(work: Work) -> list[Step]:
    """All steps, in order. Where the home holds data they are saved first."""
    places = work.places
    fresh = [
        Step("copy and check", lambda: whole(work.release), lambda: _stage(work), lambda: _remove(places.staging)),
        Step("unpack the release", lambda: whole(work.release), lambda: _unpack(work), lambda: _remove(work.release)),
    ]
    before = [
        Step("stop the box", lambda: _runs(work) or running.pid(places) is None, lambda: running.stop(places),
             lambda: _again(work)),
        Step("snapshot with keys", lambda: whole(work.snapshot), lambda: _save(work), lambda: _remove(work.snapshot)),
        Step("migrate a copy", lambda: _runs(work), lambda: _try(work)),
    ]  # fmt: skip
    after = [
        surroundings.step(places, work.site, work.terminal),
        Step("switch", lambda: _runs(work), lambda: _switch(work), lambda: _switch_back(work)),
        Step("start", lambda: False, lambda: running.start(places, work.release, work.terminal), lambda: _stop(work)),
        Step("health", lambda: False, lambda: _healthy(work)),
        Step("keep the way back", lambda: _way_back(work), lambda: point(places.previous, _link(work.change.previous))),
        prune.step(places, work.terminal, WHOLE),
    ]
    return [*fresh, *(before if work.change.kept else []), *after]


def whole(folder: Path) -> bool:
    """Whether a release or snapshot was finished."""
    return (folder / WHOLE).is_file()


def _runs(work: Work) -> bool:
    return work.places.chosen(work.places.current) == work.change.release


def _stage(work: Work) -> None:
    medium, manifest = _medium(work)
    payload.listed(medium, manifest)
    kept = base_of(work.places, manifest)
    work.places.staging.mkdir(parents=True, exist_ok=True, mode=0o700)
    read, started = 0, time.monotonic()

    def report(count: int) -> None:
        nonlocal read
        read += count
        seconds = time.monotonic() - started
        work.terminal.working("copy and check", seconds, read / max(1, manifest.size), f"{read / 1e6:.0f} MB")

    for entry in manifest.files:
        payload.stage(kept if entry.path in manifest.absent else medium, entry, work.places.staging, report)
    settle(work.places.staging)


def _unpack(work: Work) -> None:
    """Make the release where it will stay: a virtual environment cannot be moved."""
    medium, manifest = _medium(work)
    places, release, staging = work.places, work.release, work.places.staging
    _remove(release)
    release.mkdir(parents=True)
    log, name = places.log, "unpack the release"
    held = () if work.lock is None else (work.lock,)
    run([sys.executable, "-m", "venv", release / "venv"], work.terminal, name, log, held=held)
    listed = staging / "wheels" / "requirements.txt"
    options = ["install", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--progress-bar", "off"]
    where = ["--no-index", "--find-links", str(staging / "wheels"), "-r", str(listed)]
    run(
        [release / "venv" / "bin" / "python", "-m", "pip", *options, *where], work.terminal, name, log,
        progress=pip.counting(len(manifest.below("wheels")) - 1), env=pip.environment(True),
        held=held,
    )  # fmt: skip
    for paper in ("installer.pyz", "sbom.json", "licences.txt", "LICENSE", "release-notes.md"):
        if (staging / paper).exists():
            shutil.copyfile(staging / paper, release / paper)
    shutil.copytree(medium / METADATA, release / METADATA)
    staging.rename(release / MEDIUM)
    seal.write(release)
    os.sync()
    (release / WHOLE).write_text(manifest.release + "\n", "utf-8")
    settle(release)


def _save(work: Work) -> None:
    """Copy what an upgrade may change. The box is stopped, so the files hold still."""
    if running.pid(work.places) is not None:
        raise InstallError("the box was started meanwhile", "stop it, then run this again")
    _remove(work.snapshot)
    work.snapshot.mkdir(parents=True, mode=0o700)
    _copy(work.places.home, work.snapshot)
    os.sync()
    (work.snapshot / WHOLE).write_text(work.change.previous + "\n", "utf-8")
    settle(work.snapshot)


def _copy(source: Path, target: Path) -> None:
    for name in reversed(KEPT):
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        elif (source / name).exists():
            half = target / (name + ".part")
            shutil.copy2(source / name, half)
            half.replace(target / name)


def _try(work: Work) -> None:
    """Let the new release migrate a copy of the snapshot, and read the settings, before it sees the box's own."""
    with tempfile.TemporaryDirectory(prefix="migrate-", dir=work.places.prefix) as folder:
        _copy(work.snapshot, Path(folder))
        tried = [str(work.release / "venv" / "bin" / "python"), "-I", "-c", TRY_LEDGER, folder]
        said = subprocess.run(tried, capture_output=True, text=True, errors="replace", env=running.environment())
        if said.returncode == 0:
            copy = Places(work.places.prefix, Path(folder))
            said = running.command(copy, work.release, ["config", "check"])
    if said.returncode != 0:
        last = (said.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InstallError(f"the new release cannot take over the box's data: {last}", "the old release goes on")


def _switch(work: Work) -> None:
    point(work.places.current, _link(work.change.release))


def _link(release: str) -> Path:
    return Path("releases") / release


def _way_back(work: Work) -> bool:
    return not work.change.previous or work.places.chosen(work.places.previous) == work.change.previous


def _switch_back(work: Work) -> None:
    """Back to the release before, with the data it can read: the snapshot's where the new one migrated them."""
    places = work.places
    running.stop(places)
    if whole(work.snapshot) and revision(places.home) != revision(work.snapshot):
        aside = restore(places.home, work.snapshot)
        work.terminal.say(f"the ledger is as before the upgrade; what was there is kept in {aside}")
    if work.change.previous:
        point(places.current, _link(work.change.previous))
    else:
        places.current.unlink(missing_ok=True)


def revision(home: Path) -> str:
    """The revision of a ledger's tables, read from a copy so that nothing of the ledger is touched."""
    if not (home / "ledger.db").exists():
        return ""
    with tempfile.TemporaryDirectory(prefix="appliance-revision-") as folder:
        for name in ("ledger.db", "ledger.db-wal"):
            if (home / name).exists():
                shutil.copyfile(home / name, Path(folder) / name)
        connection = sqlite3.connect(Path(folder) / "ledger.db")
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.Error as error:
            raise InstallError(f"the ledger in {home} cannot be read: {error}", "restore it from a backup") from error
        finally:
            connection.close()
    return str(found[0]) if found else ""


def restore(home: Path, snapshot: Path) -> Path:
    """Put a snapshot back. What lay there is moved aside, never deleted; returns where it is."""
    aside = Path(tempfile.mkdtemp(prefix=f"replaced-by-{snapshot.name}-", dir=snapshot.parent))
    for name in KEPT:  # the ledger goes first and comes last: while it is away, a run that was cut short begins anew
        if (home / name).exists():
            shutil.move(home / name, aside / name)
    _copy(snapshot, home)
    user.give([home / name for name in KEPT], home)
    os.sync()
    return aside


def _stop(work: Work) -> None:
    if not work.change.mend:
        running.stop(work.places)


def _again(work: Work) -> None:
    if work.change.previous:
        running.start(work.places, work.old, work.terminal)


def _healthy(work: Work) -> None:
    rows = health.look(work.places, work.release)
    write(work.places.state / "health.json", {row.name: row.as_dict() for row in rows})
    for row in rows:
        work.terminal.done(f"  {row.name}", f"{row.verdict}: {row.found}")
    failed = [row for row in rows if row.verdict == "fail"]
    if failed:
        raise InstallError(f"the box is not healthy: {_named(failed)}", failed[0].fix)


def _named(rows: list[Row]) -> str:
    return "; ".join(f"{row.name}: {row.found}" for row in rows)


def _medium(work: Work) -> tuple[Path, Manifest]:
    if work.medium is None or work.manifest is None:
        raise Refused("this step needs the medium", "run install.sh from the medium again")
    return work.medium, work.manifest


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
