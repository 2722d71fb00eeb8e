"""Killed at a write, out of space, a disk that fails: the next run ends with a healthy box that has lost nothing."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.install import tracing
from tests.install.bare import Machine
from tests.install.journey import PREFIX, USER, Journey, said
from tests.install.releases import Medium
from tests.install.tracing import Point

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

SEED = 7
KILLS = 8
"""At each of install and upgrade; every second one takes all processes of the machine, as a power cut does."""
FAULTS = 3
"""Of each kind, while the box is upgraded."""


@pytest.fixture(scope="module", autouse=True)
def traceable() -> None:
    tracing.lacking()


def _words(journey: Journey, medium: Medium) -> list[str]:
    """The medium's installer as install.sh starts it, so that the process that is hit is the one that writes."""
    return ["python3", "-I", f"{medium.inside}/installer.pyz", "install", "--yes", "--medium", medium.inside,
            "--fingerprint", journey.press.fingerprint]  # fmt: skip


def _points(calls: tuple[str, ...], count: int) -> list[Point]:
    """Which calls are hit: one in each of so many equal parts of a run."""
    chosen = random.Random(SEED)
    return [Point.at(calls, chosen.randrange(n * len(calls) // count, (n + 1) * len(calls) // count))
            for n in range(count)]  # fmt: skip


def _killed(journey: Journey, medium: Medium, number: int, point: Point, scratch: Path) -> str:
    """Run the installer until it is killed there; in which step that was. "" when it ended before."""
    ended = tracing.injected(journey.machine, _words(journey, medium), scratch, "signal=KILL", point)
    assert "Traceback" not in ended.said, ended.said
    assert ended.status in {0, -9}, ended.said
    if ended.status == 0:
        return ""
    where = journey.step()
    if number % 2:
        journey.machine.kill_all()
    current = journey.machine.path(f"{PREFIX}/current")
    if current.is_symlink():
        assert (current.parent / current.readlink() / "whole").exists()
    return where


def _heals(journey: Journey, medium: Medium) -> None:
    """The same command again ends with the release that was wanted, healthy."""
    result = journey.installer(medium, "install", "--yes")
    assert result.returncode == 0, said(result)
    assert journey.release() == medium.release and set(journey.processes().values()) == {"ready"}


def _in_words(where: Counter[str]) -> str:
    return ", ".join(f"{count} in {step}" for step, count in where.items() if step)


def test_an_install_killed_at_its_writes_ends_healthy_when_it_is_run_again(journey: Journey, scratch: Path) -> None:
    """One machine is killed over and over: a run goes on from what the one before left."""
    medium, where = journey.press.medium("0.1.0"), Counter[str]()
    counted = tracing.injected(journey.machine, _words(journey, medium), scratch)
    assert counted.status == 0, counted.said
    journey.calls = counted.calls
    journey.renew()
    for number, point in enumerate(_points(counted.calls, KILLS)):
        step = _killed(journey, medium, number, point, scratch)
        if step:
            where[step] += 1
        else:  # it had less left to do than the run that was counted
            journey.renew()
    _heals(journey, medium)
    journey.note(f"install killed {where.total()} times", f"{len(counted.calls)} calls", _in_words(where))
    assert where.total() >= KILLS // 2


def test_an_upgrade_killed_at_its_writes_ends_healthy_and_has_lost_nothing(journey: Journey, scratch: Path) -> None:
    """From the unpacked release on, where the data are at stake; after each kill it is run again and rolled back."""
    journey.machine.run(["sh", "-c", "mkdir -p /srv/git && git init --quiet --bare /srv/git/parcel.git"])
    journey.machine.run(["chown", "-R", USER, "/srv/git"])
    journey.told("repo", "add", "parcel", "--url", "file:///srv/git/parcel.git", "--allow-empty")
    medium, where, kept = journey.press.medium("0.2.0"), Counter[str](), []
    _heals(journey, medium)
    assert journey.installed("rollback").returncode == 0
    counted = tracing.injected(journey.machine, _words(journey, medium), scratch)
    assert counted.status == 0, counted.said
    for number, point in enumerate(_points(counted.calls, KILLS)):
        assert journey.installed("rollback").returncode == 0
        kept.append(journey.report(f"told before kill {number}"))
        where[_killed(journey, medium, number, point, scratch)] += 1
        _heals(journey, medium)
    assert all(journey.knows(one) for one in kept)
    journey.note(f"upgrade killed {KILLS - where['']} times", f"{len(counted.calls)} calls", _in_words(where))
    assert where[""] <= KILLS // 4


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_disk_that_fails_at_a_write_is_said_in_words_and_the_box_goes_on(
    error: str, journey: Journey, scratch: Path
) -> None:
    before = journey.release()
    medium = journey.press.medium({"ENOSPC": "0.2.1", "EIO": "0.2.2"}[error])
    where: Counter[str] = Counter()
    for point in _points(journey.calls, FAULTS):
        ended = tracing.injected(journey.machine, _words(journey, medium), scratch, f"error={error}", point)
        assert "Traceback" not in ended.said, ended.said
        if ended.status == 0:
            break
        where[f"{point.call} {point.number}"] += 1
        assert "error: " in ended.said, ended.said
        if journey.release() == before:
            assert set(journey.processes().values()) == {"ready"}, ended.said
    _heals(journey, medium)
    journey.note(f"{error} in an upgrade", f"{where.total()} of {FAULTS}", "said in words, mended by the next run")


def test_a_disk_that_is_too_small_takes_nothing_and_is_filled_once_there_is_room(
    journey: Journey, scratch: Path
) -> None:
    medium = journey.press.medium("0.1.0")
    tight = Machine(journey.machine.root, scratch / "tight", journey.press.media, small="opt:560m").boot()
    other = Journey(journey.press, tight)
    try:
        refused = other.installer(medium, "install", "--yes")
        assert refused.returncode == 1 and "Traceback" not in said(refused), said(refused)
        assert "No space left" in said(refused) or "make room" in said(refused)
        assert not tight.path(f"{PREFIX}/current").is_symlink() and not list(tight.path(f"{PREFIX}/releases").glob("*"))
        assert tight.run(["mount", "-o", "remount,size=2g", "/opt"]).returncode == 0
        result = other.installer(medium, "install", "--yes")
        assert result.returncode == 0, said(result)
    finally:
        tight.end()
