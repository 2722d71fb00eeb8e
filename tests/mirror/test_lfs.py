"""Files that Git LFS keeps, submodules, and mirrors of some depth: what a mirror holds beside whole branches."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.main import main
from appliance.config import Home, render
from appliance.errors import PolicyRefused, Unavailable, VerificationFailed
from appliance.mirror import hosts, keys
from appliance.mirror.address import Address
from appliance.mirror.lfs import Pointer, Store
from appliance.mirror.lfs_server import LfsServer as LfsSide
from appliance.mirror.mirror import Mirror
from appliance.settings import Settings
from appliance.work import MirrorHealth
from tests.e2e.world import git
from tests.mirror.conftest import SETTINGS, Server
from tests.mirror.http_server import LOGIN
from tests.mirror.lfs_batch import LfsServer, lfs_serving
from tests.mirror.ssh_server import SshServer, ssh_serving

DATA = bytes(range(256)) * 40
DIFF = "diff --git a/shop.py b/shop.py\n--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-PRICE = 1\n+PRICE = 5\n"


def pointer(content: bytes) -> str:
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"


@pytest.fixture(autouse=True)
def no_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installing git-lfs makes its filters every user's: here pointers are committed by hand."""
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def lfs(server: Server) -> Iterator[LfsServer]:
    """The server, with one file of LFS in its repository."""
    with lfs_serving(server.bare.parent) as running:
        (server.tree / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
        server.push("model.bin", pointer(DATA))
        (running.files / hashlib.sha256(DATA).hexdigest()).write_bytes(DATA)
        yield running


def mirrored(home: Home, lfs: LfsServer, wanted: bool = True) -> Mirror:
    mirror = Mirror(home, "shop", lfs.url("shop.git"), "", SETTINGS, lfs=wanted)
    mirror.create()
    return mirror


def test_without_lfs_pointers_stay_pointers_and_are_told(home: Home, lfs: LfsServer, tmp_path: Path) -> None:
    mirror = mirrored(home, lfs, wanted=False)
    (note,) = mirror.examine(MirrorHealth()).notes
    assert "1 file of Git LFS (0.0 MiB) not fetched" in note and "`appliance repo set shop --lfs`" in note
    assert (mirror.checkout(mirror.head(), tmp_path / "out") / "model.bin").read_text() == pointer(DATA)
    assert lfs.heard == []


def test_with_lfs_trees_hold_the_files_and_commits_their_pointers(home: Home, lfs: LfsServer, tmp_path: Path) -> None:
    mirror = mirrored(home, lfs)
    assert mirror.examine(MirrorHealth()).notes == ()
    tree = mirror.checkout(mirror.head(), tmp_path / "out")
    assert (tree / "model.bin").read_bytes() == DATA
    assert git(tree, "show", "HEAD:model.bin") == pointer(DATA).strip() and git(tree, "status", "--porcelain") == ""
    clone = mirror.workspace(mirror.head())
    clone.apply(DIFF)
    commit = clone.commit("Fix", ())
    assert (clone.export(commit, tmp_path / "fixed") / "model.bin").read_bytes() == DATA
    assert git(clone.tree, "show", "HEAD:model.bin") == pointer(DATA).strip(), "what is pushed has the pointer"


def test_a_file_that_came_once_is_not_asked_for_again(home: Home, lfs: LfsServer, server: Server) -> None:
    mirror = mirrored(home, lfs)
    asked = len(lfs.heard)
    server.push("shop.py", "PRICE = 2\n")
    mirror.sync()
    assert len(lfs.heard) == asked
    server.push("other.bin", pointer(b"other"))
    (lfs.files / hashlib.sha256(b"other").hexdigest()).write_bytes(b"other")
    mirror.sync()
    assert len(lfs.heard) == asked + 2


def test_the_login_of_the_repository_opens_its_lfs_too(home: Home, lfs: LfsServer, tmp_path: Path) -> None:
    lfs.login = LOGIN
    login = f"{LOGIN[0]}:{LOGIN[1].replace('/', '%2F')}@"
    mirror = Mirror(home, "shop", lfs.url("shop.git", login), "", SETTINGS, lfs=True)
    assert (mirror.checkout(mirror.create(), tmp_path / "out") / "model.bin").read_bytes() == DATA


@pytest.mark.parametrize("harm", ["missing", "spoilt", "large"])
def test_a_file_that_cannot_be_had_is_told_and_stops_nothing(
    home: Home, lfs: LfsServer, tmp_path: Path, harm: str
) -> None:
    lfs.spoil = harm == "spoilt"
    if harm == "missing":
        (lfs.files / hashlib.sha256(DATA).hexdigest()).rename(tmp_path / "away")
    if harm == "large":
        lfs.root.joinpath("shop-tree", "big.bin").write_text(pointer(DATA).replace("size 10240", "size 30000000000"))
        Server(lfs.root / "shop.git", lfs.root / "shop-tree").push("x.py", "x = 1\n")
    mirror = mirrored(home, lfs)
    notes = mirror.examine(MirrorHealth()).notes
    words = {"missing": "has no file", "spoilt": "is not the one", "large": "raise mirror.lfs_max_mb"}[harm]
    assert any("missing, trees hold their pointers: " in note and "model.bin" in note for note in notes) and any(
        words in note for note in notes
    )
    assert (mirror.checkout(mirror.head(), tmp_path / "out") / "model.bin").read_text() == pointer(DATA)
    if harm == "missing":
        (tmp_path / "away").rename(lfs.files / hashlib.sha256(DATA).hexdigest())
        assert mirror.examine(MirrorHealth()).notes == (), "the next look has it"


def test_a_tree_older_than_the_files_that_are_kept_is_noted_once(
    home: Home, lfs: LfsServer, server: Server, tmp_path: Path
) -> None:
    old = server.push("model.bin", pointer(b"older"))
    server.push("model.bin", pointer(DATA))
    mirror = mirrored(home, lfs)
    for folder in ("one", "two"):
        assert (mirror.checkout(old, tmp_path / folder) / "model.bin").read_text() == pointer(b"older")
        (note,) = mirror.examine(MirrorHealth()).notes
        assert f"the tree of {old[:12]} was used with pointers instead of 1 of its files of Git LFS" in note
        assert "not kept here: model.bin (" in note and "mirror.lfs_max_mb" in note
    mirror.checkout(mirror.head(), tmp_path / "newest")
    assert len(mirror.examine(MirrorHealth()).notes) == 1


@pytest.mark.parametrize("beside", [False, True], ids=["http", "folder"])
def test_a_full_disk_is_told_in_words_and_stops_no_fetch(
    home: Home, lfs: LfsServer, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    def full(*_given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    oid = hashlib.sha256(DATA).hexdigest()
    if beside:
        there = server.bare / "lfs" / "objects" / oid[:2] / oid[2:4]
        there.mkdir(parents=True)
        (there / oid).write_bytes(DATA)
    with monkeypatch.context() as broken:
        broken.setattr("appliance.mirror.lfs.os.fsync", full)
        url = str(server.bare) if beside else lfs.url("shop.git")
        mirror = Mirror(home, "shop", url, "", SETTINGS, lfs=True)
        mirror.create()
        health = mirror.examine(MirrorHealth())
    assert health.error == "" and health.head == mirror.head()
    assert any("cannot be kept: the disk is full (free space on that disk" in note for note in health.notes)
    assert not [file for file in (home.mirrors / "shop.lfs").rglob("*") if file.is_file() and file.name != "lock"]
    assert mirror.examine(MirrorHealth()).notes == (), "the next look has it"
    with monkeypatch.context() as broken:
        broken.setattr("appliance.mirror.lfs_trees.shutil.copyfile", full)
        with pytest.raises(Unavailable, match="cannot be put into the tree: the disk is full"):
            mirror.checkout(mirror.head(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (mirror.checkout(mirror.head(), tmp_path / "out") / "model.bin").read_bytes() == DATA


@pytest.mark.parametrize("way", ["said", "sent", "configured"])
def test_lfs_leads_the_box_to_no_other_host(
    home: Home, lfs: LfsServer, server: Server, tmp_path: Path, way: str
) -> None:
    with lfs_serving(tmp_path / "elsewhere" if (tmp_path / "elsewhere").mkdir() is None else tmp_path) as other:
        shutil.copy(lfs.files / hashlib.sha256(DATA).hexdigest(), other.files)
        if way == "said":
            lfs.elsewhere = other.url("files")
        elif way == "sent":
            lfs.redirect = other.url(f"files/{hashlib.sha256(DATA).hexdigest()}")
        else:
            (lfs.files / hashlib.sha256(DATA).hexdigest()).unlink()
            server.push(".lfsconfig", f"[lfs]\n\turl = {other.url('shop.git/info/lfs')}\n")
        notes = mirrored(home, lfs).examine(MirrorHealth()).notes
        assert any("could not be fetched" in note for note in notes) and other.heard == []


def test_a_repository_on_a_disk_has_its_files_beside_it(
    home: Home, lfs: LfsServer, server: Server, tmp_path: Path
) -> None:
    oid = hashlib.sha256(DATA).hexdigest()
    there = server.bare / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
    there.parent.mkdir(parents=True)
    there.write_bytes(DATA)
    mirror = Mirror(home, "shop", server.bare.as_uri(), "", SETTINGS, lfs=True)
    assert (mirror.checkout(mirror.create(), tmp_path / "out") / "model.bin").read_bytes() == DATA
    assert lfs.heard == []


def test_the_files_outlive_a_mirror_that_is_made_anew(home: Home, lfs: LfsServer, tmp_path: Path) -> None:
    mirror = mirrored(home, lfs)
    (mirror.folder / "config").write_text("")
    asked = len(lfs.heard)
    assert (mirror.checkout(mirror.sync(), tmp_path / "out") / "model.bin").read_bytes() == DATA
    assert len(lfs.heard) == asked


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="no git-lfs here (apt-get install git-lfs)")
def test_what_a_developers_own_git_lfs_pushed_comes_to_the_box(home: Home, server: Server, tmp_path: Path) -> None:
    with lfs_serving(server.bare.parent) as lfs:
        git(server.bare, "config", "http.receivepack", "true")
        env = {**os.environ, "HOME": str(tmp_path), "GIT_LFS_SKIP_PUSH": "0"}

        def develop(*words: str) -> None:
            subprocess.run(["git", "-c", "user.name=D", "-c", "user.email=d@x", *words], cwd=server.tree, env=env,
                           check=True, capture_output=True)  # fmt: skip

        develop("lfs", "install", "--local")
        develop("lfs", "track", "*.bin")
        (server.tree / "model.bin").write_bytes(DATA)
        develop("add", "-A")
        develop("commit", "-q", "-m", "a model")
        develop("remote", "set-url", "origin", lfs.url("shop.git"))
        develop("push", "-q", "origin", "HEAD:main")
        mirror = mirrored(home, lfs)
        assert mirror.examine(MirrorHealth()).notes == ()
        assert (mirror.checkout(mirror.head(), tmp_path / "out") / "model.bin").read_bytes() == DATA


def test_submodules_are_told_with_path_and_address_and_never_fetched(home: Home, server: Server) -> None:
    modules = "".join(
        f'[submodule "m{n}"]\n\tpath = libs/m{n}\n\turl = https://u:p@git.example/m{n}.git\n' for n in range(12)
    )
    (server.tree / ".gitmodules").write_text(modules)
    for number in range(12):
        git(server.tree, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},libs/m{number}")
    git(server.tree, "add", ".gitmodules")
    git(server.tree, "commit", "-q", "-m", "modules")
    git(server.tree, "push", "-q", "origin", "HEAD:main")
    mirror = Mirror(home, "shop", server.bare.as_uri(), "", SETTINGS)
    mirror.create()
    notes = mirror.examine(MirrorHealth()).notes
    assert notes[0] == "submodule libs/m0 (https://***@git.example/m0.git) is not fetched"
    assert len(notes) == 11 and notes[-1] == "2 more submodules are not fetched"
    git(server.tree, "reset", "-q", "--hard", "HEAD^")
    server.push("shop.py", "PRICE = 3\n")
    assert all("force-pushed" in note for note in mirror.examine(MirrorHealth()).notes), "what is no more is not told"


NEW = "diff --git a/new.bin b/new.bin\nnew file mode 100644\n--- /dev/null\n+++ b/new.bin\n@@ -0,0 +1 @@\n+made here\n"


def test_a_file_that_a_change_makes_for_lfs_goes_to_its_server_before_the_branch(
    home: Home, lfs: LfsServer, server: Server, tmp_path: Path
) -> None:
    git(server.bare, "config", "http.receivepack", "true")
    mirror = mirrored(home, lfs)
    clone = mirror.workspace(mirror.head())
    clone.apply(NEW)
    commit = clone.commit("Add", ())
    content = b"made here\n"
    assert git(clone.tree, "show", f"{commit}:new.bin") == pointer(content).strip()
    assert (clone.export(commit, tmp_path / "out") / "new.bin").read_bytes() == content
    clone.push(commit, "main")
    assert (lfs.files / hashlib.sha256(content).hexdigest()).read_bytes() == content
    assert lfs.heard[-1].endswith("/verify") and git(server.bare, "rev-parse", "main") == commit
    assert mirror.examine(MirrorHealth()).notes == ()


def test_a_change_of_a_file_that_lfs_keeps_fits_as_it_was_seen(home: Home, lfs: LfsServer, server: Server) -> None:
    git(server.bare, "config", "http.receivepack", "true")
    old, new = b"a\nb\n", b"a\nB\n"
    (lfs.files / hashlib.sha256(old).hexdigest()).write_bytes(old)
    server.push("table.bin", pointer(old))
    mirror = mirrored(home, lfs)
    clone = mirror.workspace(mirror.head())
    clone.apply("diff --git a/table.bin b/table.bin\n--- a/table.bin\n+++ b/table.bin\n@@ -1,2 +1,2 @@\n a\n-b\n+B\n")
    clone.publish(clone.commit("Change", ()), "factory/W-1", "")
    assert git(server.bare, "show", "factory/W-1:table.bin") == pointer(new).strip()
    assert (lfs.files / hashlib.sha256(new).hexdigest()).read_bytes() == new


def test_a_branch_whose_files_are_nowhere_is_not_pushed(home: Home, lfs: LfsServer, server: Server) -> None:
    git(server.bare, "config", "http.receivepack", "true")
    mirror = mirrored(home, lfs)
    before = mirror.head()
    clone = mirror.workspace(before)
    lines = pointer(b"lost").splitlines()
    clone.apply(
        "diff --git a/lost.bin b/lost.bin\nnew file mode 100644\n--- /dev/null\n+++ b/lost.bin\n@@ -0,0 +1,3 @@\n"
        + "".join(f"+{line}\n" for line in lines)
    )
    with pytest.raises(PolicyRefused, match="neither here nor on the server"):
        clone.push(clone.commit("Add", ()), "main")
    assert git(server.bare, "rev-parse", "main") == before


def test_a_file_that_the_lfs_server_does_not_take_stops_the_push_in_words(
    home: Home, lfs: LfsServer, server: Server
) -> None:
    git(server.bare, "config", "http.receivepack", "true")
    mirror = mirrored(home, lfs)
    clone = mirror.workspace(mirror.head())
    clone.apply(NEW)
    commit = clone.commit("Add", ())
    lfs.refuse = True
    with pytest.raises(PolicyRefused, match=r"does not take the file .* \(403: quota\?\)"):
        clone.push(commit, "main")
    assert git(server.bare, "rev-parse", "main") == clone.base


def test_what_only_looks_like_a_pointer_stays_as_it_is(
    home: Home, lfs: LfsServer, server: Server, tmp_path: Path
) -> None:
    server.push("fixture.txt", pointer(DATA))
    mirror = mirrored(home, lfs)
    assert (mirror.checkout(mirror.head(), tmp_path / "out") / "fixture.txt").read_text() == pointer(DATA)


def series(tree: Path, files: dict[str, str], attributes: bool = True) -> bytes:
    """A patch of a developer whose git knows nothing of LFS, or has its pointers."""
    git(tree, "checkout", "-q", "-B", "work", "origin/main")
    if not attributes:
        git(tree, "rm", "-q", ".gitattributes")
    for name, text in files.items():
        (tree / name).write_text(text)
    git(tree, "add", "--all")
    git(tree, "commit", "-qm", "bring files")
    made = git(tree, "format-patch", "--stdout", "--binary", "origin/main") + "\n"
    git(tree, "checkout", "-q", "main")
    return made.encode()


@pytest.mark.parametrize("name", ["new.bin", "model.bin"])
def test_patches_that_bring_a_file_of_lfs_whole_are_refused_in_words(
    home: Home, server: Server, lfs: LfsServer, name: str
) -> None:
    mirror = mirrored(home, lfs, wanted=False)
    clone = mirror.workspace(mirror.head())
    with pytest.raises(VerificationFailed, match=f"bring {name} whole"):
        clone.take(series(server.tree, {name: "raw content\n", "shop.py": "PRICE = 9\n"}))
    clone.close()


def test_patches_with_pointers_empty_files_and_what_is_no_lfs_are_taken(
    home: Home, server: Server, lfs: LfsServer
) -> None:
    mirror = mirrored(home, lfs, wanted=False)
    for files in ({"new.bin": pointer(b"x")}, {"empty.bin": ""}, {"raw.txt": "raw\n"}):
        clone = mirror.workspace(mirror.head())
        assert clone.take(series(server.tree, files)) != mirror.head()
        clone.close()
    clone = mirror.workspace(mirror.head())
    assert clone.take(series(server.tree, {"new.bin": "no LFS any more\n"}, attributes=False))
    clone.close()


def test_the_oldest_files_make_room_and_those_of_the_branch_stay(tmp_path: Path) -> None:
    store = Store(tmp_path, 25)
    known = []
    for number, content in enumerate((b"a" * 10, b"b" * 10, b"c" * 5)):
        known.append(Pointer(hashlib.sha256(content).hexdigest(), len(content)))
        store.put(known[-1], [content])
        os.utime(store.file(known[-1]), (number, number))
    store.make_room([Pointer("d" * 64, 4)], known[:1])
    assert store.lacking(known) == [known[1]]
    with pytest.raises(PolicyRefused, match="take more"):
        store.make_room([Pointer("d" * 64, 16)], known[:1])
    assert store.lacking(known) == [known[1]]


def test_lfs_over_ssh_asks_the_repositorys_own_host_and_believes_in_no_other(
    home: Home, lfs: LfsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "ssh").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat {tmp_path}/answer\n')
    (bin_ / "ssh").chmod(0o755)
    monkeypatch.setattr("appliance.mirror.lfs_server.PATH", f"{bin_}:/usr/bin:/bin")
    store = Store(tmp_path / "store", 1 << 20)
    wanted = Pointer(hashlib.sha256(DATA).hexdigest(), len(DATA))
    server = LfsSide(home.secrets, "shop", Address("ssh://git@127.0.0.1/it's/shop.git"), SETTINGS)
    (tmp_path / "answer").write_text(json.dumps({"href": lfs.url("shop.git/info/lfs"), "header": {"X-Key": "k"}}))
    server.fetch([wanted], store)
    assert store.file(wanted).read_bytes() == DATA
    asked = (tmp_path / "asked").read_text()
    assert "-- git@127.0.0.1 git-lfs-authenticate '/it'\"'\"'s/shop.git' download" in asked
    (tmp_path / "answer").write_text(
        json.dumps({"href": lfs.url("shop.git/info/lfs").replace("127.0.0.1", "localhost")})
    )
    heard = len(lfs.heard)
    with pytest.raises(PolicyRefused, match="not the repository's server"):
        server.fetch([wanted], store)
    assert len(lfs.heard) == heard


@pytest.fixture
def sshd(home: Home, server: Server, lfs: LfsServer, tmp_path: Path) -> Iterator[SshServer]:
    """A real ssh server, where the box's key may use git, and ask for LFS as forges let it."""
    people = tmp_path / "people"
    (people / ".ssh").mkdir(parents=True)
    with ssh_serving(tmp_path / "sshd", people) as running:
        answer = json.dumps({"href": lfs.url("shop.git/info/lfs"), "header": {"X-Key": "k"}})
        door = tmp_path / "door"
        door.write_text(
            f'#!/bin/sh\necho "$SSH_ORIGINAL_COMMAND" >> {tmp_path}/asked\ncase "$SSH_ORIGINAL_COMMAND" in\n'
            f"git-lfs-authenticate*) echo '{answer}';;\n*) exec git-shell -c \"$SSH_ORIGINAL_COMMAND\";;\nesac\n"
        )
        door.chmod(0o755)
        running.admit(f'restrict,command="{door}" {keys.ensure(home.secrets, "shop")}')
        hosts.pin(home.secrets, hosts.confirmed(hosts.scan("127.0.0.1", running.port), running.fingerprint))
        yield running


@pytest.mark.integration
def test_over_a_real_ssh_server_files_of_lfs_come_and_go(
    home: Home, server: Server, lfs: LfsServer, sshd: SshServer, tmp_path: Path
) -> None:
    mirror = Mirror(home, "shop", sshd.url(server.bare), "", SETTINGS, lfs=True)
    head = mirror.create()
    assert mirror.examine(MirrorHealth()).notes == ()
    assert (mirror.checkout(head, tmp_path / "out") / "model.bin").read_bytes() == DATA
    clone = mirror.workspace(head)
    new = "made by the box\n"
    clone.apply(
        f"diff --git a/new.bin b/new.bin\nnew file mode 100644\n--- /dev/null\n+++ b/new.bin\n@@ -0,0 +1 @@\n+{new}"
    )
    clone.push(clone.commit("Bring a file", ()), "main")
    assert git(server.bare, "show", "main:new.bin") == pointer(new.encode()).strip()
    assert (lfs.files / hashlib.sha256(new.encode()).hexdigest()).read_text() == new
    clone.close()
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[-1] for line in asked if "lfs" in line.split()[0]] == ["download", "upload"]
    sshd.new_host_key()
    sshd.stop()
    sshd.start()
    with pytest.raises(Unavailable):
        LfsSide(home.secrets, "shop", Address(mirror.url), SETTINGS).fetch(
            [Pointer("d" * 64, 1)], Store(tmp_path / "store", 1 << 20)
        )


def test_a_repository_is_added_and_set_with_its_files(
    home: Home, lfs: LfsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    home.settings_file.write_text(render(Settings()))
    oid = hashlib.sha256(DATA).hexdigest()
    kept = home.mirrors / "shop.lfs" / oid[:2] / oid[2:4] / oid
    at = ("--home", str(home.root))
    assert main(["repo", "add", "shop", "--url", lfs.url("shop.git"), *at]) == 0 and not kept.exists()
    assert main(["repo", "set", "shop", "--lfs", *at]) == 0 and kept.exists()
    assert main(["repo", "sync", "shop", *at]) == 0
    capsys.readouterr()
    assert main(["repo", "show", "shop", *at]) == 0 and "lfs: True" in capsys.readouterr().out
    assert main(["repo", "set", "shop", "--no-lfs", *at]) == 0 and main(["repo", "sync", "shop", *at]) == 0
    capsys.readouterr()
    assert main(["repo", "show", "shop", "--json", *at]) == 0
    assert "not fetched" in json.loads(capsys.readouterr().out)["mirror"]["notes"][0]
    assert main(["repo", "remove", "shop", "--yes", *at]) == 0 and not kept.parents[2].exists()
