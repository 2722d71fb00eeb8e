"""Repositories made to harm whoever reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance.config import Home
from appliance.errors import FactoryError, VerificationFailed
from appliance.mirror.mirror import Mirror
from tests.e2e.world import git, remote
from tests.mirror.conftest import SETTINGS


def mirrored(home: Home, bare: Path) -> tuple[Mirror, str]:
    mirror = Mirror(home, "hostile", bare.as_uri(), "", SETTINGS)
    return mirror, mirror.create()


def with_tree(bare: Path, *entries: tuple[str, str, bytes]) -> None:
    """Put a commit with these (mode, name, content) on main, as no git would make it by itself."""
    lines = b""
    for mode, name, content in entries:
        if mode == "160000":
            made = content.decode()
        else:
            made = subprocess.run(
                ["git", "hash-object", "-w", "--stdin"], cwd=bare, input=content, capture_output=True, check=True
            ).stdout.decode().strip()  # fmt: skip
        lines += f"{mode} {'commit' if mode == '160000' else 'blob'} {made}\t{name}\0".encode()
    tree = subprocess.run(["git", "mktree", "-z", "--missing"], cwd=bare, input=lines, capture_output=True, check=True)
    commit = git(bare, "commit-tree", "-m", "hostile", tree.stdout.decode().strip())
    git(bare, "update-ref", "refs/heads/main", commit)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return remote(tmp_path, "hostile", {"a.py": "x = 1\n"})


def test_a_repository_inside_the_repository_is_only_files(home: Home, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    evil = {
        "HEAD": "ref: refs/heads/main\n",
        "config": f'[core]\n\tfsmonitor = "touch {mark}"\n\thooksPath = hooks\n[alias]\n\tx = "!touch {mark}"\n',
        "objects/info/alternates": "/nonexistent\n",
        "refs/heads/main": "0" * 40 + "\n",
        "hooks/post-checkout": f"#!/bin/sh\ntouch {mark}\n",
        "a.py": "x = 1\n",
    }
    mirror, head = mirrored(home, remote(tmp_path, "evil", evil))
    tree = mirror.checkout(head, tmp_path / "out")
    clone = mirror.workspace(head)
    clone.apply("diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n")
    commit = clone.commit("Fix", ())
    assert (clone.export(commit, tmp_path / "out2") / "a.py").read_text() == "x = 2\n"
    assert (tree / "config").read_text() == evil["config"]
    assert not mark.exists()


def test_files_come_out_byte_by_byte_whatever_the_repositorys_attributes_ask_for(home: Home, tmp_path: Path) -> None:
    bare = remote(tmp_path, "attributes", {"a.py": "start\n"})
    attributes = (
        b"* text eol=crlf ident\n*.py working-tree-encoding=UTF-16 filter=evil\n*.bad working-tree-encoding=no\n"
    )
    files = {"a.py": b"x = '$Id$'\n", "crlf.txt": b"one\r\ntwo\r\n", "x.bad": b"\xff\xfe\x00"}
    with_tree(bare, ("100644", ".gitattributes", attributes), *(("100644", name, data) for name, data in files.items()))
    mirror, head = mirrored(home, bare)
    tree = mirror.checkout(head, tmp_path / "out")
    clone = mirror.workspace(head)
    assert {name: (tree / name).read_bytes() for name in files} == files
    assert {name: (clone.tree / name).read_bytes() for name in files} == files
    assert git(clone.tree, "rev-parse", "HEAD^{tree}") == git(bare, "rev-parse", "main^{tree}")
    assert git(tree, "rev-parse", "HEAD^{tree}") == git(bare, "rev-parse", "main^{tree}")


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1"])
def test_a_tree_that_would_write_into_gits_own_folder_is_refused_whole(
    home: Home, bare: Path, tmp_path: Path, name: str
) -> None:
    with_tree(bare, ("100644", "a.py", b"x\n"), ("100644", name, b"gitdir: /etc\n"))
    mirror, head = mirrored(home, bare)
    with pytest.raises(FactoryError, match="invalid path"):
        mirror.checkout(head, tmp_path / "out")
    with pytest.raises(FactoryError, match="invalid path"):
        mirror.workspace(head)
    assert not (tmp_path / "out").exists() and list(tmp_path.glob("out.*")) == []
    assert list(home.computers.iterdir()) == []


def test_links_that_lead_out_in_circles_or_into_git_become_plain_files(home: Home, bare: Path, tmp_path: Path) -> None:
    links = {"loop": "loop", "one": "two", "two": "one", "config": ".git/config", "etc": "/etc", "far": "../x"}
    links["hop"] = "far"
    others = (("120000", "good", b"a.py"), ("120000", "long", b"n" * 3000))
    with_tree(
        bare, ("100644", "a.py", b"x\n"), *others, *(("120000", name, end.encode()) for name, end in links.items())
    )
    mirror, head = mirrored(home, bare)
    tree = mirror.checkout(head, tmp_path / "out")
    assert (tree / "good").is_symlink() and (tree / "good").read_text() == "x\n"
    for name in ("loop", "one", "config", "etc", "far", "long"):
        assert not (tree / name).is_symlink()
    assert (tree / "two").read_text() == "two", "what a link led to in a circle is a file now"
    assert (tree / "etc").read_text() == "/etc"
    assert all(path.resolve().is_relative_to(tree) for path in tree.iterdir())
    assert git(tree, "status", "--porcelain") == ""


def test_submodules_are_left_alone(home: Home, bare: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    modules = f'[submodule "s"]\n\tpath = s\n\turl = "ext::sh -c touch% {mark}"\n\tupdate = !touch {mark}\n'.encode()
    with_tree(bare, ("100644", ".gitmodules", modules), ("100644", "a.py", b"x = 1\n"), ("160000", "s", b"1" * 40))
    mirror, head = mirrored(home, bare)
    assert list((mirror.checkout(head, tmp_path / "out") / "s").iterdir()) == []
    clone = mirror.workspace(head)
    clone.apply("diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n")
    clone.push(clone.commit("Fix", ()), "main")
    assert git(bare, "ls-tree", "main", "s").startswith("160000")
    assert not mark.exists()


@pytest.mark.parametrize("name", ["$(touch x)", "`touch x`", ";touch x", "--upload-pack=x", "ä/ö", "'q\"", "a" * 150])
def test_odd_branch_names_on_the_server_are_mirrored_as_names(home: Home, bare: Path, name: str) -> None:
    name = name.replace(" ", "\N{NO-BREAK SPACE}")
    git(bare, "update-ref", f"refs/heads/{name}", "main")
    mirror, head = mirrored(home, bare)
    assert mirror.branch == "main"
    shown = git(mirror.folder, "-c", "core.quotePath=false", "for-each-ref", "--format=%(refname)").splitlines()
    assert shown == sorted(["refs/heads/main", f"refs/heads/{name}"])
    assert mirror.sync() == head


def test_a_tag_of_the_branchs_name_does_not_hide_the_branch(home: Home, bare: Path) -> None:
    git(bare, "tag", "main", git(bare, "commit-tree", "-m", "other", "main^{tree}"))
    head = mirrored(home, bare)[1]
    assert head == git(bare, "rev-parse", "refs/heads/main")
    assert Mirror(home, "hostile", bare.as_uri(), "", SETTINGS).branch == "main"


@pytest.mark.parametrize(
    ("mode", "content"),
    [("120000", "+/etc/passwd\n\\ No newline at end of file\n"), ("160000", f"+Subproject commit {'1' * 40}\n")],
)
def test_a_change_may_not_make_links_or_submodules(home: Home, bare: Path, mode: str, content: str) -> None:
    mirror, head = mirrored(home, bare)
    clone = mirror.workspace(head)
    diff = f"diff --git a/new b/new\nnew file mode {mode}\nindex 0000000..1111111\n"
    diff += f"--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n{content}"
    with pytest.raises(VerificationFailed, match="a link or a submodule"):
        clone.apply(diff)
    assert not (clone.tree / "new").is_symlink() and git(clone.tree, "status", "--porcelain") == ""


def test_a_changed_line_that_looks_like_a_path_is_no_path(home: Home, tmp_path: Path) -> None:
    bare = remote(tmp_path, "sql", {"q.sql": "-- ../up and b/.git/config\nselect 1\n"})
    mirror, head = mirrored(home, bare)
    clone = mirror.workspace(head)
    clone.apply(
        "diff --git a/q.sql b/q.sql\n--- a/q.sql\n+++ b/q.sql\n"
        "@@ -1,2 +1,1 @@\n--- ../up and b/.git/config\n select 1\n"
    )
    assert (clone.tree / "q.sql").read_text() == "select 1\n"


def test_words_no_encoding_knows_still_become_a_commit(home: Home, bare: Path) -> None:
    mirror, head = mirrored(home, bare)
    clone = mirror.workspace(head)
    clone.apply("diff --git a/n.py b/n.py\nnew file mode 100644\n--- /dev/null\n+++ b/n.py\n@@ -0,0 +1 @@\n+# \udcff\n")
    clone.commit("Fix: \ud800 and \0 and \r\nFactory-Item : W-9", (("Factory-Item", "W-1\nFactory-Item: W-2"),))
    message = git(clone.tree, "log", "-1", "--format=%(trailers:key=Factory-Item,valueonly)")
    assert message.splitlines() == ["W-1 Factory-Item: W-2"]
    assert (clone.tree / "n.py").read_bytes() == b"# \xff\n"
