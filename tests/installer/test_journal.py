"""A change goes on after a kill at any point, or goes back whole; data of before are never deleted."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from installer.errors import InstallError
from installer.target import steps as made
from installer.target.commands import alone
from installer.target.journal import Change, Journal, Step, carry_out, take_back
from installer.target.places import Places, point
from installer.terminal import Terminal
from installer.trust.chain import Accepted

CHANGE = Change("2.0.0-2", "1.0.0-1", 0.0)


class Killed(BaseException):
    """Stands for a kill: nothing that catches errors sees it."""


class World:
    """A folder of marks that steps make and take back; `die` is the write at which the run is killed."""

    def __init__(self, folder: Path, die: int = -1, fail: str = "") -> None:
        self.folder, self.die, self.fail, self.writes = folder, die, fail, 0

    def tick(self) -> None:
        self.writes += 1
        if self.writes == self.die:
            raise Killed

    def step(self, name: str) -> Step:
        half, mark = self.folder / f"{name}.half", self.folder / name

        def apply() -> None:
            self.tick()
            half.touch()
            self.tick()
            if name == self.fail:
                raise InstallError("it fails")
            half.replace(mark)
            self.tick()

        def undo() -> None:
            self.tick()
            mark.unlink(missing_ok=True)
            self.tick()
            half.unlink(missing_ok=True)
            self.tick()

        return Step(name, mark.exists, apply, undo)

    def marks(self) -> set[str]:
        return {one.name for one in self.folder.iterdir()}


def go(world: World, file: Path) -> Change:
    """What the installer does at each run: go on, or finish going back and then begin anew."""
    journal, terminal = Journal(file), Terminal(io.StringIO())
    steps = [world.step(name) for name in "abc"]
    cut = journal.unfinished()
    if cut is not None and cut.phase == "undoing":
        take_back(cut, steps, journal, terminal)
        cut = None
    return carry_out(cut or CHANGE, steps, journal, terminal)


@pytest.mark.parametrize("die", range(1, 10))
def test_a_run_killed_at_any_write_goes_on_when_it_is_run_again(die: int, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    with pytest.raises(Killed):
        go(World(tmp_path / "marks", die), tmp_path / "journal.json")
    world = World(tmp_path / "marks")
    assert go(world, tmp_path / "journal.json").phase == "done"
    assert {"a", "b", "c"} <= world.marks()
    assert Journal(tmp_path / "journal.json").unfinished() is None


@pytest.mark.parametrize("die", range(1, 18))
def test_a_run_that_fails_and_is_killed_while_going_back_leaves_nothing_when_it_is_run_again(
    die: int, tmp_path: Path
) -> None:
    (tmp_path / "marks").mkdir()
    with contextlib.suppress(Killed, InstallError):
        go(World(tmp_path / "marks", die, fail="c"), tmp_path / "journal.json")
    with pytest.raises(InstallError, match="it fails"):
        go(World(tmp_path / "marks", fail="c"), tmp_path / "journal.json")
    assert World(tmp_path / "marks").marks() == set()


def test_what_a_killed_run_left_at_work_is_waited_for(tmp_path: Path) -> None:
    """A killed installer's pip went on writing into the release that the next run was removing."""
    places = Places(tmp_path / "opt", tmp_path / "home")
    with alone(places) as lock:
        left = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    try:
        with pytest.raises(InstallError, match="at work"), alone(places, seconds=0.1):
            pass
    finally:
        left.kill()
        left.wait()
    with alone(places, seconds=0.1):
        pass


def test_a_damaged_journal_is_said_and_nothing_is_done(tmp_path: Path) -> None:
    (tmp_path / "journal.json").write_text('{"release": 1')
    with pytest.raises(InstallError, match="cannot be read"):
        Journal(tmp_path / "journal.json").unfinished()
    (tmp_path / "journal.json").write_text("{}")
    with pytest.raises(InstallError, match="damaged"):
        Journal(tmp_path / "journal.json").unfinished()


def home(folder: Path, revision: str, word: str) -> Path:
    """A home with a ledger of that revision."""
    (folder / "secrets").mkdir(parents=True)
    (folder / "secrets" / "audit.key").write_text(word)
    connection = sqlite3.connect(folder / "ledger.db")
    connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
    connection.commit()
    connection.close()
    return folder


def test_restoring_brings_ledger_and_keys_back_and_keeps_what_lay_there(tmp_path: Path) -> None:
    now, snapshot = home(tmp_path / "home", "0009", "new"), home(tmp_path / "snapshots" / "r", "0008", "old")
    aside = made.restore(now, snapshot)
    assert made.revision(now) == "0008" and (now / "secrets" / "audit.key").read_text() == "old"
    assert made.revision(aside) == "0009" and (aside / "secrets" / "audit.key").read_text() == "new"
    assert made.revision(snapshot) == "0008"


def test_a_ledger_that_was_moved_away_counts_as_another_so_that_restoring_begins_anew(tmp_path: Path) -> None:
    now = home(tmp_path / "home", "0009", "new")
    (now / "ledger.db").unlink()
    assert made.revision(now) == ""
    made.restore(now, home(tmp_path / "snapshots" / "r", "0008", "old"))
    assert made.revision(now) == "0008"


def test_a_failed_upgrade_points_back_and_leaves_an_unmigrated_ledger_alone(tmp_path: Path) -> None:
    places = Places(tmp_path / "opt", home(tmp_path / "home", "0008", "since"))
    work = made.Work(places, replace(CHANGE, kept=True), Terminal(io.StringIO()))
    home(work.snapshot, "0008", "before")
    (work.snapshot / made.WHOLE).touch()
    point(places.current, Path("releases") / CHANGE.release)
    step = next(step for step in made.steps(work) if step.name == "switch")
    assert step.done()
    step.undo()
    assert places.chosen(places.current) == CHANGE.previous
    assert (places.home / "secrets" / "audit.key").read_text() == "since"


def test_the_order_of_steps_touches_nothing_that_runs_before_the_release_is_whole(tmp_path: Path) -> None:
    work = made.Work(Places(tmp_path / "opt", tmp_path / "home"), replace(CHANGE, kept=True), Terminal(io.StringIO()))
    names = [step.name for step in made.steps(work)]
    assert names.index("unpack the release") < names.index("stop the box") < names.index("snapshot with keys")
    assert names.index("migrate a copy") < names.index("switch") < names.index("health")


def test_what_was_accepted_is_durable_and_a_damaged_record_refuses(tmp_path: Path) -> None:
    places = Places(tmp_path, tmp_path / "home")
    assert places.accepted() is None
    places.accept(Accepted("ab" * 32, 7, "cd" * 32))
    assert places.accepted() == Accepted("ab" * 32, 7, "cd" * 32)
    assert (places.state / "trust.json").stat().st_mode & 0o777 == 0o600
    (places.state / "trust.json").write_text(json.dumps({"built": "x"}))
    with pytest.raises(InstallError, match="damaged"):
        places.accepted()
