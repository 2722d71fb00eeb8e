"""Signing in with the site's identity provider: a real OpenID Connect server in between, and whatever may lie."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from flask.testing import FlaskClient
from pydantic import ValidationError

from appliance.config import Home
from appliance.errors import ConfigError, Unavailable
from appliance.ledger import open_ledger
from appliance.mirror.serving import Served
from appliance.settings import ConsoleSettings, Settings
from appliance.user import Role, Source
from control.access import ensure_session_key, ensure_token
from control.app import create_app
from control.desk import Desk
from control.identity_provider import IdentityProvider
from tests.control.secure_provider import provider_over_tls
from tests.e2e.world import free_port, until
from tests.mirror.site_ca import SiteCa

ROLES = ["factory=viewer", "builders=developer", "ops=operator"]


PEOPLE = (
    {"sub": "1", "preferred_username": "Ada", "name": "Ada King", "groups": ["builders", "factory"]},
    {"sub": "2", "preferred_username": "bob", "groups": ["cooks"]},
    {"sub": "3", "preferred_username": "console", "groups": ["ops"]},
    {"sub": "4", "preferred_username": "ada", "groups": ["ops"]},
)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A provider with some people, in a process of its own."""
    port, log = free_port(), tmp_path_factory.mktemp("provider") / "log"
    people = [word for person in PEOPLE for word in ("--user-claims", json.dumps(person))]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port), *people],
            stdout=out, stderr=out,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: is_there(address, process), log.read_text())
        yield address
    finally:
        process.kill()
        process.wait()


def is_there(address: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None
    try:
        return httpx.get(f"{address}/.well-known/openid-configuration", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def browser(home: Home, provider: str) -> Iterator[FlaskClient]:
    secret = home.secrets / "oidc"
    secret.touch(mode=0o600)
    secret.write_text("of the client\n")
    console = {
        "oidc_issuer": provider, "oidc_roles": ROLES, "url": "http://localhost", "oidc_secret_file": str(secret),
    }  # fmt: skip
    ledger = open_ledger(home)
    desk = Desk(home, Settings.model_validate({"console": console}), ledger, Served(home.mirrors))
    yield create_app(desk, ensure_token(home), ensure_session_key(home)).test_client()
    ledger.close()


def led_back(browser: FlaskClient, sub: str, wanted: str = "/") -> str:
    """Goes to the provider and signs in there; the address it leads back to."""
    asked = browser.get(f"/sign-in/provider?next={wanted}")
    assert asked.status_code == 303, asked.text
    query = parse_qs(urlsplit(asked.headers["Location"]).query)
    assert query["code_challenge_method"] == ["S256"] and query["state"] and query["nonce"]
    answer = httpx.post(asked.headers["Location"], data={"sub": sub}, trust_env=False)
    assert answer.status_code in (302, 303), answer.text
    back: str = answer.headers["Location"].removeprefix("http://localhost")
    return back


def said(text: str) -> str:
    found = re.search(r'role="alert">([^<]+)<', text)
    return found[1] if found else ""


def test_a_person_signs_in_there_and_the_groups_give_the_role(browser: FlaskClient, home: Home) -> None:
    assert "Sign in with your organisation" in browser.get("/sign-in").text
    answer = browser.get(led_back(browser, "1", "/items"))
    assert answer.status_code == 200 and 'content="0;url=/items"' in answer.text
    assert browser.get("/api/v1/me").get_json() == {
        "name": "ada", "role": "developer", "scopes": ["admin", "items", "operate", "read"],
    }  # fmt: skip
    user = open_ledger(home).users.get("ada")
    assert (user.source, user.subject, user.role, user.full_name) == (Source.OIDC, "1", Role.DEVELOPER, "Ada King")
    assert browser.post("/sign-in", data={"name": "ada", "password": ""}).status_code == 401, "it has no password"


@pytest.mark.parametrize(
    ("sub", "why"), [("2", "in no group that has a role"), ("3", "a name that the box uses itself")]
)
def test_who_has_no_role_or_a_name_of_the_boxs_is_not_let_in(
    browser: FlaskClient, home: Home, sub: str, why: str
) -> None:
    answer = browser.get(led_back(browser, sub))
    assert answer.status_code == 403 and why in said(answer.text)
    assert browser.get("/items").status_code == 303 and open_ledger(home).users.all() == []


def test_an_account_of_that_name_which_is_somebody_elses_is_never_opened(browser: FlaskClient, home: Home) -> None:
    browser.get(led_back(browser, "1"))
    stranger = browser.application.test_client()
    answer = stranger.get(led_back(stranger, "4"))
    assert answer.status_code == 409 and "of somebody else" in said(answer.text)
    assert open_ledger(home).users.get("ada").role == Role.DEVELOPER
    open_ledger(home).users.change("ada", "root", disabled=True)
    again = browser.application.test_client()
    assert again.get(led_back(again, "1")).status_code == 401


def test_an_answer_that_was_not_asked_for_here_is_refused(browser: FlaskClient) -> None:
    back = led_back(browser, "1")
    other = browser.application.test_client()
    assert "began in another browser" in said(other.get(back).text)
    forged = re.sub(r"state=[^&]+", "state=forged", back)
    assert browser.get(forged).status_code == 401
    assert "began in another browser" in said(browser.get(back).text), "one try for each beginning"
    fresh = led_back(browser, "1")
    assert browser.get(re.sub(r"code=[^&]+", "code=guessed", fresh)).status_code == 401
    denied = led_back(browser, "1").partition("?")[0]
    assert browser.get(f"{denied}?error=access_denied&state=x").status_code == 401
    used = led_back(browser, "1")
    assert browser.get(used).status_code == 200
    assert browser.get("/sign-in/provider?next=//evil.example").status_code == 303


def test_a_token_for_another_client_or_another_sign_in_is_refused(provider: str, home: Home) -> None:
    secret = home.secrets / "oidc"
    secret.touch(mode=0o600)
    known = ConsoleSettings(oidc_issuer=provider, oidc_roles=ROLES, oidc_secret_file=str(secret))
    secret.write_text("x")
    first = IdentityProvider(known.model_copy(update={"oidc_client_id": "other"}))
    url, pending = first.begin("http://localhost/back", "/")
    answer = httpx.post(url, data={"sub": "1"}, trust_env=False).headers["Location"]
    mine = IdentityProvider(known)
    with pytest.raises(Exception, match="did not vouch"):
        mine.finish("http://localhost/back", pending, answer)
    url, pending = first.begin("http://localhost/back", "/")
    answer = httpx.post(url, data={"sub": "1"}, trust_env=False).headers["Location"]
    with pytest.raises(Exception, match="did not vouch"):
        first.finish("http://localhost/back", pending.with_(nonce="another"), answer)


def test_a_provider_that_is_away_and_a_secret_that_others_read_are_said(tmp_path: Path) -> None:
    away = IdentityProvider(ConsoleSettings(oidc_issuer="http://127.0.0.1:9", oidc_roles=ROLES))
    with pytest.raises(Unavailable, match="does not answer as one"):
        away.begin("http://localhost/back", "/")
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        IdentityProvider(ConsoleSettings(oidc_issuer="http://127.0.0.1:9", oidc_secret_file=str(tmp_path / "secret")))
    with pytest.raises(ValidationError, match="is not GROUP=viewer"):
        ConsoleSettings(oidc_roles=["admins=king"])


def test_over_tls_a_provider_is_taken_by_the_ca_that_the_settings_name_and_by_no_other(tmp_path: Path) -> None:
    with provider_over_tls(tmp_path, PEOPLE[:1]) as (address, ca_file):
        secret = tmp_path / "secret"
        secret.touch(mode=0o600)
        secret.write_text("of the client\n")
        named = ConsoleSettings(
            oidc_issuer=address, oidc_roles=ROLES, oidc_ca_file=str(ca_file), oidc_secret_file=str(secret)
        )
        provider = IdentityProvider(named)
        url, pending = provider.begin("http://localhost/back", "/")
        trust = ssl.create_default_context(cafile=ca_file)
        answer = httpx.post(url, data={"sub": "1"}, trust_env=False, verify=trust).headers["Location"]
        assert provider.finish("http://localhost/back", pending, answer).name == "ada"
        another = SiteCa(tmp_path / "another").file
        for ca in ("", str(another)):
            stranger = IdentityProvider(named.model_copy(update={"oidc_ca_file": ca}))
            with pytest.raises(Unavailable) as told:
                stranger.begin("http://localhost/back", "/")
            assert "console.oidc_ca_file" in told.value.hint
