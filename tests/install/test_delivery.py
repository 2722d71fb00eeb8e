"""From a signed medium to a box that ships, through upgrades and back, to a machine without it. Run in order."""

from __future__ import annotations

import json

import pytest

from tests.install.journey import HOME, PREFIX, Journey, said

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

REPOSITORY = f"""
set -e
site=$(echo {PREFIX}/current/venv/lib/python3*/site-packages)
mkdir -p /srv/git && cd /srv/git
cp -r $site/appliance/sample/repository tree && cp $site/appliance/sample/report.md report.md
rm -rf $(find tree -name __pycache__)
export GIT_AUTHOR_NAME=Shop GIT_AUTHOR_EMAIL=shop@localhost GIT_COMMITTER_NAME=Shop GIT_COMMITTER_EMAIL=shop@localhost
git init --quiet -b main tree && git -C tree add --all && git -C tree commit --quiet -m "Start of parcel"
git clone --quiet --bare tree parcel.git && rm -r tree
"""
"""A git server of the site with the sample's repository, and a customer's words."""


def test_a_medium_is_built_from_a_commit_and_verified_on_the_bare_machine(journey: Journey) -> None:
    medium = journey.media["first"] = journey.press.make("0.1.0")
    journey.note("bundle", medium.seconds, f"{medium.bytes / 1e6:.0f} MB")
    with journey.timed("verify"):
        result = journey.installer(medium, "verify")
    assert result.returncode == 0, said(result)
    assert journey.machine.wrote() <= {"media", "old", "proc", "dev", "tmp", "run", "sys"}


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
    status = journey.told("status")
    assert {one["state"] for one in status["processes"]} == {"ready"} and len(status["processes"]) == 5
    assert journey.receipt()["release"] == journey.media["first"].release


def test_the_first_light_sample_is_shipped_on_the_installed_box(journey: Journey) -> None:
    made = journey.machine.run(["sh", "-c", REPOSITORY])
    assert made.returncode == 0, said(made)
    before = journey.machine.run(["git", "-C", "/srv/git/parcel.git", "rev-parse", "main"]).stdout.strip()
    with journey.timed("sample: report to commit on the server"):
        journey.told("repo", "add", "parcel", "--url", "file:///srv/git/parcel.git", "--autonomy", "high")
        title = ["--title", "Free shipping is missing at exactly 50 euros", "--body-file", "/srv/git/report.md"]
        journey.told("signal", "add", "--repo", "parcel", *title)
        shipped = _shipped(journey)
    after = journey.machine.run(["git", "-C", "/srv/git/parcel.git", "rev-parse", "main"]).stdout.strip()
    assert after != before and after == shipped["change"]["commit"]


def _shipped(journey: Journey) -> dict[str, object]:
    item = next(one["id"] for one in _items(journey))
    watched = journey.appliance("item", "watch", item, seconds=400)
    assert watched.returncode == 0, said(watched)
    found: dict[str, object] = journey.told("item", "show", item)
    return found


def _items(journey: Journey) -> list[dict[str, str]]:
    for _ in range(60):
        found: list[dict[str, str]] = journey.told("item", "list")
        if found:
            return found
    raise AssertionError("no item was opened for the report")


def test_uninstalling_leaves_nothing_but_what_it_says(journey: Journey) -> None:
    with journey.timed("uninstall with data"):
        result = journey.installed("uninstall", "--yes", "--with-data", "--prefix", PREFIX, "--home", HOME)
    assert result.returncode == 0, said(result)
    left = {path for path in journey.machine.wrote() if not path.startswith(("srv", "media"))}
    assert not any(path.startswith(("opt/", "var/lib/appliance")) for path in left), sorted(left)
    assert left <= {"dev", "proc", "run", "sys", "tmp", "old", "opt", "var", "var/lib", "root"}, sorted(left)
