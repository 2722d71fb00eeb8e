"""The certificate on page, API, metrics and floor; and the console itself over TLS."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import httpx
import pytest

from appliance.certificates.keeping import Keeping
from appliance.config import Home
from appliance.settings import CertificateSettings, ConsoleSettings, Settings
from appliance.user import Role
from appliance.work import utcnow
from control.access import ensure_token
from control.desk import EXTENSION
from tests.control.real_console import served
from tests.control.test_accounts import csrf, enter, person
from tests.control.world import Console

NAME = "factory.example"
SECURE = Settings(console=ConsoleSettings(tls=True, host_names=[NAME]))


def kept(home: Home) -> Keeping:
    return Keeping(home, CertificateSettings())


def speak_tls(console: Console) -> None:
    """As if the settings had said so at the start."""
    desk = console.app.extensions[EXTENSION]
    console.app.extensions[EXTENSION] = replace(desk, settings=SECURE)


def test_without_one_the_page_says_how_to_make_one(console: Console) -> None:
    viewer = enter(console, person(console, "eve", Role.VIEWER).name)
    assert "appliance certificate create --name" in viewer.get("/certificate").text
    assert console.program("GET", "/api/v1/certificate").status_code == 404
    assert console.app.test_client().get("/certificate/root.pem").status_code == 404
    assert "\nappliance_certificate_expiry_timestamp_seconds " not in metrics(console)
    assert "The certificate" not in viewer.get("/").text, "nobody speaks TLS, so none is missed"
    speak_tls(console)
    assert "The certificate does not serve" in viewer.get("/").text


def metrics(console: Console) -> str:
    return console.program("GET", "/metrics").text


def test_it_is_told_everywhere_and_its_root_is_handed_out_to_everybody(console: Console) -> None:
    made = kept(console.home).create([NAME], utcnow())
    speak_tls(console)
    viewer = enter(console, person(console, "eve", Role.VIEWER).name)
    page = viewer.get("/certificate").text
    assert NAME in page and made.fingerprint in page and made.root_fingerprint in page and "Renew now" not in page
    assert "397 days left" in viewer.get("/system").text and "The certificate" not in viewer.get("/").text
    told = console.program("GET", "/api/v1/certificate").get_json()
    assert told["served_by"] == ["console"] and told["verdict"] == "pass" and told["source"] == "box"
    (ends,) = re.findall(r"^appliance_certificate_expiry_timestamp_seconds (\S+)$", metrics(console), re.MULTILINE)
    assert float(ends) == made.ends.timestamp()
    root = console.app.test_client().get("/certificate/root.pem")
    assert root.data == kept(console.home).root() and b"PRIVATE" not in root.data


def test_it_is_renewed_by_an_administrator_and_the_audit_chain_says_so(console: Console) -> None:
    made = kept(console.home).create([NAME], utcnow())
    operator = enter(console, person(console, "bob", Role.OPERATOR).name)
    assert operator.post("/certificate/renew", data={"csrf": csrf(operator)}).status_code == 403
    root = enter(console, person(console, "ada", Role.ADMINISTRATOR).name)
    assert root.post("/certificate/renew", data={"csrf": csrf(root)}).status_code == 303
    second = kept(console.home).read()
    assert second and second.fingerprint != made.fingerprint
    third = console.program("POST", "/api/v1/certificate/renew").get_json()
    assert third["fingerprint"] not in (made.fingerprint, second.fingerprint)
    events = [one for one in console.ledger.tail(0, 100) if one.kind == "CertificateChanged"]
    assert [one.payload["by"] for one in events] == ["ada", "console"]
    assert events[0].payload["fingerprint"] == second.fingerprint


@pytest.mark.parametrize(("left", "said"), [(20, "ends soon"), (3, "does not serve"), (-2, "does not serve")])
def test_the_floor_says_it_in_time(console: Console, left: float, said: str) -> None:
    kept(console.home).create([NAME], utcnow() - timedelta(days=397 - left))
    speak_tls(console)
    viewer = enter(console, person(console, "eve", Role.VIEWER).name)
    page = viewer.get("/").text
    assert f"The certificate {said}" in page and "`appliance certificate renew`" in page


@dataclass(frozen=True)
class Served:
    """The console's process over TLS."""

    process: subprocess.Popen[bytes]
    port: int
    home: Home
    trusting: ssl.SSLContext

    def client(self) -> httpx.Client:
        where = f"https://localhost:{self.port}"
        return httpx.Client(base_url=where, verify=self.trusting, timeout=20, trust_env=False)

    def shown(self) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain,
            self.trusting.wrap_socket(plain, server_hostname=NAME) as sock,
        ):
            return sock.getpeercert(binary_form=True) or b""


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = Home(tmp_path_factory.mktemp("box") / "home")
    for folder in (home.root, *home.folders):
        folder.mkdir()
    kept(home).create([NAME], utcnow())
    trusting = ssl.create_default_context(cadata=kept(home).root().decode())
    with served(home, SECURE) as (process, port):
        yield Served(process, port, home, trusting)


@pytest.mark.integration
def test_over_tls_cookies_are_secure_and_browsers_are_told_to_stay_with_it(secure: Served) -> None:
    with secure.client() as client:
        answer = client.get(f"/?token={ensure_token(secure.home)}")
        assert answer.status_code == 303 and "Secure" in answer.headers["set-cookie"]
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert client.get("/").status_code == 200, "the browser gives the cookie back"
        assert client.get("/sign-in", headers={"Host": NAME}).status_code in (200, 303)


@pytest.mark.integration
def test_a_live_page_goes_on_while_a_renewed_certificate_is_shown_to_whoever_comes(secure: Served) -> None:
    head = {"Authorization": f"Bearer {ensure_token(secure.home)}"}
    with secure.client() as client, client.stream("GET", "/events", headers=head) as events:
        pieces = events.iter_raw()
        assert next(pieces)
        before = secure.shown()
        with secure.client() as other:
            assert other.post("/api/v1/certificate/renew", headers=head).status_code == 200
        assert secure.shown() != before
        assert any(b"CertificateChanged" in piece for piece in pieces), "told on the stream that was open"
