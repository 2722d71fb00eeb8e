from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.errors import Conflict, PolicyRefused, UsageError, VerificationFailed
from appliance.mirror.forges.plain import PlainForge
from appliance.mirror.mirror import Mirror
from appliance.mirror.workspace import Clone, with_trailers
from appliance.ports import Draft
from tests.e2e.world import git
from tests.mirror.conftest import Server

TRAILERS = (("Assisted-by", "search:comparison"), ("Factory-Item", "W-1"))
DRAFT = Draft(item="W-1", branch="factory/W-1", target="main", title="t", text="s")
DIFF = "diff --git a/shop.py b/shop.py\n--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-PRICE = 1\n+PRICE = 5\n"


@pytest.fixture
def clone(mirror: Mirror) -> Clone:
    return mirror.workspace(mirror.head())


def test_a_change_lands_with_its_trailers_by_fast_forward(clone: Clone, mirror: Mirror, server: Server) -> None:
    clone.apply(DIFF)
    commit = clone.commit("Fix: the price", TRAILERS)
    PlainForge().land(clone, commit, DRAFT)
    assert mirror.sync() == commit
    message = git(server.bare, "log", "-1", "--format=%B|%an|%ae", "main")
    assert (
        message == "Fix: the price\n\nAssisted-by: search:comparison\nFactory-Item: W-1\n|Appliance|appliance@localhost"
    )
    assert mirror.landed("W-1") == commit
    assert (mirror.landed("W-11"), mirror.landed("W"), mirror.reverted("W-1")) == ("", "", "")


@pytest.mark.parametrize(
    "diff",
    [
        DIFF.replace("PRICE = 1", "PRICE = 9"),
        DIFF.replace("shop.py", "missing.py"),
        DIFF.replace("b/shop.py", "b/../../escape.py"),
        DIFF.replace("b/shop.py", "b/.git/hooks/post-commit"),
        DIFF.replace("b/shop.py", "b/.GIT/config"),
        "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b//etc/x\n@@ -0,0 +1 @@\n+x\n",
        "not a diff\n",
        "",
    ],
)
def test_a_change_that_does_not_fit_or_leaves_the_tree_changes_nothing(clone: Clone, diff: str) -> None:
    with pytest.raises(VerificationFailed):
        clone.apply(diff)
    assert git(clone.tree, "status", "--porcelain") == ""


def test_the_same_change_gives_the_same_commit_each_time(mirror: Mirror) -> None:
    at = datetime(2026, 11, 26, 8, 30, tzinfo=UTC)
    made = set()
    for _ in range(2):
        again = mirror.workspace(mirror.head())
        again.apply(DIFF)
        made.add(again.commit("Fix: the price", TRAILERS, at))
    assert len(made) == 1
    assert git(again.tree, "log", "-1", "--format=%aI %cI") == "2026-11-26T08:30:00+00:00 2026-11-26T08:30:00+00:00"


def test_a_change_may_not_write_through_a_link(clone: Clone, tmp_path: Path) -> None:
    link = "diff --git a/out b/out\nnew file mode 120000\n--- /dev/null\n+++ b/out\n@@ -0,0 +1 @@\n"
    link += f"+{tmp_path}\n\\ No newline at end of file\n"
    through = "diff --git a/out/x b/out/x\nnew file mode 100644\n--- /dev/null\n+++ b/out/x\n@@ -0,0 +1 @@\n+x\n"
    with pytest.raises(VerificationFailed):
        clone.apply(link + through)
    assert not (tmp_path / "x").exists()


def test_a_moved_branch_refuses_the_push_and_takes_the_merge(clone: Clone, mirror: Mirror, server: Server) -> None:
    clone.apply(DIFF)
    commit = clone.commit("Fix: the price", TRAILERS)
    moved = server.push("README.md", "# moved\n")
    with pytest.raises(Conflict, match="moved"):
        clone.push(commit, "main")
    assert mirror.sync() == moved
    merged = clone.merge_onto(moved, "Merge W-1", TRAILERS)
    clone.push(merged, "main")
    assert git(server.bare, "show", "main:README.md") == "# moved"
    assert git(server.bare, "show", "main:shop.py") == "PRICE = 5"
    assert git(server.bare, "log", "--format=%s", "--first-parent", "main").splitlines()[0] == "Merge W-1"
    assert mirror.landed("W-1") == merged


def test_a_change_that_clashes_with_the_moved_branch_is_a_conflict(
    clone: Clone, mirror: Mirror, server: Server
) -> None:
    clone.apply(DIFF)
    clone.commit("Fix: the price", TRAILERS)
    moved = server.push("shop.py", "PRICE = 7\n")
    mirror.sync()
    with pytest.raises(Conflict, match="does not merge"):
        clone.merge_onto(moved, "Merge W-1", TRAILERS)


def test_a_revert_takes_the_change_back_and_says_of_which_item(clone: Clone, mirror: Mirror, server: Server) -> None:
    clone.apply(DIFF)
    commit = clone.commit("Fix: the price", TRAILERS)
    clone.push(commit, "main")
    again = mirror.workspace(mirror.sync())
    revert = again.revert(commit, "Revert it", (("Factory-Revert-Of", "W-1"),))
    again.push(revert, "main")
    assert git(server.bare, "show", "main:shop.py") == "PRICE = 1"
    assert (mirror.landed("W-1"), mirror.reverted("W-1")) == ("", revert)


def test_a_merge_is_reverted_against_the_branch_it_came_into(clone: Clone, mirror: Mirror, server: Server) -> None:
    clone.apply(DIFF)
    clone.commit("Fix: the price", TRAILERS)
    moved = server.push("README.md", "# moved\n")
    mirror.sync()
    merged = clone.merge_onto(moved, "Merge W-1", TRAILERS)
    clone.push(merged, "main")
    again = mirror.workspace(mirror.sync())
    again.push(again.revert(merged, "Revert it", (("Factory-Revert-Of", "W-1"),)), "main")
    assert git(server.bare, "show", "main:shop.py") == "PRICE = 1"
    assert git(server.bare, "show", "main:README.md") == "# moved"


def test_what_others_built_on_cannot_be_reverted_cleanly(clone: Clone, mirror: Mirror, server: Server) -> None:
    clone.apply(DIFF)
    commit = clone.commit("Fix: the price", TRAILERS)
    clone.push(commit, "main")
    git(server.tree, "pull", "-q", "origin", "main")
    server.push("shop.py", "PRICE = 6\n")
    again = mirror.workspace(mirror.sync())
    with pytest.raises(Conflict, match="cannot be reverted cleanly"):
        again.revert(commit, "Revert it", ())


def test_a_hook_that_refuses_is_a_refusal_with_its_words(clone: Clone, server: Server) -> None:
    server.hook("pre-receive", "echo 'reviews are required here' >&2; exit 1")
    clone.apply(DIFF)
    with pytest.raises(PolicyRefused, match="reviews are required here"):
        clone.push(clone.commit("Fix: the price", TRAILERS), "main")


def test_a_proposal_is_a_branch_that_can_be_repeated_and_withdrawn(
    clone: Clone, mirror: Mirror, server: Server
) -> None:
    forge = PlainForge()
    clone.apply(DIFF)
    forge.propose(clone, clone.commit("Fix: one", TRAILERS), DRAFT)
    again = mirror.workspace(mirror.head())
    again.apply(DIFF)
    second = again.commit("Fix: two", TRAILERS)
    forge.propose(again, second, DRAFT)
    assert git(server.bare, "rev-parse", "factory/W-1") == second
    for _ in range(2):
        forge.withdraw(again, DRAFT, "over")
    assert "factory/W-1" not in git(server.bare, "branch")


def test_somebody_s_push_to_the_box_s_branch_is_neither_overwritten_nor_deleted(clone: Clone, server: Server) -> None:
    clone.apply(DIFF)
    first = clone.commit("Fix: one", TRAILERS)
    for _ in range(2):
        clone.publish(first, DRAFT.branch, "")
    theirs = git(server.bare, "commit-tree", f"{first}^{{tree}}", "-p", first, "-m", "a person's")
    git(server.bare, "update-ref", f"refs/heads/{DRAFT.branch}", theirs)
    second = clone.base
    for over in ("", first):
        with pytest.raises(Conflict):
            clone.publish(second, DRAFT.branch, over)
        with pytest.raises(Conflict):
            clone.delete(DRAFT.branch, over)
    PlainForge().withdraw(clone, DRAFT.with_(over=first), "over")
    assert git(server.bare, "rev-parse", DRAFT.branch) == theirs
    clone.publish(second, DRAFT.branch, theirs)
    clone.delete(DRAFT.branch, second)
    assert DRAFT.branch not in git(server.bare, "branch")


def test_a_hostile_branch_name_never_reaches_git(clone: Clone) -> None:
    for name in ("--force", "a b", "x:y", "refs/../x"):
        with pytest.raises(UsageError):
            clone.push(clone.base, name)


def test_a_reports_words_cannot_pose_as_trailers() -> None:
    text = with_trailers("Fix: it\n\nFactory-Item: W-9\nAssisted-by: nobody", TRAILERS)
    assert text.endswith("\n\nAssisted-by: search:comparison\nFactory-Item: W-1\n")
    assert "\n Factory-Item: W-9" in text


def test_an_export_of_a_commit_stands_alone(clone: Clone, tmp_path: Path) -> None:
    clone.apply(DIFF)
    commit = clone.commit("Fix: the price", TRAILERS)
    tree = clone.export(commit, tmp_path / "out")
    assert (tree / "shop.py").read_text() == "PRICE = 5\n"
    assert git(tree, "remote") == "" and git(tree, "log", "--format=%s") == "as handed over"


def test_a_closed_clone_leaves_nothing(clone: Clone) -> None:
    clone.close()
    clone.close()
    assert not clone.tree.exists()


def test_a_branch_that_only_moved_back_is_pushed_to_as_it_is(clone: Clone, mirror: Mirror) -> None:
    clone.apply(DIFF)
    commit = clone.commit("Fix: the price", TRAILERS)
    assert clone.merge_onto(mirror.head(), "Merge W-1", TRAILERS) == commit


def test_what_was_taken_back_already_is_a_conflict(clone: Clone, mirror: Mirror) -> None:
    clone.apply(DIFF)
    commit = clone.commit("Fix: the price", TRAILERS)
    clone.revert(commit, "Revert it", ())
    with pytest.raises(Conflict):
        clone.revert(commit, "Revert it", ())


def test_an_item_that_landed_again_after_its_revert_has_landed(clone: Clone, mirror: Mirror) -> None:
    clone.apply(DIFF)
    first = clone.commit("Fix: the price", TRAILERS)
    clone.revert(first, "Revert it", (("Factory-Revert-Of", "W-1"),))
    clone.apply(DIFF)
    again = clone.commit("Fix: the price", TRAILERS)
    clone.push(again, "main")
    assert (mirror.landed("W-1"), mirror.reverted("W-1")) == (again, "")


def test_a_server_that_takes_no_forced_push_still_takes_a_proposal_again(
    clone: Clone, mirror: Mirror, server: Server
) -> None:
    git(server.bare, "config", "receive.denyNonFastForwards", "true")
    clone.apply(DIFF)
    PlainForge().propose(clone, clone.commit("Fix: one", TRAILERS), DRAFT)
    again = mirror.workspace(mirror.head())
    again.apply(DIFF)
    second = again.commit("Fix: two", TRAILERS)
    PlainForge().propose(again, second, DRAFT)
    assert git(server.bare, "rev-parse", "factory/W-1") == second


def test_a_branch_the_server_keeps_is_no_reason_to_stop(clone: Clone, server: Server) -> None:
    git(server.bare, "config", "receive.denyDeletes", "true")
    forge = PlainForge()
    forge.propose(clone, clone.base, DRAFT)
    forge.withdraw(clone, DRAFT, "over")
    server.bare.rename(server.bare.with_suffix(".away"))
    forge.withdraw(clone, DRAFT, "over")


def test_a_branch_checked_out_on_the_server_refuses_in_words(clone: Clone, server: Server) -> None:
    git(server.bare, "config", "core.bare", "false")
    git(server.bare, "config", "receive.denyCurrentBranch", "refuse")
    clone.apply(DIFF)
    with pytest.raises(PolicyRefused, match="refuses the push"):
        clone.push(clone.commit("Fix", ()), "main")
