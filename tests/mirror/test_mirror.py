from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from appliance.config import Home
from appliance.errors import FactoryError, NotFound, Unavailable, UsageError
from appliance.mirror.mirror import TIDY, Mirror
from tests.e2e.world import git, remote
from tests.mirror.conftest import SETTINGS, Server


def test_a_mirror_follows_its_server(mirror: Mirror, server: Server) -> None:
    first = mirror.head()
    second = server.push("shop.py", "PRICE = 2\n")
    assert mirror.head() == first
    assert mirror.sync() == second == mirror.head()
    clone = mirror.workspace(first)
    assert clone.changed_between(first, second) == ("shop.py",)
    clone.close()


def test_the_servers_default_branch_is_found_and_kept(home: Home, tmp_path: Path) -> None:
    bare = remote(tmp_path, "old", {"a.py": "1\n"})
    git(bare, "branch", "-m", "main", "trunk")
    git(bare, "symbolic-ref", "HEAD", "refs/heads/trunk")
    made = Mirror(home, "old", bare.as_uri(), "", SETTINGS)
    made.create()
    assert made.branch == "trunk"
    assert Mirror(home, "old", bare.as_uri(), "", SETTINGS).branch == "trunk"


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("file:///nonexistent/x.git", NotFound, "no repository at that address"),
        ("/nonexistent/x.git", NotFound, "no repository at that address"),
        ("http://127.0.0.1:1/x.git", Unavailable, "does not answer"),
        (
            "ssh://git@127.0.0.1:1/x.git",
            Unavailable,
            "does not answer: ssh: connect to host 127.0.0.1 port 1: Connection",
        ),
        ("--upload-pack=touch /tmp/x", UsageError, "not an address"),
        ("ext::sh -c touch% /tmp/x", UsageError, "not an address"),
        ("ftp://host/x.git", UsageError, "not allowed"),
        ("file:///a\nb", UsageError, "not an address"),
        ("", UsageError, "not an address"),
    ],
)
def test_an_address_that_leads_nowhere_is_said_so_and_leaves_nothing(
    home: Home, url: str, error: type[FactoryError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        Mirror(home, "x", url, "", SETTINGS).create()
    assert caught.value.hint
    assert list(home.mirrors.iterdir()) == []


def test_a_repository_of_another_object_format_is_refused_in_words(home: Home, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "--object-format=sha256", "new.git")
    git(tmp_path, "init", "-q", "--object-format=sha256", "-b", "main", "tree")
    git(tmp_path / "tree", "commit", "-q", "--allow-empty", "-m", "first")
    git(tmp_path / "tree", "push", "-q", str(tmp_path / "new.git"), "main")
    with pytest.raises(UsageError, match="SHA-256"):
        Mirror(home, "x", (tmp_path / "new.git").as_uri(), "", SETTINGS).create()
    assert list(home.mirrors.iterdir()) == []


def test_an_empty_repository_is_said_to_be_empty(home: Home, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "empty.git")
    with pytest.raises(NotFound, match="is empty"):
        Mirror(home, "x", (tmp_path / "empty.git").as_uri(), "", SETTINGS).create()
    assert list(home.mirrors.iterdir()) == []


def test_a_missing_branch_is_named_with_those_there_are(home: Home, server: Server) -> None:
    with pytest.raises(NotFound, match="no branch 'release'") as caught:
        Mirror(home, "x", server.bare.as_uri(), "release", SETTINGS).create()
    assert "main" in caught.value.hint


@pytest.mark.parametrize("name", ["", ".x", "-x", "X", "a/b", "..", "a..b", "x.git", "a" * 65, "ä"])
def test_names_are_plain(home: Home, server: Server, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a repository's name"):
        Mirror(home, name, server.bare.as_uri(), "", SETTINGS)


@pytest.mark.parametrize("branch", ["-x", "a b", "a..b", "a:b", "a\nb", "x.lock", "@{u}", "a~1", "refs/"])
def test_branch_names_git_would_read_otherwise_are_refused(home: Home, server: Server, branch: str) -> None:
    with pytest.raises(UsageError, match="cannot be a branch"):
        Mirror(home, "x", server.bare.as_uri(), branch, SETTINGS)


def test_a_branch_deleted_on_the_server_is_noticed(mirror: Mirror, server: Server) -> None:
    git(server.bare, "branch", "other", "main")
    git(server.bare, "update-ref", "-d", "refs/heads/main")
    with pytest.raises(NotFound, match="no branch 'main'"):
        mirror.sync()


def test_a_rewritten_branch_is_followed(mirror: Mirror, server: Server) -> None:
    git(server.tree, "commit", "-q", "--amend", "-m", "rewritten")
    git(server.tree, "push", "-q", "-f", "origin", "HEAD:main")
    assert mirror.sync() == git(server.tree, "rev-parse", "HEAD")


def test_a_server_that_went_away_is_said_so_and_the_mirror_still_reads(mirror: Mirror, server: Server) -> None:
    head = mirror.head()
    server.bare.rename(server.bare.with_suffix(".away"))
    with pytest.raises(NotFound, match="no repository at that address"):
        mirror.sync()
    assert mirror.head() == head


def test_a_mirror_that_was_lost_is_cloned_again(mirror: Mirror) -> None:
    head = mirror.head()
    mirror.remove()
    with pytest.raises(NotFound, match="not mirrored yet"):
        mirror.head()
    assert mirror.sync() == head


def test_creating_again_after_a_cut_off_run_takes_up_what_is_there(mirror: Mirror, server: Server, home: Home) -> None:
    second = server.push("shop.py", "PRICE = 2\n")
    again = Mirror(home, "shop", server.bare.as_uri(), "", SETTINGS)
    assert (again.create(), again.branch) == (second, "main")


def test_a_name_left_behind_by_another_address_is_taken_over(mirror: Mirror, home: Home, tmp_path: Path) -> None:
    other = remote(tmp_path, "other", {"other.py": "x = 1\n"})
    git(other, "branch", "-m", "main", "trunk")
    git(other, "symbolic-ref", "HEAD", "refs/heads/trunk")
    made = Mirror(home, "shop", other.as_uri(), "", SETTINGS)
    assert made.create() == git(other, "rev-parse", "trunk")
    assert git(made.folder, "for-each-ref", "--format=%(refname)") == "refs/heads/trunk"


def test_threads_syncing_at_once_do_not_break_one_another(mirror: Mirror, server: Server) -> None:
    wanted = server.push("shop.py", "PRICE = 3\n")
    heads: list[str] = []
    threads = [threading.Thread(target=lambda: heads.append(mirror.sync())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heads == [wanted] * 6


def test_a_checkout_has_one_commit_no_remote_and_no_history(mirror: Mirror, server: Server, tmp_path: Path) -> None:
    old = mirror.head()
    server.push("secret_solution.py", "x = 1\n")
    mirror.sync()
    tree = mirror.checkout(old, tmp_path / "out")
    assert git(tree, "log", "--format=%s") == "as handed over"
    assert git(tree, "remote") == ""
    assert git(tree, "status", "--porcelain") == ""
    assert (tree / "shop.py").read_text() == "PRICE = 1\n"
    objects = git(tree, "cat-file", "--batch-check", "--batch-all-objects")
    assert objects.count(" commit ") == 1, "later commits cannot be read"


def test_what_a_repository_brings_is_never_executed(home: Home, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    hostile = {
        ".gitattributes": "*.py filter=evil diff=evil\n* ident\n",
        ".gitmodules": f'[submodule "s"]\n\tpath = s\n\turl = ext::sh -c "touch {mark}"\n',
        ".githooks/post-checkout": f"#!/bin/sh\ntouch {mark}\n",
        "a.py": "x = 1\n",
    }
    bare = remote(tmp_path, "hostile", hostile)
    for hook in ("post-checkout", "post-upload-pack", "post-merge"):
        (bare / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (bare / "hooks" / hook).chmod(0o755)
    made = Mirror(home, "hostile", bare.as_uri(), "", SETTINGS)
    head = made.create()
    made.checkout(head, tmp_path / "out")
    made.workspace(head).close()
    assert not mark.exists()


def test_links_out_of_the_tree_become_plain_files(home: Home, tmp_path: Path) -> None:
    tree = tmp_path / "links-tree"
    tree.mkdir()
    (tree / "inside.txt").write_text("mine\n")
    (tree / "good").symlink_to("inside.txt")
    (tree / "tests").symlink_to("/etc")
    (tree / "up").symlink_to("../../..")
    bare = remote(tmp_path, "links", {"a.py": "x = 1\n"})
    made = Mirror(home, "links", bare.as_uri(), "", SETTINGS)
    out = made.checkout(made.create(), tmp_path / "out")
    assert (out / "good").is_symlink() and (out / "good").read_text() == "mine\n"
    for name, target in (("tests", "/etc"), ("up", "../../..")):
        assert not (out / name).is_symlink()
        assert (out / name).read_text() == target


def test_a_kill_while_cloning_leaves_nothing_half_done(home: Home, server: Server) -> None:
    for number in range(200):
        (server.tree / f"f{number}.txt").write_text("x" * 2000 * number)
    server.push("more.txt", "x")
    script = (
        "import sys; from pathlib import Path; from appliance.config import Home\n"
        "from appliance.settings import MirrorSettings\n"
        "from appliance.mirror.mirror import Mirror\n"
        "Mirror(Home(Path(sys.argv[1])), 'shop', sys.argv[2], '', MirrorSettings()).create()"
    )
    for pause in (0.0, 0.35, 0.4, 0.45, 0.5, 0.6):
        process = subprocess.Popen([sys.executable, "-c", script, str(home.root), server.bare.as_uri()])
        time.sleep(pause)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if (home.mirrors / "shop.git").exists():
            break
    made = Mirror(home, "shop", server.bare.as_uri(), "", SETTINGS)
    if not made.folder.exists():
        made.create()
    assert made.sync() == git(server.tree, "rev-parse", "HEAD")
    git(made.folder, "fsck", "--strict")


def test_a_kill_while_fetching_leaves_a_mirror_that_fetches(mirror: Mirror, server: Server, home: Home) -> None:
    script = (
        "import sys; from pathlib import Path; from appliance.config import Home\n"
        "from appliance.settings import MirrorSettings\n"
        "from appliance.mirror.mirror import Mirror\n"
        "made = Mirror(Home(Path(sys.argv[1])), 'shop', sys.argv[2], 'main', MirrorSettings())\n"
        "print('go', flush=True)\nwhile True: made.sync()"
    )
    for turn in range(6):
        for number in range(20):
            (server.tree / f"f{number}.txt").write_text(f"{turn}\n" * 3000 * number)
        wanted = server.push("more.txt", str(turn))
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(home.root), server.bare.as_uri()], stdout=subprocess.PIPE
        )
        assert process.stdout is not None and process.stdout.readline() == b"go\n"
        time.sleep(0.02 * turn)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert mirror.sync() == wanted
    git(mirror.folder, "fsck", "--strict")


def test_locks_and_half_written_files_of_a_killed_fetch_do_not_stand_in_the_way(mirror: Mirror, server: Server) -> None:
    left = ["HEAD.lock", "packed-refs.lock", "config.lock", "shallow.lock", "refs/heads/main.lock", "objects/tmp_obj_x"]
    (mirror.folder / "objects/pack").mkdir(exist_ok=True)
    for name in [*left, "objects/pack/tmp_pack_x"]:
        (mirror.folder / name).write_text("")
    wanted = server.push("shop.py", "PRICE = 2\n")
    assert mirror.sync() == wanted
    assert not [name for name in left if (mirror.folder / name).exists()]


@pytest.mark.parametrize("damage", ["HEAD", "config", "objects", "tip"])
def test_a_mirror_damaged_by_a_crash_is_made_anew(mirror: Mirror, server: Server, damage: str) -> None:
    wanted = server.push("shop.py", "PRICE = 2\n")
    if damage == "objects":
        shutil.rmtree(mirror.folder / "objects")
        (mirror.folder / "objects").mkdir()
    elif damage == "tip":
        (mirror.folder / "refs/heads/main").write_text("")
    else:
        (mirror.folder / damage).write_text("")
    assert mirror.sync() == wanted
    git(mirror.folder, "fsck", "--strict")


def test_processes_creating_one_mirror_at_once_all_get_it(home: Home, server: Server) -> None:
    script = (
        "import sys; from pathlib import Path; from appliance.config import Home\n"
        "from appliance.settings import MirrorSettings\n"
        "from appliance.mirror.mirror import Mirror\n"
        "print(Mirror(Home(Path(sys.argv[1])), 'shop', sys.argv[2], '', MirrorSettings()).create())"
    )
    command = [sys.executable, "-c", script, str(home.root), server.bare.as_uri()]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    heads = [process.communicate()[0].strip() for process in started]
    assert heads == [git(server.bare, "rev-parse", "main")] * 3


def test_removing_while_others_fetch_ends_with_a_mirror_or_none(mirror: Mirror) -> None:
    problems: list[FactoryError] = []

    def sync() -> None:
        try:
            for _ in range(3):
                mirror.sync()
        except FactoryError as error:
            problems.append(error)

    threads = [threading.Thread(target=sync) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        mirror.remove()
    for thread in threads:
        thread.join()
    assert not problems
    mirror.remove()
    assert list(mirror.folder.parent.iterdir()) == []


def test_a_mirror_packs_what_came_in_and_keeps_what_a_forced_push_took_away(
    mirror: Mirror, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.mirror.mirror.TIDY", (TIDY[0], "gc.autoPackLimit=2", *TIDY[2:]))
    old = server.push("shop.py", "PRICE = 2\n")
    mirror.sync()
    git(server.tree, "reset", "-q", "--hard", "HEAD^")
    for turn in range(4):
        for number in range(120):  # more than git keeps as single files
            (server.tree / f"f{number}.txt").write_text(f"{turn} {number}\n")
        server.push("more.txt", f"{turn}\n")
        mirror.sync()
    assert 1 <= len(list((mirror.folder / "objects/pack").glob("*.pack"))) <= 2
    clone = mirror.workspace(old)
    assert (clone.tree / "shop.py").read_text() == "PRICE = 2\n"
    clone.close()


def test_what_can_be_ambiguous_is_no_commit(mirror: Mirror, tmp_path: Path) -> None:
    for commit in ("main", "HEAD", "--all", mirror.head()[:12], ""):
        with pytest.raises(UsageError, match="not a commit id"):
            mirror.checkout(commit, tmp_path / "out")
        with pytest.raises(UsageError, match="not a commit id"):
            mirror.workspace(commit)
    assert not (tmp_path / "out").exists()


def test_a_default_that_does_not_exist_gives_way_to_the_branch_there_is(home: Home, tmp_path: Path) -> None:
    bare = remote(tmp_path, "unborn", {"a.py": "1\n"})
    git(bare, "symbolic-ref", "HEAD", "refs/heads/master")
    made = Mirror(home, "unborn", bare.as_uri(), "", SETTINGS)
    made.create()
    assert made.branch == "main"
