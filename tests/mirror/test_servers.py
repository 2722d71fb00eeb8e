"""The ways to a server: http with and without a login, ssh, and servers that hang."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from appliance.config import Home
from appliance.errors import FactoryError, NotFound, PolicyRefused, Unavailable, UsageError
from appliance.mirror.git import ssh_command
from appliance.mirror.mirror import Mirror
from tests.e2e.world import git, until
from tests.mirror.conftest import SETTINGS, Server
from tests.mirror.http_server import LOGIN, GitServer, serving

DIFF = "diff --git a/shop.py b/shop.py\n--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-PRICE = 1\n+PRICE = 5\n"
WITH_LOGIN = f"{LOGIN[0]}:{quote(LOGIN[1], safe='')}@"


@pytest.fixture
def http(server: Server) -> Iterator[GitServer]:
    git(server.bare, "config", "http.receivepack", "true")
    with serving(server.bare.parent) as running:
        yield running


def test_a_repository_is_mirrored_and_pushed_to_over_http(home: Home, http: GitServer, server: Server) -> None:
    mirror = Mirror(home, "shop", http.url("shop.git"), "", SETTINGS)
    clone = mirror.workspace(mirror.create())
    clone.apply(DIFF)
    commit = clone.commit("Fix: the price", ())
    clone.push(commit, "main")
    assert mirror.sync() == commit == git(server.bare, "rev-parse", "main")


def test_an_http_server_without_that_repository_says_so(home: Home, http: GitServer) -> None:
    with pytest.raises(NotFound, match="no repository at that address"):
        Mirror(home, "x", http.url("missing.git"), "", SETTINGS).create()


def test_a_server_that_refuses_pushes_over_http_is_a_refusal(home: Home, http: GitServer, server: Server) -> None:
    server.hook("pre-receive", "echo 'frozen for the release' >&2; exit 1")
    mirror = Mirror(home, "shop", http.url("shop.git"), "", SETTINGS)
    clone = mirror.workspace(mirror.create())
    clone.apply(DIFF)
    with pytest.raises(PolicyRefused, match="frozen for the release"):
        clone.push(clone.commit("Fix", ()), "main")


def test_a_login_in_the_address_opens_the_door_and_is_kept_for_this_user_alone(home: Home, http: GitServer) -> None:
    http.login = LOGIN
    mirror = Mirror(home, "shop", http.url("shop.git", WITH_LOGIN), "", SETTINGS)
    head = mirror.create()
    assert mirror.url == http.url("shop.git"), "what is shown and recorded has no password"
    later = Mirror(home, "shop", mirror.url, "main", SETTINGS)
    assert later.sync() == head, "the login is kept"
    kept = [path for path in home.root.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert kept == [home.secrets / "git-shop"]
    assert kept[0].stat().st_mode & 0o777 == 0o600
    mirror.remove()
    assert not kept[0].exists()


def test_a_wrong_or_missing_login_is_said_without_telling_it(home: Home, http: GitServer) -> None:
    http.login = ("other", "password")
    for login in ("", WITH_LOGIN):
        with pytest.raises(Unavailable, match="does not let the box in") as caught:
            Mirror(home, "shop", http.url("shop.git", login), "", SETTINGS).create()
        assert "s3cret" not in f"{caught.value.message} {caught.value.hint}"
        assert list(home.mirrors.iterdir()) == list(home.secrets.iterdir()) == []


def test_a_password_is_on_no_command_line(home: Home, http: GitServer) -> None:
    http.hang.set()
    script = (
        "import sys; from pathlib import Path; from appliance.config import Home\n"
        "from appliance.settings import MirrorSettings\n"
        "from appliance.mirror.mirror import Mirror\n"
        "Mirror(Home(Path(sys.argv[1])), 'shop', sys.stdin.read(), '', MirrorSettings()).create()"
    )
    line = subprocess.Popen([sys.executable, "-c", script, str(home.root)], stdin=subprocess.PIPE, text=True)
    assert line.stdin is not None
    line.stdin.write(http.url("shop.git", WITH_LOGIN))
    line.stdin.close()
    try:
        assert http.asked.wait(30)
        seen = [" ".join(one.cmdline()) for one in psutil.Process(line.pid).children(recursive=True)]
        assert any("remote-http" in words for words in seen)
        assert not any("s3cret" in words or quote(LOGIN[1], safe="") in words for words in seen)
    finally:
        line.kill()
        line.wait()


def test_a_server_that_hangs_is_given_up_and_leaves_no_process(home: Home, http: GitServer) -> None:
    http.hang.set()
    with pytest.raises(Unavailable, match=r"longer than 0\.5 s"):
        Mirror(home, "shop", http.url("shop.git"), "", SETTINGS.model_copy(update={"clone_seconds": 0.5})).create()
    assert list(home.mirrors.iterdir()) == []
    until(lambda: not gits(http.server_port), "every git has ended", 20)


def test_a_killed_line_leaves_no_git_behind_even_when_the_server_hangs(home: Home, http: GitServer) -> None:
    http.hang.set()
    script = (
        "import sys; from pathlib import Path; from appliance.config import Home\n"
        "from appliance.settings import MirrorSettings\n"
        "from appliance.mirror.mirror import Mirror\n"
        "Mirror(Home(Path(sys.argv[1])), 'shop', sys.argv[2], '', MirrorSettings()).create()"
    )
    line = subprocess.Popen([sys.executable, "-c", script, str(home.root), http.url("shop.git")])
    try:
        assert http.asked.wait(30)
        assert gits(http.server_port)
    finally:
        os.kill(line.pid, signal.SIGKILL)
        line.wait()
    until(lambda: not gits(http.server_port), "every git has ended", 20)
    http.hang.clear()
    assert Mirror(home, "shop", http.url("shop.git"), "", SETTINGS).create()
    assert [path.name for path in home.mirrors.iterdir() if path.is_dir()] == ["shop.git"]


def gits(port: int) -> list[int]:
    """Git processes that speak with the test's server."""
    found = []
    for one in psutil.process_iter(["cmdline", "status"]):
        words = one.info["cmdline"] or []
        if any(f":{port}/" in word for word in words) and "git" in words[0] and one.info["status"] != "zombie":
            found.append(one.pid)
    return found


def test_ssh_asks_nothing_and_trusts_only_the_hosts_of_the_home(tmp_path: Path) -> None:
    secrets = tmp_path / "a home with spaces" / "secrets"
    secrets.mkdir(parents=True)
    command = shlex.split(ssh_command(secrets, "shop"))
    shown = subprocess.run([*command, "-G", "git@server.example"], capture_output=True, text=True, check=True).stdout
    settings = dict(line.split(" ", 1) for line in shown.splitlines() if " " in line)
    assert settings["batchmode"] == "yes"
    assert settings["stricthostkeychecking"] in ("yes", "true")
    assert settings["userknownhostsfile"] == str(secrets / "known_hosts")
    assert settings["identityfile"] == str(secrets / "ssh-shop")
    assert (settings["identitiesonly"], settings["forwardagent"]) == ("yes", "no")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("ssh://git@127.0.0.1:1/x.git", Unavailable),
        ("ssh://-oProxyCommand=touch%20x/y", UsageError),
    ],
)
def test_an_ssh_server_that_cannot_be_asked_is_said_so(home: Home, url: str, error: type[FactoryError]) -> None:
    with pytest.raises(error):
        Mirror(home, "x", url, "", SETTINGS).create()
    assert list(home.mirrors.iterdir()) == []
