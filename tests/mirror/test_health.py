"""What happens to a mirror in its life: noticed, survived, and told in words."""

from __future__ import annotations

import subprocess
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.config import Home
from appliance.errors import FactoryError, NotFound
from appliance.mirror.mirror import Mirror
from appliance.mirror.record import Record
from appliance.work import MirrorHealth, TrackedRepository, utcnow
from tests.e2e.world import git
from tests.mirror.conftest import SETTINGS, Server

DIFF = "diff --git a/shop.py b/shop.py\n--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-PRICE = 1\n+PRICE = 5\n"


def corrupt(file: Path) -> None:
    """Damage a file as a failing disk does: a few bytes, the same length."""
    file.chmod(0o644)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4] = b"\xff\x00\xff\x00"
    file.write_bytes(content)


def packed(mirror: Mirror) -> Path:
    git(mirror.folder, "repack", "-a", "-d", "-q")
    (pack,) = (mirror.folder / "objects/pack").glob("*.pack")
    return pack


def test_a_healthy_mirror_says_when_it_was_fetched_and_what_it_holds(mirror: Mirror, server: Server) -> None:
    git(server.bare, "branch", "other", "main")
    health = mirror.examine(MirrorHealth())
    assert (health.head, health.branches, health.failures, health.error) == (mirror.head(), 2, 0, "")
    assert health.fetched and health.fetched == health.tried and health.size_bytes > 0
    assert health.notes == ()


def test_a_forced_push_is_followed_and_told_with_both_commits_and_how_far_they_parted(
    mirror: Mirror, server: Server
) -> None:
    for price in (2, 3):
        server.push("shop.py", f"PRICE = {price}\n")
    old = mirror.sync()
    git(server.tree, "reset", "-q", "--soft", "HEAD~2")
    git(server.tree, "commit", "-q", "-m", "both in one")
    git(server.tree, "push", "-q", "-f", "origin", "HEAD:main")
    health = mirror.examine(MirrorHealth())
    assert health.head == git(server.tree, "rev-parse", "HEAD")
    (note,) = health.notes
    assert f"force-pushed: from {old[:12]} to {health.head[:12]}, commits that left it: 2" in note
    server.push("shop.py", "PRICE = 4\n")
    assert mirror.examine(health).notes == (note,), "an ordinary push is nothing to tell"


def test_a_forced_push_that_a_stage_fetched_is_told_all_the_same(mirror: Mirror, server: Server) -> None:
    git(server.tree, "commit", "-q", "--amend", "-m", "rewritten")
    git(server.tree, "push", "-q", "-f", "origin", "HEAD:main")
    mirror.sync()
    assert "force-pushed" in mirror.examine(MirrorHealth()).notes[0]


def test_a_renamed_default_branch_is_told_with_the_way_to_follow_it(mirror: Mirror, server: Server, home: Home) -> None:
    before = mirror.examine(MirrorHealth())
    git(server.bare, "branch", "-m", "main", "trunk")
    git(server.bare, "symbolic-ref", "HEAD", "refs/heads/trunk")
    health = mirror.examine(before)
    assert "no branch 'main'" in health.error and "trunk" in health.hint
    assert "`appliance repo set shop --branch BRANCH`" in health.hint
    assert health.failures == 0 and health.fetched, "the server answered"
    assert any("is gone from the server" in note and before.head[:12] in note for note in health.notes)
    assert any("default branch is 'trunk' now, and was 'main'" in note for note in health.notes)
    followed = Mirror(home, "shop", server.bare.as_uri(), "trunk", SETTINGS)
    assert followed.examine(health).error == "" and followed.head() == before.head


def test_another_default_is_told_also_when_no_branch_moved(mirror: Mirror, server: Server) -> None:
    git(server.bare, "branch", "next", "main")
    before = mirror.examine(MirrorHealth())
    git(server.bare, "symbolic-ref", "HEAD", "refs/heads/next")
    health = mirror.examine(before)
    assert health.error == "" and "default branch is 'next' now" in health.notes[0]


def test_a_branch_that_comes_back_is_in_order_again(mirror: Mirror, server: Server) -> None:
    head = mirror.head()
    git(server.bare, "branch", "other", "main")
    git(server.bare, "update-ref", "-d", "refs/heads/main")
    gone = mirror.examine(MirrorHealth())
    assert gone.error and gone.head == ""
    git(server.bare, "update-ref", "refs/heads/main", head)
    back = mirror.examine(gone)
    assert (back.error, back.hint, back.head) == ("", "", head)


def test_a_deleted_branch_is_gone_here_too_and_its_commits_are_kept(mirror: Mirror, server: Server) -> None:
    server.push("shop.py", "PRICE = 9\n", branch="other")
    mirror.sync()
    tip = git(server.bare, "rev-parse", "other")
    git(server.bare, "branch", "-D", "other")
    assert mirror.examine(MirrorHealth()).branches == 1
    clone = mirror.workspace(tip)
    assert (clone.tree / "shop.py").read_text() == "PRICE = 9\n"
    clone.close()


def test_an_empty_repository_waits_for_its_first_commit(home: Home, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "empty.git")
    url = (tmp_path / "empty.git").as_uri()
    with pytest.raises(NotFound, match="is empty"):
        Mirror(home, "new", url, "", SETTINGS).create()
    mirror = Mirror(home, "new", url, "", SETTINGS)
    assert (mirror.create(allow_empty=True), mirror.branch) == ("", "main")
    health = mirror.examine(MirrorHealth())
    assert (health.error, health.failures, health.head) == ("", 0, "")
    assert health.notes == ("it is empty: it waits for a first commit on 'main'",)
    with pytest.raises(NotFound, match="is empty"):
        mirror.head()
    git(tmp_path, "clone", "-q", url, "tree")
    git(tmp_path / "tree", "commit", "-q", "--allow-empty", "-m", "first")
    git(tmp_path / "tree", "push", "-q", "origin", "HEAD:main")
    health = mirror.examine(health)
    assert health.head == git(tmp_path / "tree", "rev-parse", "HEAD") and health.notes == ()


def test_a_server_that_is_gone_for_days_is_told_and_the_mirror_still_serves(
    mirror: Mirror, server: Server, tmp_path: Path
) -> None:
    before = mirror.examine(MirrorHealth())
    away = server.bare.with_suffix(".away")
    server.bare.rename(away)
    health = before
    for failed in range(1, 4):
        health = mirror.examine(health)
        assert health.failures == failed
    assert "no repository at that address" in health.error and health.hint
    assert (health.fetched, health.head) == (before.fetched, before.head), "what was known stays known"
    assert (mirror.checkout(health.head, tmp_path / "out") / "shop.py").exists()
    away.rename(server.bare)
    back = mirror.examine(health)
    assert (back.failures, back.error, back.hint) == (0, "", "")


@pytest.mark.parametrize("kind", ["pack", "loose", "ref"])
def test_what_a_disk_ate_is_found_at_the_next_check_and_cloned_again(mirror: Mirror, kind: str) -> None:
    head = mirror.head()
    if kind == "pack":
        corrupt(packed(mirror))
    elif kind == "loose":
        git(mirror.folder, "cat-file", "-e", head)
        for pack in (mirror.folder / "objects/pack").glob("*.pack"):
            outside = pack.rename(mirror.folder / pack.name)
            with outside.open("rb") as content:
                subprocess.run(["git", "unpack-objects", "-q"], cwd=mirror.folder, stdin=content, check=True)
        blob = git(mirror.folder, "rev-parse", "main:shop.py")
        corrupt(mirror.folder / "objects" / blob[:2] / blob[2:])
    else:
        (mirror.folder / "packed-refs").unlink(missing_ok=True)
        (mirror.folder / "refs/heads/main").write_text("1" * 40 + "\n")
    assert not any("cloned again" in note for note in mirror.examine(MirrorHealth()).notes) or kind == "ref"
    long_ago = utcnow() - timedelta(days=SETTINGS.check_days, seconds=1)
    Record.of(mirror.folder).with_(checked=long_ago).keep(mirror.folder)
    health = mirror.examine(MirrorHealth())
    assert health.head == head and any("cloned again" in note for note in health.notes)
    git(mirror.folder, "fsck", "--strict")
    assert Record.of(mirror.folder).checked > long_ago


def test_a_mirror_that_failed_a_reader_is_looked_at_before_the_next_fetch(mirror: Mirror, tmp_path: Path) -> None:
    head = mirror.head()
    corrupt(packed(mirror))
    with pytest.raises(FactoryError):
        mirror.checkout(head, tmp_path / "out")
    assert mirror.sync() == head
    assert (mirror.checkout(head, tmp_path / "out") / "shop.py").exists()
    assert "cloned again" in mirror.examine(MirrorHealth()).notes[0]


def test_nothing_that_is_whole_is_lost_when_a_broken_mirror_is_made_anew(mirror: Mirror, server: Server) -> None:
    off_branch = server.push("shop.py", "PRICE = 7\n")
    mirror.sync()
    running = mirror.workspace(off_branch)
    git(mirror.folder, "update-ref", "refs/imported/x", off_branch)
    git(server.tree, "reset", "-q", "--hard", "HEAD^")
    server.push("more.py", "x = 1\n")
    mirror.sync()
    broken = git(mirror.folder, "rev-parse", "main:more.py")
    corrupt(mirror.folder / "objects" / broken[:2] / broken[2:])
    Record.of(mirror.folder).with_(checked=utcnow() - timedelta(days=99)).keep(mirror.folder)
    health = mirror.examine(MirrorHealth())
    assert any("cloned again" in note for note in health.notes)
    running.apply(DIFF.replace("PRICE = 1", "PRICE = 7"))
    running.push(running.commit("Fix", ()), "rescued")
    assert git(mirror.folder, "rev-parse", "refs/imported/x") == off_branch
    git(mirror.folder, "fsck", "--strict")


def test_readers_never_miss_a_mirror_while_it_is_made_anew(mirror: Mirror) -> None:
    head, stop, missed = mirror.head(), threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            try:
                mirror.head()
            except FactoryError as error:
                missed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(3):
        for file in (mirror.folder / "objects").rglob("*"):
            if file.is_file() and file.suffix != ".idx":
                corrupt(file)
        (mirror.folder / "appliance.suspect").touch()
        assert mirror.sync() == head
    stop.set()
    reader.join()
    assert not missed


def test_a_server_that_says_what_nobody_knows_is_no_reason_to_clone_again(
    mirror: Mirror, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = mirror.folder.stat().st_ino
    git(server.bare, "config", "uploadpack.allowFilter", "nonsense")
    with pytest.raises(FactoryError):
        mirror.sync()
    assert mirror.folder.stat().st_ino == before


def test_faults_that_old_commits_were_born_with_are_no_damage(home: Home, server: Server) -> None:
    tree = git(server.bare, "rev-parse", "main^{tree}")
    raw = f"tree {tree}\nauthor A <a@b> 1 +0000\ncommitter A<a@b> 99999999999999999999 +0000\n\nodd\n"
    odd = server.bare / "odd"
    odd.write_text(raw)
    commit = git(server.bare, "hash-object", "-t", "commit", "-w", "--literally", "odd")
    git(server.bare, "update-ref", "refs/heads/main", commit)
    mirror = Mirror(home, "odd", server.bare.as_uri(), "", SETTINGS)
    assert mirror.create() == commit
    Record.of(mirror.folder).with_(checked=utcnow() - timedelta(days=99)).keep(mirror.folder)
    assert mirror.examine(MirrorHealth()).notes == ()


def test_the_mirror_of_a_tracked_repository_is_what_its_fields_say(home: Home, server: Server) -> None:
    tracked = TrackedRepository(name="shop", url=server.bare.as_uri(), branch="main", depth=1)
    server.push("shop.py", "PRICE = 2\n")
    mirror = Mirror.of(home, tracked, SETTINGS)
    mirror.create()
    assert git(mirror.folder, "rev-list", "--count", "main") == "1"
