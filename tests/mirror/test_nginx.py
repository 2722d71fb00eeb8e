"""Git behind nginx with TLS of a private CA and a login, from a network of its own: what works, and what is told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import Home
from appliance.errors import FactoryError, PolicyRefused, Unavailable
from appliance.mirror.mirror import Mirror
from tests.e2e.world import git
from tests.mirror.conftest import SETTINGS, Server
from tests.mirror.http_server import LOGIN
from tests.mirror.nginx_server import Nginx, nginx_serving
from tests.mirror.own_network import OwnNetwork, own_network
from tests.mirror.product import added, appliance
from tests.mirror.site_ca import SiteCa

DIFF = "diff --git a/shop.py b/shop.py\n--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-PRICE = 1\n+PRICE = 5\n"


@pytest.fixture(autouse=True)
def network() -> Iterator[OwnNetwork | None]:
    with own_network() as its:
        yield its


@pytest.fixture
def ca(tmp_path: Path) -> SiteCa:
    return SiteCa(tmp_path / "ca")


@pytest.fixture
def nginx(tmp_path: Path, server: Server, ca: SiteCa) -> Iterator[Nginx]:
    with nginx_serving(tmp_path / "nginx", server.bare.parent, ca.issue()) as running:
        yield running


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(":".join(LOGIN) + "\n")
    return file


def test_a_merge_goes_back_through_nginx_and_nothing_else_is_asked(
    box: Path, nginx: Nginx, server: Server, ca: SiteCa, token: Path, network: OwnNetwork | None, tmp_path: Path
) -> None:
    url = f"{nginx.url}/shop.git"
    done = appliance(box, "repo", "add", "shop", "--url", url, "--ca", str(ca.file), "--token-file", str(token))
    assert done.exit_code == 0, done.output
    assert "the server would take a branch of the box" in appliance(box, "repo", "check", "shop").output
    mirror = added(box, "shop")
    clone = mirror.workspace(mirror.head())
    clone.apply(DIFF)
    commit = clone.commit("Fix: the price", ())
    moved = server.push("README.md", "# Shop\n")
    assert mirror.sync() == moved
    merged = clone.merge_onto(moved, "Merge the fix", ())
    clone.push(merged, "main")
    assert mirror.sync() == merged == git(server.bare, "rev-parse", "main")
    tree = mirror.checkout(merged, tmp_path / "out")
    assert (tree / "shop.py").read_text() == "PRICE = 5\n" and (tree / "README.md").read_text() == "# Shop\n"
    assert commit in git(server.bare, "log", "--format=%H", "main")
    if network is None:
        pytest.skip("all of it works; only root may look whether anything left a network of its own")
    assert network.left() == 0


def refused(box: Path, nginx: Nginx, ca: Path, token: Path) -> FactoryError:
    """What `repo add` tells."""
    url = f"{nginx.url}/shop.git"
    done = appliance(box, "repo", "add", "shop", "--url", url, "--ca", str(ca), "--token-file", str(token))
    assert isinstance(done.exception, FactoryError), done.output
    assert LOGIN[1] not in str(done.exception.as_dict()) and not list((box / "secrets").iterdir())
    return done.exception


def test_another_ca_is_told_with_the_fix(box: Path, nginx: Nginx, token: Path, tmp_path: Path) -> None:
    error = refused(box, nginx, SiteCa(tmp_path / "other", "another CA").file, token)
    assert isinstance(error, Unavailable)
    assert "signed by" in error.message and "--ca" in error.hint


def test_an_expired_certificate_is_told_with_the_fix(box: Path, nginx: Nginx, ca: SiteCa, token: Path) -> None:
    nginx.pem = ca.issue(begins=-30, ends=-1)
    nginx.start()
    error = refused(box, nginx, ca.file, token)
    assert "expired" in error.message and "renew" in error.hint


def test_a_certificate_of_tomorrow_asks_for_the_clock(box: Path, nginx: Nginx, ca: SiteCa, token: Path) -> None:
    nginx.pem = ca.issue(begins=1)
    nginx.start()
    error = refused(box, nginx, ca.file, token)
    assert "not valid yet" in error.message and "clock" in error.hint


def test_a_certificate_for_another_name_is_told_with_the_fix(box: Path, nginx: Nginx, ca: SiteCa, token: Path) -> None:
    nginx.pem = ca.issue("git.example")
    nginx.start()
    error = refused(box, nginx, ca.file, token)
    assert "not for localhost" in error.message and "name in the certificate" in error.hint


def test_a_wrong_password_is_told_with_the_fix(box: Path, nginx: Nginx, ca: SiteCa, token: Path) -> None:
    token.write_text("bot:another\n")
    error = refused(box, nginx, ca.file, token)
    assert "does not let the box in" in error.message and "token" in error.hint


def test_a_push_that_is_too_long_for_the_server_is_told_with_the_setting_and_passes_after_it(
    home: Home, nginx: Nginx, server: Server, ca: SiteCa
) -> None:
    (home.secrets / "ca-shop.pem").write_bytes(ca.file.read_bytes())
    mirror = Mirror(home, "shop", nginx.url.replace("//", f"//{LOGIN[0]}:s3cret%2Fword@") + "/shop.git", "", SETTINGS)
    clone = mirror.workspace(mirror.create())
    lines = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(60_000)]  # 2 MB when packed
    words = "".join(f"+{line}\n" for line in lines)
    clone.apply(
        f"diff --git a/big.txt b/big.txt\nnew file mode 100644\n--- /dev/null\n+++ b/big.txt\n"
        f"@@ -0,0 +1,{len(lines)} @@\n{words}"
    )
    commit = clone.commit("Add a table", ())
    with pytest.raises(PolicyRefused, match="longer than the server takes") as caught:
        clone.push(commit, "main")
    assert "client_max_body_size" in caught.value.hint
    nginx.most = "100m"
    nginx.start()
    clone.push(commit, "main")
    assert mirror.sync() == commit == git(server.bare, "rev-parse", "main")
