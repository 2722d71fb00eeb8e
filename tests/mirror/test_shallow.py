"""Mirrors of some depth: what they can do, and what they say they cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.cli.main import main
from appliance.config import Home, render
from appliance.errors import Conflict
from appliance.ledger import open_ledger
from appliance.mirror import bundles, patches
from appliance.mirror.address import Address
from appliance.mirror.git import Git
from appliance.mirror.mirror import Mirror
from appliance.settings import Settings
from appliance.work import MirrorHealth
from tests.e2e.world import git
from tests.mirror.conftest import SETTINGS, Server
from tests.mirror.http_server import serving

DIFF = "diff --git a/shop.py b/shop.py\n--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-PRICE = 1\n+PRICE = 5\n"
ITEM = (("Factory-Item", "W-1"),)


@pytest.fixture
def old(server: Server) -> Server:
    """The server, with seven commits."""
    for number in range(2, 8):
        server.push("more.py", f"x = {number}\n")
    return server


def shallow(home: Home, server: Server, depth: int = 2) -> Mirror:
    mirror = Mirror(home, "shop", server.bare.as_uri(), "", SETTINGS, depth=depth)
    mirror.create()
    return mirror


def count(mirror: Mirror) -> str:
    return git(mirror.folder, "rev-list", "--count", "main")


def test_later_commits_are_added_whole_so_that_work_stays_joined_to_the_branch(
    home: Home, old: Server, tmp_path: Path
) -> None:
    mirror = shallow(home, old)
    assert count(mirror) == "2"
    clone = mirror.workspace(mirror.head())
    clone.apply(DIFF)
    commit = clone.commit("Fix", ITEM)
    clone.push(commit, "main")
    git(old.tree, "pull", "-q", "--rebase", "origin", "main")
    for number in range(5):
        old.push("other.py", f"x = {number}\n")
    assert mirror.landed("W-1") == commit, "found although more than its depth came after it"
    assert count(mirror) == "8"
    assert (clone.export(commit, tmp_path / "out") / "shop.py").read_text() == "PRICE = 5\n"
    assert mirror.examine(MirrorHealth()).notes == ()
    git(mirror.folder, "fsck", "--strict")


def test_a_change_merges_and_reverts_whatever_came_since(home: Home, old: Server) -> None:
    mirror = shallow(home, old, depth=1)
    clone = mirror.workspace(mirror.head())
    clone.apply(DIFF)
    clone.commit("Fix", ITEM)
    for number in range(3):
        moved = old.push("README.md", f"# moved {number}\n")
    mirror.sync()
    merged = clone.merge_onto(moved, "Merge", ITEM)
    clone.push(merged, "main")
    again = mirror.workspace(mirror.sync())
    again.push(again.revert(merged, "Revert", (("Factory-Revert-Of", "W-1"),)), "main")
    assert git(old.bare, "show", "main:shop.py") == "PRICE = 1"
    assert git(old.bare, "show", "main:README.md") == "# moved 2"


def test_the_first_mirrored_commit_is_not_reverted_as_if_nothing_had_been_before(home: Home, old: Server) -> None:
    mirror = shallow(home, old, depth=1)
    clone = mirror.workspace(mirror.head())
    with pytest.raises(Conflict, match="is not mirrored") as caught:
        clone.revert(mirror.head(), "Revert", ())
    assert "--depth 0" in caught.value.hint and git(clone.tree, "status", "--porcelain") == ""


def test_a_forced_push_is_told_here_too_and_another_depth_is_none(home: Home, old: Server) -> None:
    mirror = shallow(home, old)
    deeper = Mirror(home, "shop", old.bare.as_uri(), "main", SETTINGS, depth=3)
    server_head = old.push("more.py", "x = 99\n")
    assert deeper.sync() == server_head and count(deeper) == "3"
    assert deeper.examine(MirrorHealth()).notes == ()
    git(old.tree, "commit", "-q", "--amend", "-m", "rewritten")
    git(old.tree, "push", "-q", "-f", "origin", "HEAD:main")
    assert any("force-pushed" in note for note in deeper.examine(MirrorHealth()).notes)
    assert mirror.folder == deeper.folder


def test_the_rest_comes_when_it_is_asked_for_and_goes_again(home: Home, old: Server) -> None:
    mirror = shallow(home, old)
    whole = Mirror(home, "shop", old.bare.as_uri(), "main", SETTINGS)
    whole.sync()
    assert count(mirror) == "7" and not (mirror.folder / "shallow").exists()
    shallow(home, old, depth=3)
    assert count(mirror) == "3"
    git(mirror.folder, "fsck")


def test_running_work_outlives_a_shallow_mirror_that_is_made_anew(home: Home, old: Server) -> None:
    mirror = shallow(home, old)
    clone = mirror.workspace(mirror.head())
    for number in range(4):
        old.push("other.py", f"x = {number}\n")
    (mirror.folder / "config").write_text("")
    head = mirror.sync()
    clone.apply(DIFF)
    commit = clone.commit("Fix", ITEM)
    assert git(clone.tree, "log", "--format=%s", commit).splitlines()[0] == "Fix"
    again = mirror.workspace(clone.base)
    assert git(again.tree, "rev-list", "--count", "HEAD") == "2"
    assert git(mirror.folder, "rev-list", "--count", head) == "2"
    git(mirror.folder, "fsck")


def test_patches_can_be_carried_and_a_bundle_says_why_not(home: Home, old: Server, tmp_path: Path) -> None:
    mirror = shallow(home, old)
    one = Git(home.secrets, "shop", 60, Address(mirror.url))
    with pytest.raises(Conflict, match="only the newest commits") as caught:
        bundles.make(one, mirror.folder, tmp_path / "b", ())
    assert "--depth 0" in caught.value.hint and not (tmp_path / "b").exists()
    newest = git(old.bare, "rev-parse", "main")
    assert b"x = 7" in patches.series(one, mirror.folder, git(old.bare, "rev-parse", "main^"), newest)


def test_commands_take_depth_and_empty_repositories(
    home: Home, old: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.settings_file.write_text(render(Settings()))

    def say(*words: str) -> tuple[int, str, str]:
        status = main(["repo", *words, "--home", str(home.root)])
        said = capsys.readouterr()
        return status, said.out, said.err

    with serving(old.bare.parent) as http:
        assert say("add", "shop", "--url", http.url("shop.git"), "--depth", "2")[0] == 0
        mirror = Mirror.of(home, open_ledger(home).repository("shop"), SETTINGS)
        assert count(mirror) == "2"
        status, said, _ = say("set", "shop", "--depth", "4")
        assert (status, count(mirror)) == (0, "4") and "depth: 4" in said
        assert say("set", "shop", "--depth", "0")[0] == 0 and count(mirror) == "7"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "empty.git")
    url = (tmp_path / "empty.git").as_uri()
    status, _, said = say("add", "new", "--url", url)
    assert status != 0 and "is empty" in said and "--allow-empty" in said
    status, said, _ = say("add", "new", "--url", url, "--allow-empty", "--json")
    assert (status, json.loads(said)["head"]) == (0, "")
    assert say("sync", "new")[0] == 0 and "waits for a first commit" in say("show", "new")[1]
