"""Servers and repositories that try to run a command on the box, to write outside, or to lead it to another address.

`canary` is a file that only an executed command makes; `Listener` an address that must never be reached.
"""

from __future__ import annotations

import http.server
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.config import Home
from appliance.errors import FactoryError, UsageError, VerificationFailed
from appliance.mirror.address import checked_branch
from appliance.mirror.mirror import Mirror
from appliance.work import MirrorHealth
from tests.e2e.world import git, remote
from tests.mirror.conftest import SETTINGS
from tests.mirror.http_server import GitServer, Handler, running, serving
from tests.mirror.test_hostile import with_tree

DIFF = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"


class Listener:
    """An address that must never be reached."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(0)
        self.at = f"127.0.0.1:{self.socket.getsockname()[1]}"

    def reached(self) -> bool:
        try:
            self.socket.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    assert not made.reached()
    made.socket.close()


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "canary"
    yield made
    assert not made.exists()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return remote(tmp_path, "hostile", {"a.py": "x = 1\n"})


def whole_life(home: Home, url: str, tmp_path: Path) -> Mirror:
    """All that the box does with a repository: mirror, look, hand over, change, merge, take back, push."""
    mirror = Mirror(home, "hostile", url, "main", SETTINGS, lfs=True)
    head = mirror.create()
    mirror.examine(MirrorHealth())
    mirror.checkout(head, tmp_path / "handed")
    clone = mirror.workspace(head)
    clone.apply(DIFF)
    commit = clone.commit("Fix", (("Factory-Item", "W-1"),))
    clone.export(commit, tmp_path / "changed")
    clone.publish(commit, "factory/W-1", "")
    clone.revert(commit, "Revert", ())
    clone.close()
    assert mirror.landed("W-1") == ""
    return mirror


def packet(line: str | bytes) -> bytes:
    data = line.encode() if isinstance(line, str) else line
    return b"%04x" % (len(data) + 4) + data


class Advertising(GitServer):
    """Tells of references as no git does; `symref` is what its HEAD points to."""

    def __init__(self, root: Path, names: list[bytes], symref: str) -> None:
        super().__init__(root)
        self.names, self.symref = names, symref

    def handler(self) -> type[Handler]:
        return AdvertisingHandler


class AdvertisingHandler(Handler):
    server: Advertising

    def answer(self, body: bytes) -> None:
        if "/info/refs" not in self.path or "upload-pack" not in self.path:
            super().answer(body)
            return
        tip = git(self.server.root / "hostile.git", "rev-parse", "main").encode()
        said = packet("# service=git-upload-pack\n") + b"0000"
        said += packet(tip + b" HEAD\0symref=HEAD:" + self.server.symref.encode() + b" agent=x\n")
        said += (
            b"".join(packet(tip + b" " + name + b"\n") for name in [*self.server.names, b"refs/heads/main"]) + b"0000"
        )
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


@pytest.mark.parametrize(
    "name",
    [b"refs/heads/../../../escape", b"refs/heads/a\nb", b"refs/heads/a/../../config", b"../escape", b"refs/heads/-",
     b"refs/heads/a\x1b[2Jb", b"config"],
)  # fmt: skip
def test_references_that_no_git_would_make_are_refused_or_left_out(
    home: Home, bare: Path, tmp_path: Path, name: bytes
) -> None:
    with running(Advertising(bare.parent, [name], "refs/heads/main")) as server:
        mirror = Mirror(home, "hostile", server.url("hostile.git"), "", SETTINGS)
        before = {file.name for file in home.root.rglob("*") if "hostile" not in str(file)}
        try:
            mirror.create()
        except FactoryError as error:
            assert error.message and "\x1b" not in error.message and not mirror.folder.exists()
        else:
            shown = git(mirror.folder, "for-each-ref", "--format=%(refname)").splitlines()
            assert set(shown) <= {"refs/heads/main", "refs/heads/-"}
        assert {file.name for file in home.root.rglob("*") if "hostile" not in str(file)} == before
    assert not (tmp_path / "escape").exists() and not (home.root / "escape").exists()


@pytest.mark.parametrize("default", ["--upload-pack=touch x", "../../x", "HEAD~1", "-"])
def test_a_default_branch_that_reads_as_an_option_or_leads_away_is_not_followed(
    home: Home, bare: Path, default: str
) -> None:
    with running(Advertising(bare.parent, [], f"refs/heads/{default}")) as server:
        mirror = Mirror(home, "hostile", server.url("hostile.git"), "", SETTINGS)
        try:
            mirror.create()
        except FactoryError:
            assert not mirror.folder.exists()
        else:
            assert mirror.branch == "main"


@pytest.mark.parametrize("default", ["-", "--upload-pack=touch", "-x"])
def test_a_repository_whose_default_branch_has_an_odd_name_is_mirrored_for_another_branch(
    home: Home, bare: Path, default: str
) -> None:
    tip = git(bare, "rev-parse", "main")
    git(bare, "update-ref", f"refs/heads/{default}", tip)
    git(bare, "symbolic-ref", "HEAD", f"refs/heads/{default}")
    with pytest.raises(UsageError, match="default branch is") as refused:
        Mirror(home, "shop", bare.as_uri(), "", SETTINGS).create()
    assert "--branch" in refused.value.hint
    mirror = Mirror(home, "shop", bare.as_uri(), "main", SETTINGS)
    assert mirror.create() == mirror.sync() == tip
    health = mirror.examine(MirrorHealth())
    assert (health.error, health.head, health.branches) == ("", tip, 2)
    workspace = mirror.workspace(tip)
    workspace.close()


@pytest.mark.parametrize(
    "name", ["--upload-pack=touch x", "a\nb", "a..b", "\u202egnp", "a b", "-", "a\x7fb", "x/.git/../y"]
)
def test_a_branch_that_is_given_is_checked_before_git_sees_it(name: str) -> None:
    if name == "\u202egnp":  # odd, and a branch all the same
        assert checked_branch(name) == name
    else:
        with pytest.raises(UsageError):
            checked_branch(name)


@pytest.mark.parametrize(
    "name",
    [".git ", ".git.", ".g\u200cit", "\ufeff.git", ".git::$INDEX_ALLOCATION", "..", ".git\\hooks"],
)  # fmt: skip
def test_names_that_some_file_system_takes_for_gits_own_or_the_folder_above_are_refused_whole(
    home: Home, bare: Path, tmp_path: Path, name: str
) -> None:
    blob = git(bare, "rev-parse", "main:a.py")
    raw = b"".join(
        f"100644 {one}".encode() + b"\0" + bytes.fromhex(blob) for one in sorted(("a.py", name), key=str.encode)
    )
    done = subprocess.run(
        ["git", "hash-object", "-w", "-t", "tree", "--literally", "--stdin"], cwd=bare, input=raw, capture_output=True
    )
    commit = git(bare, "commit-tree", "-m", "hostile", done.stdout.decode().strip())
    git(bare, "update-ref", "refs/heads/main", commit)
    mirror = Mirror(home, "hostile", bare.as_uri(), "", SETTINGS)
    head = mirror.create()
    mirror.examine(MirrorHealth())
    for hand_over in (lambda: mirror.checkout(head, tmp_path / "out"), lambda: mirror.workspace(head)):
        with pytest.raises(FactoryError, match="invalid path"):
            hand_over()
    assert not (tmp_path / "out").exists() and list(home.computers.iterdir()) == []


def test_odd_names_that_are_only_names_come_out_and_change_as_they_are(home: Home, tmp_path: Path) -> None:
    names = [
        "--upload-pack=touch x",
        "-rf",
        "a\nb",
        "$(touch x)",
        "\u202egnp.py",
        "ä",
        "a\tb",
        ":(top)x",
        "*",
        "a\\..\\b",
    ]
    bare = remote(tmp_path, "odd", {"a.py": "x = 1\n"})
    with_tree(bare, *(("100644", name, b"one\n") for name in sorted(names, key=str.encode)))
    mirror = Mirror(home, "odd", bare.as_uri(), "", SETTINGS, lfs=True)
    head = mirror.create()
    tree = mirror.checkout(head, tmp_path / "out")
    assert {file.name for file in tree.iterdir()} == {*names, ".git"}
    clone = mirror.workspace(head)
    clone.apply("diff --git a/-rf b/-rf\n--- a/-rf\n+++ b/-rf\n@@ -1 +1 @@\n-one\n+two\n")
    clone.push(clone.commit("Fix", ()), "main")
    assert clone.changed_between(head, mirror.sync()) == ("-rf",)
    assert not (Path.cwd() / "x").exists() and not (clone.tree / "x").exists()


def test_drivers_that_attributes_name_are_run_neither_here_nor_from_a_users_configuration(
    home: Home, bare: Path, tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command's own configuration may define them, as `git lfs install --system` does."""
    user = tmp_path / "user"
    user.mkdir()
    run = f"touch {canary}; cat"
    (user / ".gitconfig").write_text(
        f'[filter "lfs"]\n\tsmudge = {run}\n\tclean = {run}\n\tprocess = {run}\n\trequired = true\n'
        f'[filter "evil"]\n\tsmudge = {run}\n\tclean = {run}\n[diff "evil"]\n\tcommand = {run}\n\ttextconv = {run}\n'
        f'[merge "evil"]\n\tdriver = {run}\n[core]\n\tfsmonitor = {run}\n\thooksPath = {user}\n\tpager = {run}\n'
        f'\tsshCommand = {run}\n\teditor = {run}\n[credential]\n\thelper = "!{run}"\n[diff]\n\texternal = {run}\n'
    )
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(user / ".gitconfig"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", run)
    monkeypatch.setenv("GIT_SSH_COMMAND", run)
    with_tree(
        bare,
        ("100644", ".gitattributes", b"*.py filter=evil diff=evil merge=evil\n*.bin filter=lfs diff=lfs merge=lfs\n"),
        ("100644", "a.py", b"x = 1\n"),
        ("100644", "b.bin", b"plain\n"),
    )
    whole_life(home, bare.as_uri(), tmp_path)


def test_where_submodules_and_lfs_lead_is_told_and_never_followed(
    home: Home, bare: Path, tmp_path: Path, canary: Path, listener: Listener
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    urls = [f"ext::sh -c touch% {canary}", f"http://{listener.at}/s.git", f"ssh://-oProxyCommand=touch%20{canary}/s",
            secret.as_uri(), f"--upload-pack=touch {canary}", f"-u{canary}", "../../../escape"]  # fmt: skip
    modules = "".join(
        f'[submodule "m{n}"]\n\tpath = m{n}\n\turl = "{url}"\n\tupdate = !touch {canary}\n\tbranch = --x\n'
        for n, url in enumerate(urls)
    )
    modules += f'[include]\n\tpath = {secret}\n[submodule "../../x"]\n\tpath = ../../x\n\turl = x\n'
    lfs = f"[lfs]\n\turl = http://{listener.at}/lfs\n\tpushurl = http://{listener.at}/lfs\n"
    lfs += f"[core]\n\tsshCommand = touch {canary}\n"
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'1' * 64}\nsize 5\n".encode()
    with_tree(
        bare,
        ("100644", ".gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n"),
        ("100644", ".gitmodules", modules.encode()),
        ("100644", ".lfsconfig", lfs.encode()),
        ("100644", "a.py", b"x = 1\n"),
        ("100644", "big.bin", pointer),
        *(("160000", f"m{n}", b"1" * 40) for n in range(len(urls))),
    )
    mirror = whole_life(home, bare.as_uri(), tmp_path)
    notes = mirror.examine(MirrorHealth()).notes
    assert sum("is not fetched" in note for note in notes) == len(urls)
    assert any("big.bin" in note for note in notes)
    assert "secret\n" not in "".join(notes)
    assert all(not any((tmp_path / "handed" / f"m{n}").iterdir()) for n in range(len(urls)))


def test_a_module_file_that_git_cannot_read_or_that_is_a_link_names_nothing(home: Home, bare: Path) -> None:
    for mode, content in (("100644", b'[submodule "x\n\xff'), ("120000", b"/etc/passwd"), ("100644", b"x" * 100_000)):
        with_tree(bare, (mode, ".gitmodules", content), ("160000", "m\x1b[2J", b"1" * 40))
        mirror = Mirror(home, "hostile", bare.as_uri(), "", SETTINGS)
        mirror.create()
        notes = [note for note in mirror.examine(MirrorHealth()).notes if "submodule" in note]
        assert notes == ["submodule m?[2J (no address) is not fetched"]


def test_what_a_server_says_of_other_places_for_its_objects_is_not_asked(
    home: Home, bare: Path, tmp_path: Path, listener: Listener
) -> None:
    blob = git(bare, "rev-parse", "main:a.py")
    for key, value in (
        ("uploadpack.advertiseBundleURIs", "true"), ("bundle.version", "1"), ("bundle.mode", "all"),
        ("bundle.one.uri", f"http://{listener.at}/b.bundle"),
        ("uploadpack.blobPackfileUri", f"{blob} {blob} http://{listener.at}/p.pack"),
    ):  # fmt: skip
        git(bare, "config", key, value)
    with serving(bare.parent) as server:
        git(bare, "config", "http.receivepack", "true")
        whole_life(home, server.url("hostile.git"), tmp_path)


@contextmanager
def only_files(folder: Path) -> Iterator[str]:
    """A server that knows nothing of git: git reads such a repository file by file."""

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words: object) -> None:
            super().__init__(*words, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hostile.git"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("file", ["http-alternates", "alternates"])
def test_objects_that_a_server_says_are_elsewhere_are_not_looked_for_there(
    home: Home, bare: Path, listener: Listener, file: str
) -> None:
    git(bare, "update-server-info")
    (bare / "objects" / "info" / file).write_text(f"http://{listener.at}/other/objects\n{Path('/etc')}\n")
    blob = git(bare, "rev-parse", "main:a.py")
    for pack in (bare / "objects/pack").glob("pack-*"):
        pack.unlink()
    (bare / "objects" / blob[:2] / blob[2:]).unlink(missing_ok=True)
    with only_files(bare.parent) as url:
        mirror = Mirror(home, "hostile", url, "main", SETTINGS)
        with pytest.raises(FactoryError):
            mirror.create()
        assert not mirror.folder.exists()


def test_alternates_of_a_repository_in_a_folder_become_no_alternates_here(
    home: Home, bare: Path, tmp_path: Path
) -> None:
    other = remote(tmp_path, "other", {"s.py": "secret = 1\n"})
    hidden = git(other, "rev-parse", "main:s.py")
    (bare / "objects/info/alternates").write_text(f"{other / 'objects'}\n")
    mirror = Mirror(home, "hostile", bare.as_uri(), "", SETTINGS)
    head = mirror.create()
    assert not (mirror.folder / "objects/info/alternates").exists()
    tree = mirror.checkout(head, tmp_path / "out")
    for place in (mirror.folder, tree):
        assert subprocess.run(["git", "cat-file", "-e", hidden], cwd=place, capture_output=True).returncode != 0


class Redirecting(GitServer):
    """Sends whoever asks for objects, or pushes, to another place."""

    target = ""
    when: Callable[[str, str], bool] = staticmethod(lambda verb, path: True)

    def handler(self) -> type[Handler]:
        return RedirectingHandler


class RedirectingHandler(Handler):
    server: Redirecting

    def answer(self, body: bytes) -> None:
        if not self.server.target or not self.server.when(self.command, self.path):
            super().answer(body)
            return
        self.send_response(307)
        self.send_header("Location", f"{self.server.target}{self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.mark.parametrize("path", ["/info/refs?service=git-upload-pack", "/git-upload-pack", "receive-pack"])
def test_a_redirect_is_followed_at_no_step(home: Home, bare: Path, listener: Listener, path: str) -> None:
    with running(Redirecting(bare.parent)) as server:
        git(bare, "config", "http.receivepack", "true")
        mirror = Mirror(home, "hostile", server.url("hostile.git", "bot:word@"), "main", SETTINGS)
        if path == "receive-pack":
            mirror.create()
        server.target, server.when = f"http://{listener.at}", lambda _, asked: path in asked
        with pytest.raises(FactoryError, match="another address"):
            if path == "receive-pack":
                mirror.rehearse_push()
            else:
                mirror.create()


@pytest.mark.integration
def test_a_repository_of_very_many_branches_is_mirrored_and_worked_in(home: Home, bare: Path, tmp_path: Path) -> None:
    tip = git(bare, "rev-parse", "main")
    lines = "".join(f"{tip} refs/heads/b/{number:05}\n" for number in range(20_000))
    (bare / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted \n{lines}{tip} refs/heads/main\n")
    (bare / "refs/heads/main").unlink(missing_ok=True)
    mirror = whole_life(home, bare.as_uri(), tmp_path)
    health = mirror.examine(MirrorHealth())
    assert health.branches == 20_002 and not mirror.behind() and health.notes == ()
    with pytest.raises(FactoryError) as caught:
        Mirror(home, "hostile", bare.as_uri(), "none", SETTINGS).sync()
    assert len(caught.value.hint) < 300


def test_a_patch_series_with_hostile_heads_makes_commits_and_nothing_else(
    home: Home, bare: Path, tmp_path: Path, canary: Path
) -> None:
    mirror = Mirror(home, "hostile", bare.as_uri(), "", SETTINGS)
    clone = mirror.workspace(mirror.create())
    head = f"From {'0' * 40} Mon Sep 17 00:00:00 2001\nFrom: $(touch {canary}) <--exec=touch@x>\n"
    head += f"Date: Thu, 26 Nov 2026 08:00:00 +0000\nSubject: [PATCH] `touch {canary}` --exec\n\nwords\n---\n"
    commit = clone.take(f"{head}{DIFF}".encode())
    assert git(clone.tree, "log", "-1", "--format=%s", commit) == f"`touch {canary}` --exec"
    for path in (".git/hooks/post-commit", "../escape", ".gitmodules/../../x"):
        with pytest.raises(VerificationFailed):
            mirror.workspace(clone.base).take(
                f"{head}{DIFF.replace('a/a.py', 'a/' + path).replace('b/a.py', 'b/' + path)}".encode()
            )
    assert not (clone.tree.parent / "escape").exists()
