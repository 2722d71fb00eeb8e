"""The mirrors for an unmodified git: real clients over HTTP, with a key, read only, and nothing left behind."""

from __future__ import annotations

import gzip
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from werkzeug.serving import make_server

from appliance.cli.main import root
from appliance.keys import READ
from appliance.mirror.mirror import Mirror
from appliance.settings import MirrorSettings
from appliance.work import TrackedRepository
from control.views import git as door
from inference.keys import KeyStore
from tests.control.world import Console
from tests.e2e.world import free_port, git, remote, until

CLIENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "LANG": "C.UTF-8"}


@dataclass
class Served:
    """A console that serves the mirror `shop`, and a key that may read it."""

    console: Console
    port: int
    token: str
    bare: Path

    def url(self, name: str = "shop", token: str | None = None) -> str:
        return f"http://anybody:{self.token if token is None else token}@127.0.0.1:{self.port}/git/{name}.git"

    def git(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**CLIENT, "PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        identity = ("-c", "user.name=Dev", "-c", "user.email=dev@localhost")
        return subprocess.run(["git", *identity, *words], cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture
def served(console: Console, tmp_path: Path) -> Iterator[Served]:
    files = {"shop.py": "PRICE = 1\n", "big.bin": "".join(f"{n * n}\n" for n in range(20_000))}
    bare = remote(tmp_path, "shop", files)
    git(bare, "tag", "v1", "main")
    mirror = Mirror(console.home, "shop", bare.as_uri(), "", MirrorSettings(timeout_seconds=30))
    mirror.create()
    git(mirror.folder, "update-ref", "refs/factory/hidden", "refs/heads/main")
    console.ledger.add_repository(TrackedRepository(name="shop", url=bare.as_uri(), branch="main"))
    console.ledger.add_repository(TrackedRepository(name="till", url=bare.as_uri(), branch="main"))
    _, token = KeyStore(console.home.secrets / "keys.json").create("ci", scopes=(READ,))
    server = make_server("127.0.0.1", 0, console.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield Served(console, server.server_port, token, bare)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("protocol", ["0", "1", "2"])
def test_an_unmodified_git_clones_and_fetches_branches_and_tags_and_nothing_hidden(
    served: Served, tmp_path: Path, protocol: str
) -> None:
    version = ("-c", f"protocol.version={protocol}")
    done = served.git(*version, "clone", "-q", served.url(), str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    head = git(served.bare, "rev-parse", "main")
    shown = served.git(*version, "ls-remote", served.url()).stdout.split()
    assert shown[1::2] == ["HEAD", "refs/heads/main", "refs/tags/v1"] and set(shown[::2]) == {head}
    assert git(tmp_path / "copy", "rev-parse", "HEAD", "v1") == f"{head}\n{head}"
    tree = tmp_path / "shop-tree"
    git(tree, "commit", "-q", "--allow-empty", "-m", "more")
    git(tree, "push", "-q", "origin", "main")
    Mirror(served.console.home, "shop", served.bare.as_uri(), "main", MirrorSettings()).sync()
    assert served.git(*version, "pull", "-q", cwd=tmp_path / "copy").returncode == 0
    assert git(tmp_path / "copy", "rev-parse", "HEAD") == git(tree, "rev-parse", "HEAD")


def test_shallow_and_partial_clones_work_and_the_missing_is_fetched_when_needed(served: Served, tmp_path: Path) -> None:
    assert served.git("clone", "-q", "--depth=1", served.url(), str(tmp_path / "shallow")).returncode == 0
    partial = tmp_path / "partial"
    done = served.git("clone", "-q", "--no-checkout", "--filter=blob:none", served.url(), str(partial))
    assert done.returncode == 0, done.stderr
    missing = git(partial, "rev-list", "--objects", "--all", "--missing=print").count("?")
    assert missing == 2
    assert served.git("checkout", "-q", "main", cwd=partial).returncode == 0
    assert (partial / "shop.py").read_text() == "PRICE = 1\n"
    refused = served.git("clone", "-q", "--filter=sparse:oid=main:shop.py", served.url(), str(tmp_path / "sparse"))
    assert refused.returncode != 0 and "not supported" in refused.stderr


def test_a_mirror_of_some_depth_is_cloned_as_far_as_it_goes_and_grows_from_there(
    served: Served, tmp_path: Path
) -> None:
    def push() -> None:
        git(tmp_path / "shop-tree", "commit", "-q", "--allow-empty", "-m", "more")
        git(tmp_path / "shop-tree", "push", "-q", "origin", "main")
        Mirror(served.console.home, "shop", served.bare.as_uri(), "main", MirrorSettings(), depth=2).sync()

    for _ in range(3):
        push()
    Mirror(served.console.home, "shop", served.bare.as_uri(), "main", MirrorSettings(), depth=1).sync()
    done = served.git("clone", "-q", served.url(), str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    assert git(tmp_path / "copy", "rev-list", "--count", "HEAD") == "1"
    push()
    assert served.git("pull", "-q", cwd=tmp_path / "copy").returncode == 0
    assert git(tmp_path / "copy", "rev-parse", "HEAD") == git(served.bare, "rev-parse", "main")


def test_a_bearer_header_opens_as_a_password_does(served: Served) -> None:
    header = f"http.extraHeader=Authorization: Bearer {served.token}"
    plain = f"http://127.0.0.1:{served.port}/git/shop.git"
    assert served.git("-c", header, "ls-remote", plain).returncode == 0
    assert served.git("ls-remote", plain).returncode != 0


def test_a_push_is_refused_in_words_and_changes_nothing(served: Served, tmp_path: Path) -> None:
    served.git("clone", "-q", served.url(), str(tmp_path / "copy"))
    served.git("commit", "-q", "--allow-empty", "-m", "mine", cwd=tmp_path / "copy")
    done = served.git("push", "-q", "origin", "HEAD:refs/heads/mine", cwd=tmp_path / "copy")
    assert done.returncode != 0 and "remote: the box's mirrors are read only" in done.stderr
    mirror = served.console.home.mirrors / "shop.git"
    assert "mine" not in git(mirror, "for-each-ref")
    answer = served.console.stranger().post("/git/shop.git/git-receive-pack", auth=("x", served.token), data=b"0000")
    assert answer.status_code == 403


def test_only_a_living_key_with_the_scope_opens_and_only_what_it_names(served: Served) -> None:
    store = KeyStore(served.console.home.secrets / "keys.json")
    _, models = store.create("models")
    _, other = store.create("other", scopes=(READ,), repositories=("t*",))
    _, gone = store.create("gone", scopes=(READ,))
    store.revoke("gone")

    def asked(token: str, name: str = "shop") -> tuple[int, str]:
        path = f"/git/{name}.git/info/refs?service=git-upload-pack"
        answer = served.console.stranger().get(path, auth=("x", token), buffered=True)
        return answer.status_code, answer.text

    assert asked(served.token)[0] == 200
    assert asked(models)[0] == 403 and "--scope git" in asked(models)[1]
    assert asked(gone)[0] == 401 and "revoked" in asked(gone)[1]
    assert asked(other)[0] == 404 and asked(other, "nope")[0] == 404
    assert asked(other, "till")[0] == 404 and "not mirrored" in asked(other, "till")[1]
    assert [asked("guess")[0] for _ in range(8)][-1] == 429
    assert asked(served.token)[0] == 200
    console_token = served.console.program("GET", "/git/shop.git/info/refs?service=git-upload-pack")
    assert console_token.status_code in (401, 429)


@pytest.mark.parametrize("name", ["..", ".", "%2e%2e", "shop.git/..", "..%2fsecrets", "shop%00", "-x", "shop/../till"])
def test_a_name_cannot_lead_elsewhere(served: Served, name: str) -> None:
    for path in (f"/git/{name}.git/info/refs?service=git-upload-pack", f"/git/{name}/info/refs"):
        answer = served.console.stranger().get(path, auth=("x", served.token))
        assert answer.status_code in (401, 404)


def test_other_services_files_and_the_dumb_protocol_are_not_served(served: Served) -> None:
    browser = served.console.stranger()
    for path in ("info/refs", "info/refs?service=git-archive", "info/refs?service=git-upload-pack%20--help"):
        assert browser.get(f"/git/shop.git/{path}", auth=("x", served.token)).status_code == 400
    for path in ("HEAD", "config", "objects/info/packs", "git-upload-archive"):
        assert browser.get(f"/git/shop.git/{path}", auth=("x", served.token)).status_code in (401, 404)


def test_packed_requests_are_unpacked_and_bombs_and_nonsense_are_refused(served: Served) -> None:
    def send(body: bytes, encoding: str = "gzip") -> int:
        headers = {"Content-Encoding": encoding, "Git-Protocol": "version=2"} if encoding else {}
        place = "/git/shop.git/git-upload-pack"
        answer = served.console.stranger().post(
            place, auth=("x", served.token), data=body, headers=headers, buffered=True
        )
        return answer.status_code

    ls_refs = b"0014command=ls-refs\n0000"
    assert send(gzip.compress(ls_refs)) == 200
    assert send(ls_refs) == 400
    assert send(gzip.compress(bytes(door.LONGEST_REQUEST + 1))) == 413
    assert send(b"zzzz", "") in (200, 500)


def test_a_client_finds_a_place_or_is_asked_to_come_back(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PATIENCE_SECONDS", 0.05)
    places = served.console.app.extensions[door.DOOR].places
    taken = 0
    while places.acquire(blocking=False):
        taken += 1
    done = served.git("ls-remote", served.url())
    assert taken == 4 and done.returncode != 0 and "503" in done.stderr
    answer = served.console.stranger().get(
        "/git/shop.git/info/refs?service=git-upload-pack", auth=("x", served.token)
    )  # fmt: skip
    assert answer.headers["Retry-After"] == "15"
    places.release(taken)
    assert served.git("ls-remote", served.url()).returncode == 0
    # a place is given back a moment after the client has its answer
    assert all(places.acquire(timeout=30) for _ in range(4)) and not places.acquire(blocking=False)


def test_each_clone_leaves_a_line_that_names_the_key_and_shows_no_secret(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "console")
    served.git("clone", "-q", served.url(), str(tmp_path / "copy"))
    lines = [record.getMessage() for record in caplog.records if record.name == "console"]
    until(lambda: any("cloned" in record.getMessage() for record in caplog.records), "the line is written", 10)
    lines = [record.getMessage() for record in caplog.records if record.name == "console"]
    assert [line.split(" from ")[0].partition(" (")[0] for line in lines] == ["git: shop cloned by key 'ci'"]
    assert served.token not in "\n".join(lines)


def test_a_client_that_goes_away_takes_git_with_it(served: Served) -> None:
    answer = served.console.stranger().post(
        "/git/shop.git/git-upload-pack", auth=("x", served.token), headers={"Git-Protocol": "version=2"},
        data=_fetch(git(served.bare, "rev-parse", "main")),
    )  # fmt: skip
    assert answer.status_code == 200 and _uploads(served)
    answer.close()
    until(lambda: not _uploads(served), "no git works for it any more")  # one that was just forked dies a moment later


def _fetch(commit: str) -> bytes:
    lines = (
        [b"command=fetch", b"agent=test", b"object-format=sha1"],
        [b"no-progress", f"want {commit}".encode(), b"done"],
    )
    packed = [b"".join(b"%04x%s\n" % (len(line) + 5, line) for line in part) for part in lines]
    return packed[0] + b"0001" + packed[1] + b"0000"


def _uploads(served: Served) -> list[str]:
    """The git processes that work on this home's mirrors."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "upload-pack" in line and str(served.console.home.mirrors) in line:
            found.append(line)
    return found


def test_the_commands_make_a_key_that_reads(served: Served) -> None:
    served.console.home.settings_file.write_text("")
    home = ["--home", str(served.console.home.root), "--json", "key"]
    words = [*home, "create", "laptop", "--scope", "git", "--repo", "shop"]
    made = json.loads(CliRunner().invoke(root, words).stdout)
    assert made["repositories"] == ["shop"] and served.git("ls-remote", served.url(token=made["token"])).returncode == 0
    assert CliRunner().invoke(root, [*home, "create", "x", "--repo", "shop"]).exception is not None
    CliRunner().invoke(root, [*home, "set", "laptop", "--repo", "till"])
    assert served.git("ls-remote", served.url(token=made["token"])).returncode != 0


@pytest.mark.integration
def test_the_console_s_own_server_sends_in_pieces_takes_chunks_and_outlives_clients_that_go(
    served: Served, tmp_path: Path
) -> None:
    served.console.home.settings_file.write_text("")
    (served.console.home.secrets / "audit.key").write_bytes(os.urandom(32))
    served.port = free_port()
    words = [sys.executable, "-m", "appliance", "--home", str(served.console.home.root), "serve", "console"]
    process = subprocess.Popen(words, env={**os.environ, "APPLIANCE_CONSOLE_PORT": str(served.port)})
    try:
        until(lambda: served.git("ls-remote", served.url()).returncode == 0, "the console is up", 30)
        assert served.git("clone", "-q", served.url(), str(tmp_path / "copy")).returncode == 0
        place = f"http://127.0.0.1:{served.port}/git/shop.git/git-upload-pack"
        asked = {"auth": ("x", served.token), "headers": {"Git-Protocol": "version=2"}}
        pieces = iter([b"0014comma", b"nd=ls-refs\n", b"0000"])
        assert b"refs/heads/main" in httpx.post(place, content=pieces, **asked).content
        for _ in range(5):  # more than there are places
            fetch = _fetch(git(served.bare, "rev-parse", "main"))
            with httpx.stream("POST", place, content=fetch, **asked) as answer:
                assert answer.status_code == 200
                next(answer.iter_raw(100))
            until(lambda: not _uploads(served), "git ends with its client", 30)
        assert served.git("ls-remote", served.url()).returncode == 0
    finally:
        process.terminate()
        assert process.wait(30) == 0
