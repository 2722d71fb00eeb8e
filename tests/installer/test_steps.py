"""The order of a change, and the data: saved while the box runs, put back whole, never deleted."""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from installer.errors import InstallError
from installer.target import running, snapshots
from installer.target.commands import _way_back
from installer.target.journal import Change
from installer.target.places import Places, point
from installer.target.steps import steps
from installer.target.work import WHOLE, Work
from installer.terminal import Terminal

CHANGE = Change("2.0.0-2", "1.0.0-1", 7.0, kept=True)


class Killed(BaseException):
    """Stands for a kill: nothing that catches errors sees it."""


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


def told(folder: Path) -> tuple[str, str]:
    """Revision and key of a home or a snapshot."""
    key = folder / "secrets" / "audit.key"
    return snapshots.revision(folder), key.read_text() if key.exists() else ""


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """An upgrade of a home; its new release's Python is this one."""
    made = Work(Places(tmp_path / "opt", tmp_path / "home"), CHANGE, Terminal(io.StringIO()))
    python = made.release / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return made


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[None]:
    """Kill the run at the `at`th move, copy or mark."""
    count = 0

    def counted(real):  # type: ignore[no-untyped-def]
        def call(*given, **named):  # type: ignore[no-untyped-def]
            nonlocal count
            count += 1
            if count == at:
                raise Killed
            return real(*given, **named)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(snapshots.shutil, "move", counted(snapshots.shutil.move))
        patched.setattr(snapshots, "_copied", counted(snapshots._copied))
        patched.setattr(snapshots, "settle", counted(snapshots.settle))
        yield


def test_restoring_brings_ledger_and_keys_back_and_keeps_what_lay_there(tmp_path: Path) -> None:
    now, snapshot = home(tmp_path / "home", "0009", "new"), home(tmp_path / "snapshot", "0008", "old")
    snapshots.restore(now, snapshot, tmp_path / "aside")
    assert told(now) == told(snapshot) == ("0008", "old")
    assert told(tmp_path / "aside") == ("0009", "new")


@pytest.mark.parametrize("at", range(1, 9))
def test_restoring_that_was_killed_at_any_point_is_whole_when_it_is_run_again(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, snapshot = home(tmp_path / "home", "0009", "new"), home(tmp_path / "snapshot", "0008", "old")
    with dying(monkeypatch, at):
        try:
            snapshots.restore(now, snapshot, tmp_path / "aside")
        except Killed:
            pass
        else:
            pytest.skip(f"there is no point {at}")
    assert snapshots.revision(now) != "0008" or (now / "secrets" / "audit.key").exists()
    snapshots.restore(now, snapshot, tmp_path / "aside")
    assert told(now) == ("0008", "old") and told(tmp_path / "aside") == ("0009", "new")


@pytest.mark.parametrize("at", range(1, 9))
def test_restoring_that_was_killed_at_any_point_can_be_undone(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, snapshot = home(tmp_path / "home", "0009", "new"), home(tmp_path / "snapshot", "0008", "old")
    with dying(monkeypatch, at), suppress(Killed):
        snapshots.restore(now, snapshot, tmp_path / "aside")
    snapshots.take_up_again(now, tmp_path / "aside")
    assert told(now) == ("0009", "new")
    snapshots.take_up_again(now, tmp_path / "aside")
    assert told(now) == ("0009", "new")


def test_a_write_ahead_log_never_comes_to_lie_beside_another_ledger(tmp_path: Path) -> None:
    now, snapshot = home(tmp_path / "home", "0009", "new"), home(tmp_path / "snapshot", "0008", "old")
    (now / "ledger.db-wal").write_bytes(b"")
    snapshots.restore(now, snapshot, tmp_path / "aside")
    assert not (now / "ledger.db-wal").exists()
    (now / "ledger.db-wal").write_bytes(b"of the older ledger")
    (tmp_path / "aside" / "ledger.db-wal").unlink()
    snapshots.take_up_again(now, tmp_path / "aside")
    assert not (now / "ledger.db-wal").exists() and told(now) == ("0009", "new")


def test_the_tables_are_read_from_a_write_ahead_log_too_and_nothing_is_written_there(tmp_path: Path) -> None:
    place = home(tmp_path / "home", "0008", "x")
    writer = sqlite3.connect(place / "ledger.db")
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("UPDATE alembic_version SET version_num = '0009'")
    writer.commit()
    before = {file: file.read_bytes() for file in place.iterdir() if file.is_file()}
    assert snapshots.revision(place) == "0009"
    assert {file: file.read_bytes() for file in place.iterdir() if file.is_file()} == before
    writer.close()


def test_a_snapshot_is_taken_of_a_ledger_that_is_being_written(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    home(work.places.home, "0008", "now")
    writer = sqlite3.connect(work.places.home / "ledger.db")
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE events (n INTEGER)")
    writer.execute("INSERT INTO events VALUES (1)")
    writer.commit()
    monkeypatch.setattr(running, "pid", lambda _: os.getpid())
    snapshots.save(work)
    assert snapshots.saved(work) and told(work.snapshot) == ("0008", "now")
    kept = sqlite3.connect(work.snapshot / "ledger.db")
    assert kept.execute("SELECT n FROM events").fetchall() == [(1,)]
    kept.close()
    writer.close()


def test_a_snapshot_of_an_earlier_try_is_taken_anew(work: Work) -> None:
    home(work.places.home, "0008", "now")
    snapshots.save(work)
    assert snapshots.saved(work)
    assert not snapshots.saved(replace(work, change=replace(CHANGE, started=8.0)))


def test_what_came_in_since_is_saved_only_where_the_tables_change(work: Work) -> None:
    home(work.places.home, "0008", "now")
    snapshots.save(work)
    assert not snapshots.complete(work)
    (work.snapshot / snapshots.TABLES).write_text('{"before": "0008", "after": "0008"}')
    assert snapshots.complete(work)
    (work.snapshot / snapshots.TABLES).write_text('{"before": "0008", "after": "0009"}')
    assert not snapshots.complete(work)
    (work.places.home / "secrets" / "audit.key").write_text("since")
    snapshots.save_the_rest(work)
    assert snapshots.complete(work) and told(work.snapshot) == ("0008", "since")


def test_nothing_is_saved_from_a_box_that_was_started_meanwhile(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    home(work.places.home, "0008", "now")
    snapshots.save(work)
    monkeypatch.setattr(running, "pid", lambda _: os.getpid())
    with pytest.raises(InstallError, match="started meanwhile"):
        snapshots.save_the_rest(work)


def test_a_release_that_cannot_migrate_a_copy_leaves_the_home_alone(work: Work) -> None:
    home(work.places.home, "0008", "now")
    snapshots.save(work)
    (work.release / "venv" / "bin" / "python").write_text("#!/bin/sh\necho 'no such table' >&2\nexit 1\n")
    with pytest.raises(InstallError, match="cannot take over the box's data: no such table"):
        snapshots.rehearse(work)
    assert told(work.places.home) == ("0008", "now") and not snapshots.rehearsed(work)


def test_a_failed_upgrade_points_back_and_leaves_an_unmigrated_ledger_alone(work: Work) -> None:
    places = work.places
    home(places.home, "0008", "since")
    home(work.snapshot, "0008", "before")
    (work.snapshot / WHOLE).touch()
    point(places.current, Path("releases") / CHANGE.release)
    step = next(step for step in steps(work) if step.name == "switch")
    assert step.done()
    step.undo()
    assert places.chosen(places.current) == CHANGE.previous
    assert told(places.home) == ("0008", "since")


def test_a_failed_upgrade_puts_the_ledger_back_that_the_old_release_can_read(work: Work) -> None:
    places = work.places
    home(places.home, "0009", "migrated")
    home(work.snapshot, "0008", "before")
    (work.snapshot / WHOLE).touch()
    point(places.current, Path("releases") / CHANGE.release)
    next(step for step in steps(work) if step.name == "switch").undo()
    assert told(places.home) == ("0008", "before") and told(snapshots.aside(work)) == ("0009", "migrated")


def test_all_that_is_slow_comes_before_the_box_stops(work: Work) -> None:
    names = [step.name for step in steps(work)]
    stop = names.index("stop the box")
    assert {"copy and check", "unpack the release", "snapshot with keys", "migrate a copy"} == set(names[:stop])
    assert names.index("switch") < names.index("start") < names.index("health") < names.index("keep the way back")


@pytest.fixture
def upgraded(work: Work) -> Work:
    """A box whose release came after another one."""
    places = work.places
    home(places.home, "0009", "new")
    for release in (CHANGE.release, CHANGE.previous):
        places.release(release).mkdir(parents=True, exist_ok=True)
        (places.release(release) / WHOLE).touch()
    point(places.current, Path("releases") / CHANGE.release)
    point(places.previous, Path("releases") / CHANGE.previous)
    return work


def test_going_back_over_changed_tables_wants_it_said_and_then_brings_the_snapshot(upgraded: Work) -> None:
    places = upgraded.places
    home(upgraded.snapshot, "0008", "old")
    (upgraded.snapshot / WHOLE).touch()
    with pytest.raises(InstallError, match="changed the ledger's tables"):
        _way_back(places, to_snapshot=False)
    back = _way_back(places, to_snapshot=True)
    assert back.back and back.kept and (back.release, back.previous) == (CHANGE.previous, CHANGE.release)
    names = [step.name for step in steps(Work(places, back, upgraded.terminal))]
    assert names == ["stop the box", "data of before the upgrade", "switch", "start", "keep the way back"]


def test_going_back_over_the_same_tables_keeps_the_data(upgraded: Work) -> None:
    home(upgraded.snapshot, "0009", "old")
    (upgraded.snapshot / WHOLE).touch()
    back = _way_back(upgraded.places, to_snapshot=False)
    assert back.back and not back.kept


def test_going_back_twice_goes_forward_again_with_a_snapshot_and_a_rehearsal(upgraded: Work) -> None:
    places = upgraded.places
    point(places.current, Path("releases") / CHANGE.previous)
    point(places.previous, Path("releases") / CHANGE.release)
    again = _way_back(places, to_snapshot=False)
    assert not again.back and again.kept and again.release == CHANGE.release
    names = [step.name for step in steps(Work(places, again, upgraded.terminal))]
    assert names.index("migrate a copy") < names.index("stop the box")


def test_what_cannot_be_compiled_stops_no_release(tmp_path: Path) -> None:
    from installer.target.unpacking import COMPILE

    (tmp_path / "good.py").write_text("x = 1\n")
    (tmp_path / "template.py").write_text("{% block %}\n")
    assert subprocess.run([sys.executable, "-c", COMPILE, str(tmp_path)]).returncode == 0
    assert len(list((tmp_path / "__pycache__").iterdir())) == 1
