"""From a signed medium to a box that ships, through upgrades and back, to a machine without it. Run in order."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.install.bare import Machine, Root
from tests.install.journey import HOME, PREFIX, USER, Journey, said
from tests.install.releases import Press

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

MOUNTS = {"media", "old", "proc", "dev", "tmp", "run", "sys"}
"""What the machine itself made."""
TOUCHED = {
    "opt", "var", "var/lib", "etc", "root", "etc/passwd", "etc/passwd-", "etc/shadow", "etc/shadow-", "etc/group",
    "etc/group-", "etc/gshadow", "etc/gshadow-", "etc/subuid", "etc/subgid", "etc/subuid-", "etc/subgid-",
    "etc/.pwd.lock", "var/log", "var/log/lastlog", "var/log/faillog",
}  # fmt: skip
"""Folders and lists of users in which something came and went."""
PROCESSES = ("engines", "gateway", "line", "learning", "console")
REPOSITORY = f"""
set -e
site=$(echo {PREFIX}/current/venv/lib/python3*/site-packages)
mkdir -p /srv/git && cd /srv/git
cp -r $site/appliance/sample/repository tree && cp $site/appliance/sample/report.md report.md
rm -rf $(find tree -name __pycache__)
export GIT_AUTHOR_NAME=Shop GIT_AUTHOR_EMAIL=shop@localhost GIT_COMMITTER_NAME=Shop GIT_COMMITTER_EMAIL=shop@localhost
git init --quiet -b main tree && git -C tree add --all && git -C tree commit --quiet -m "Start of parcel"
git clone --quiet --bare tree parcel.git && rm -r tree
chown -R {USER} /srv/git
"""
"""A git server of the site with the sample's repository, and a customer's words."""
CARRIED = "/srv/carried"
"""What goes from one machine to another: backups, and the key that opens them."""
TIP = ["runuser", "-u", USER, "--", "git", "-C", "/srv/git/parcel.git", "rev-parse", "main"]


def test_a_medium_is_built_from_a_commit_and_verified_on_the_bare_machine(journey: Journey) -> None:
    medium = journey.media["first"] = journey.press.medium("0.1.0")
    journey.note("bundle", medium.seconds, f"{medium.bytes / 1e6:.0f} MB")
    with journey.timed("verify"):
        result = journey.installer(medium, "verify")
    assert result.returncode == 0, said(result)
    assert journey.machine.wrote() <= MOUNTS


def test_preflight_finds_nothing_lacking_on_a_bare_machine(journey: Journey) -> None:
    result = journey.installer(journey.media["first"], "preflight", "--json")
    assert result.returncode == 0, said(result)
    assert all(row["verdict"] != "fail" for row in json.loads(result.stdout))


def test_the_box_is_installed_and_every_process_runs(journey: Journey) -> None:
    with journey.timed("install to healthy", "aim 180 s"):
        result = journey.installer(journey.media["first"], "install", "--yes")
    assert result.returncode == 0, said(result)
    for step, seconds in journey.receipt()["seconds"].items():
        journey.note(f"  {step}", seconds)
    assert journey.processes() == dict.fromkeys(PROCESSES, "ready")
    assert journey.receipt()["release"] == journey.media["first"].release


def test_the_first_light_sample_is_shipped_on_the_installed_box(journey: Journey) -> None:
    made = journey.machine.run(["sh", "-c", REPOSITORY])
    assert made.returncode == 0, said(made)
    before = journey.machine.run(TIP).stdout.strip()
    with journey.timed("sample: report to commit on the server"):
        journey.told("repo", "add", "parcel", "--url", "file:///srv/git/parcel.git", "--autonomy", "high")
        title = ["--title", "Free shipping is missing at exactly 50 euros", "--body-file", "/srv/git/report.md"]
        journey.told("signal", "add", "--repo", "parcel", *title)
        shipped = _shipped(journey)
    after = journey.machine.run(TIP).stdout.strip()
    assert after != before and after == shipped["change"]["commit"]


def _shipped(journey: Journey) -> dict[str, Any]:
    item = next(one["id"] for one in _items(journey))
    watched = journey.appliance("item", "watch", item, seconds=400)
    assert watched.returncode == 0, said(watched)
    found: dict[str, Any] = journey.told("item", "show", item)
    return found


def _items(journey: Journey) -> list[dict[str, str]]:
    for _ in range(60):
        found: list[dict[str, str]] = journey.told("item", "list")
        if found:
            return found
    raise AssertionError("no item was opened for the report")


def _changed(journey: Journey, what: str, medium: str, aim: str = "") -> None:
    """Install a medium over what runs, and note how long it took and how long the gateway was away."""
    with journey.downtime() as away, journey.timed(what, aim):
        result = journey.installer(journey.media[medium], "install", "--yes")
    assert result.returncode == 0, said(result)
    journey.note("  gateway away in it", sum(away), f"aim 10 s; {len(away)} time(s)")
    for step, seconds in journey.receipt()["seconds"].items():
        journey.note(f"  {step}", seconds)


def test_an_upgrade_keeps_what_was_told_to_the_box(journey: Journey) -> None:
    journey.media["second"] = journey.press.medium("0.2.0")
    kept = journey.report("told to the first release")
    _changed(journey, "upgrade", "second", "aim 120 s")
    assert journey.release() == journey.media["second"].release
    assert journey.processes() == dict.fromkeys(PROCESSES, "ready") and journey.knows(kept)


def test_rolling_back_keeps_the_data_that_both_releases_can_read(journey: Journey) -> None:
    kept = journey.report("told to the second release")
    with journey.downtime() as away, journey.timed("rollback", "aim 20 s"):
        result = journey.installed("rollback")
    assert result.returncode == 0, said(result)
    journey.note("  gateway away in it", sum(away))
    assert journey.release() == journey.media["first"].release
    assert journey.processes() == dict.fromkeys(PROCESSES, "ready") and journey.knows(kept)


def test_rolling_back_twice_goes_forward_again(journey: Journey) -> None:
    with journey.timed("rollback of the rollback"):
        result = journey.installed("rollback")
    assert result.returncode == 0, said(result)
    assert journey.release() == journey.media["second"].release
    assert journey.processes() == dict.fromkeys(PROCESSES, "ready")


def test_an_upgrade_that_changes_the_tables_migrates_a_copy_first(journey: Journey) -> None:
    revision = journey.press.migration()
    journey.media["third"] = journey.press.make("0.3.0")
    kept = journey.report("told before the tables changed")
    _changed(journey, "upgrade with a migration", "third", "aim 120 s")
    assert journey.knows(kept)
    tables = json.loads(journey.machine.path(f"{PREFIX}/snapshots/{journey.release()}/tables.json").read_text())
    assert tables["after"] == revision != tables["before"]


def test_a_release_that_does_not_start_goes_back_by_itself(journey: Journey) -> None:
    with journey.press.broken("inference/gateway/__init__.py", 'raise SystemExit("this release is broken")\n'):
        journey.media["broken"] = journey.press.make("0.4.0")
    kept, release = journey.report("told before the broken release"), journey.release()
    with journey.downtime() as away, journey.timed("broken release, to the old one running"):
        result = journey.installer(journey.media["broken"], "install", "--yes")
    assert result.returncode == 1 and "taken back" in result.stdout, said(result)
    journey.note("  gateway away in it", sum(away), "aim 120 s")
    assert journey.release() == release
    assert journey.processes() == dict.fromkeys(PROCESSES, "ready") and journey.knows(kept)


def test_the_medium_of_before_the_broken_one_is_still_taken(journey: Journey) -> None:
    """A bad medium must not lock out the good one: what the box takes as newest moved on with no broken release."""
    result = journey.installer(journey.media["third"], "verify")
    assert result.returncode == 0 and "same" in result.stdout, said(result)
    assert journey.installer(journey.media["second"], "verify").returncode == 3


def test_rolling_back_over_changed_tables_wants_it_said_and_brings_the_data_of_before(journey: Journey) -> None:
    since = journey.report("told to the third release")
    refused = journey.installed("rollback")
    assert refused.returncode == 1 and "--to-snapshot" in said(refused)
    with journey.downtime() as away, journey.timed("rollback to a snapshot", "aim 20 s"):
        result = journey.installed("rollback", "--to-snapshot")
    assert result.returncode == 0, said(result)
    journey.note("  gateway away in it", sum(away))
    assert journey.release() == journey.media["second"].release
    assert journey.processes() == dict.fromkeys(PROCESSES, "ready") and not journey.knows(since)
    assert any(journey.machine.path(f"{PREFIX}/snapshots").glob("replaced-by-*/ledger.db"))


def test_a_backup_comes_back_on_a_second_bare_machine(
    journey: Journey, root: Root, press: Press, scratch: Path
) -> None:
    medium = next(one for one in journey.media.values() if one.release == journey.release())
    made = journey.machine.run(["install", "-d", "-o", USER, CARRIED])
    assert made.returncode == 0, said(made)
    known = _known(journey.told)
    journey.told("backup", "keys", f"{CARRIED}/backup.key")
    with journey.timed("backup"):
        journey.told("backup", "create")
    assert journey.machine.run(["cp", "-a", f"{HOME}/backups", CARRIED]).returncode == 0
    second = Journey(press, Machine(root, scratch / "machine-second", press.media).boot())
    try:
        result = second.installer(medium, "install", "--yes")
        assert result.returncode == 0, said(result)
        shutil.copytree(journey.machine.path(CARRIED), second.machine.path(CARRIED))
        assert second.machine.run(["chown", "-R", USER, CARRIED]).returncode == 0
        second.machine.kill_all()
        with journey.timed("restore on a second machine"):
            backup = ["--folder", f"{CARRIED}/backups", "--identity", f"{CARRIED}/backup.key"]
            result = second.appliance("backup", "restore", *backup, "--into", f"{CARRIED}/home")
        assert result.returncode == 0, said(result)
        with second.runs(f"{CARRIED}/home") as told:
            assert _known(told) == known and known["signal"]
            told("audit", "verify")
    finally:
        second.machine.end()


def _known(told: Callable[..., Any]) -> dict[str, list[tuple[str, str]]]:
    """What must not be lost: items, signals and repositories by their names. How they stand goes on changing."""
    names = {"item": ("id", "title"), "signal": ("id", "title"), "repo": ("name", "url")}
    return {noun: sorted((one[a], one[b]) for one in told(noun, "list")) for noun, (a, b) in names.items()}


def test_uninstalling_leaves_nothing_but_what_it_says(journey: Journey) -> None:
    with journey.timed("uninstall with data"):
        result = journey.installed("uninstall", "--yes", "--with-data", "--prefix", PREFIX, "--home", HOME)
    assert result.returncode == 0, said(result)
    left = {path for path in journey.machine.wrote() if not path.startswith("srv")} - MOUNTS
    assert not {path for path in left if journey.machine.path(path).exists()} - TOUCHED, sorted(left)
    assert USER not in journey.machine.path("/etc/passwd").read_text("utf-8")
