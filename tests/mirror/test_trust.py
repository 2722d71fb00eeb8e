"""Who the box trusts and how servers know it: deploy keys, pinned host keys, tokens, private CAs, no detours."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import Home
from appliance.errors import Unavailable, UsageError, VerificationFailed
from appliance.mirror import hosts, keys
from appliance.mirror.mirror import Mirror
from tests.e2e.world import git
from tests.mirror.conftest import SETTINGS, Server
from tests.mirror.http_server import LOGIN, GitServer, serving
from tests.mirror.product import appliance
from tests.mirror.site_ca import SiteCa
from tests.mirror.ssh_server import SshServer, ssh_serving


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[SshServer]:
    with ssh_serving(tmp_path / "sshd") as running:
        yield running


def pin(home: Home, sshd: SshServer) -> None:
    hosts.pin(home.secrets, hosts.confirmed(hosts.scan("127.0.0.1", sshd.port), sshd.fingerprint))


def test_a_repository_is_mirrored_and_pushed_to_over_ssh_with_its_own_key(
    home: Home, sshd: SshServer, server: Server
) -> None:
    sshd.admit(keys.ensure(home.secrets, "shop"))
    pin(home, sshd)
    mirror = Mirror(home, "shop", sshd.url(server.bare), "", SETTINGS)
    clone = mirror.workspace(mirror.create())
    clone.apply(
        "diff --git a/new.py b/new.py\nnew file mode 100644\n--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+x = 1\n"
    )
    commit = clone.commit("Add", ())
    clone.push(commit, "main")
    assert mirror.sync() == commit == git(server.bare, "rev-parse", "main")


def test_a_server_that_is_not_pinned_gets_no_key_shown(home: Home, sshd: SshServer, server: Server) -> None:
    sshd.admit(keys.ensure(home.secrets, "shop"))
    with pytest.raises(Unavailable, match="not pinned") as caught:
        Mirror(home, "shop", sshd.url(server.bare), "", SETTINGS).create()
    assert "repo trust" in caught.value.hint


def test_a_changed_host_key_stops_everything_until_it_is_pinned(home: Home, sshd: SshServer, server: Server) -> None:
    sshd.admit(keys.ensure(home.secrets, "shop"))
    pin(home, sshd)
    mirror = Mirror(home, "shop", sshd.url(server.bare), "", SETTINGS)
    head = mirror.create()
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    with pytest.raises(Unavailable, match="another host key than the one pinned") as caught:
        mirror.sync()
    assert "repo trust" in caught.value.hint
    pin(home, sshd)
    assert mirror.sync() == head


def test_a_rotated_key_is_another_and_the_old_one_opens_nothing(home: Home, sshd: SshServer, server: Server) -> None:
    old = keys.ensure(home.secrets, "shop")
    assert keys.ensure(home.secrets, "shop") == old
    sshd.admit(old)
    pin(home, sshd)
    mirror = Mirror(home, "shop", sshd.url(server.bare), "", SETTINGS)
    head = mirror.create()
    new = keys.make(home.secrets, "shop")
    with pytest.raises(Unavailable, match="does not let the box in") as caught:
        mirror.sync()
    assert "repo key" in caught.value.hint
    sshd.admit(new)
    assert mirror.sync() == head


def test_a_deploy_key_is_for_this_user_alone_and_goes_with_its_repository(
    home: Home, mirror: Mirror, tmp_path: Path
) -> None:
    line = keys.ensure(home.secrets, "shop")
    private = keys.private_file(home.secrets, "shop")
    assert {file.stat().st_mode & 0o777 for file in home.secrets.iterdir()} == {0o600}
    shown = subprocess.run(["ssh-keygen", "-y", "-f", str(private)], check=True, capture_output=True, text=True)
    assert shown.stdout.split()[:2] == line.split()[:2]
    mirror.remove()
    assert list(home.secrets.iterdir()) == []


def test_trust_shows_fingerprints_and_pins_only_what_is_confirmed(box: Path, sshd: SshServer) -> None:
    words = ("repo", "trust", "127.0.0.1", "--port", str(sshd.port))
    shown = appliance(box, *words)
    assert shown.exit_code != 0 and not (box / "secrets" / "known_hosts").exists()
    with pytest.raises(VerificationFailed, match="does not show that key"):
        hosts.confirmed(hosts.scan("127.0.0.1", sshd.port), "SHA256:other")
    assert appliance(box, *words, "--fingerprint", sshd.fingerprint).exit_code == 0
    (pinned,) = hosts.pinned(box / "secrets", f"[127.0.0.1]:{sshd.port}")
    assert pinned.fingerprint == sshd.fingerprint


def test_pinning_one_host_leaves_the_others(home: Home, sshd: SshServer) -> None:
    (home.secrets / "known_hosts").write_text("git.example ssh-ed25519 AAAA\n")
    pin(home, sshd)
    pin(home, sshd)
    lines = (home.secrets / "known_hosts").read_text().splitlines()
    assert len(lines) == 2 and lines[0] == "git.example ssh-ed25519 AAAA"


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "", "x\ny", "$(x)"])
def test_what_cannot_be_a_host_is_never_asked(host: str) -> None:
    with pytest.raises(UsageError):
        hosts.scan(host, 22)


def test_add_over_ssh_makes_the_key_and_works_once_it_is_on_the_server(
    box: Path, sshd: SshServer, server: Server
) -> None:
    assert appliance(box, "repo", "trust", "127.0.0.1", "--port", str(sshd.port), "--yes").exit_code == 0
    words = ("repo", "add", "shop", "--url", sshd.url(server.bare))
    first = appliance(box, *words)
    line = keys.public_line(box / "secrets", "shop")
    assert first.exit_code != 0 and line in first.output
    sshd.admit(line)
    assert appliance(box, *words).exit_code == 0
    assert appliance(box, "repo", "key", "shop").output.strip() == line
    assert appliance(box, "repo", "key", "shop", "--rotate").output.strip() != line


def test_a_token_comes_from_standard_input_and_is_kept_for_this_user_alone(box: Path, server: Server) -> None:
    with serving(server.bare.parent) as http:
        http.login = LOGIN
        words = ("repo", "add", "shop", "--url", http.url("shop.git"), "--token-file", "-")
        done = appliance(box, *words, stdin=":".join(LOGIN) + "\n")
        assert done.exit_code == 0, done.output
        assert LOGIN[1] not in done.output
        assert appliance(box, "repo", "sync", "shop").exit_code == 0
    kept = box / "secrets" / "git-shop"
    assert kept.read_text() == ":".join(LOGIN) and kept.stat().st_mode & 0o777 == 0o600


def test_a_private_ca_is_trusted_for_its_repository_and_nothing_else_is(
    box: Path, tmp_path: Path, server: Server
) -> None:
    site = SiteCa(tmp_path / "ca")
    with serving(server.bare.parent) as http:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(site.issue())
        http.socket = context.wrap_socket(http.socket, server_side=True)
        url = f"https://localhost:{http.server_port}/shop.git"
        without = appliance(box, "repo", "add", "shop", "--url", url)
        assert isinstance(without.exception, Unavailable)
        assert "not signed by a CA that the box trusts" in without.exception.message
        (tmp_path / "no.pem").write_text("not a certificate")
        wrong = appliance(box, "repo", "add", "shop", "--url", url, "--ca", str(tmp_path / "no.pem"))
        assert isinstance(wrong.exception, UsageError)
        done = appliance(box, "repo", "add", "shop", "--url", url, "--ca", str(site.file))
        assert done.exit_code == 0, done.output
    assert (box / "secrets" / "ca-shop.pem").read_bytes() == site.file.read_bytes()


def test_a_server_that_sends_the_box_elsewhere_is_not_followed(home: Home, server: Server) -> None:
    with serving(server.bare.parent) as http, redirecting(http) as (elsewhere, asked):
        with pytest.raises(Unavailable, match="another address"):
            Mirror(home, "shop", elsewhere, "", SETTINGS).create()
        assert asked and not http.asked.is_set()


class redirecting:
    """A server that sends everybody to another one."""

    def __init__(self, target: GitServer) -> None:
        asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(302)
                self.send_header("Location", target.url(self.path.lstrip("/")))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._asked = asked
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> tuple[str, list[str]]:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}/shop.git", self._asked

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
