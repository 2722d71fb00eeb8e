"""A change goes on after a kill at any point, or goes back whole."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
from pathlib import Path

import pytest

from installer.errors import InstallError
from installer.target.commands import alone
from installer.target.journal import Change, Journal, Step, carry_out, take_back
from installer.target.places import Places
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


def test_a_full_disk_keeps_nobody_from_going_back(tmp_path: Path) -> None:
    """The journal that cannot be written any more is no reason to leave the box stopped."""
    (tmp_path / "marks").mkdir()
    world = World(tmp_path / "marks", fail="c")

    class Full(Journal):
        def keep(self, change: Change) -> Change:
            if change.phase != "doing":
                raise InstallError("cannot write: No space left on device")
            return super().keep(change)

    with pytest.raises(InstallError, match="it fails"):
        carry_out(CHANGE, [world.step(name) for name in "abc"], Full(tmp_path / "journal"), Terminal(io.StringIO()))
    assert world.marks() == set()


def test_an_error_of_the_system_in_a_step_is_taken_back_and_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    world = World(tmp_path / "marks")

    def broken() -> None:
        raise OSError(5, "Input/output error", "/opt/x")

    with pytest.raises(InstallError, match="Input/output error: /opt/x"):
        carry_out(CHANGE, [world.step("a"), Step("b", lambda: False, broken)], Journal(tmp_path / "journal"),
                  Terminal(io.StringIO()))  # fmt: skip
    assert world.marks() == set()


def test_what_holds_of_a_whole_change_alone_is_kept_again_when_the_run_was_killed_before_the_journal_told(
    tmp_path: Path,
) -> None:
    """Else the record of trust would stay one release behind."""
    (tmp_path / "marks").mkdir()
    world, journal, terminal = World(tmp_path / "marks"), Journal(tmp_path / "journal"), Terminal(io.StringIO())
    kept: list[str] = []

    def finish(change: Change) -> None:
        kept.append(change.release)
        if len(kept) == 1:
            raise Killed

    with pytest.raises(Killed):
        carry_out(CHANGE, [world.step("a")], journal, terminal, finish)
    cut = journal.unfinished()
    assert cut is not None
    assert carry_out(cut, [world.step("a")], journal, terminal, finish).phase == "done"
    assert kept == [CHANGE.release] * 2


def test_what_was_accepted_is_durable_and_a_damaged_record_refuses(tmp_path: Path) -> None:
    places = Places(tmp_path, tmp_path / "home")
    assert places.accepted() is None
    places.accept(Accepted("ab" * 32, 7, "cd" * 32))
    assert places.accepted() == Accepted("ab" * 32, 7, "cd" * 32)
    assert (places.state / "trust.json").stat().st_mode & 0o777 == 0o600
    (places.state / "trust.json").write_text(json.dumps({"built": "x"}))
    with pytest.raises(InstallError, match="damaged"):
        places.accepted()
