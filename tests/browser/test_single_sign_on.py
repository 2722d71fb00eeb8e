"""Signing in with the site's identity provider in a real browser: console and provider both over TLS, each with a CA of
its own. The browser is told to take both; whether the box takes the provider's is what is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from appliance.certificates.keeping import Keeping
from appliance.cli.init import make_home
from appliance.config import Home
from appliance.ledger import open_ledger
from appliance.settings import CertificateSettings, ConsoleSettings, Settings
from appliance.user import Role
from appliance.work import utcnow
from control import passwords
from tests.browser.conftest import PASSWORD
from tests.control.real_console import served
from tests.control.secure_provider import provider_over_tls

pytestmark = pytest.mark.integration
PEOPLE = (
    {"sub": "1", "preferred_username": "ada", "name": "Ada King", "groups": ["builders"]},
    {"sub": "2", "preferred_username": "bob", "groups": ["cooks"]},
)


@dataclass(frozen=True)
class House:
    """A console and a provider."""

    browser: Browser
    console: str
    provider: str

    def visit(self) -> Page:
        context = self.browser.new_context(base_url=self.console, ignore_https_errors=True)
        context.route("**/*", lambda route: route.continue_() if self._ours(route.request.url) else route.abort())
        return context.new_page()

    def _ours(self, url: str) -> bool:
        return url.startswith((self.console + "/", self.provider + "/", "data:"))

    def led_back(self, sub: str) -> Page:
        """Begins at the console, signs in at the provider, and is led back."""
        page = self.visit()
        page.goto("/items")
        page.click("text=Sign in with your organisation")
        page.wait_for_url(self.provider + "/**")
        page.fill("input[name=sub]", sub)
        page.click("button[type=submit]")
        page.wait_for_url(self.console + "/**")
        return page


@pytest.fixture(scope="module")
def house(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    home = Home(folder / "home")
    make_home(home)
    Keeping(home, CertificateSettings()).create(["localhost"], utcnow())
    ledger = open_ledger(home)
    ledger.users.add("root", Role.ADMINISTRATOR, "test")
    ledger.users.set_password("root", "root", passwords.hash_password(PASSWORD))
    ledger.close()
    with provider_over_tls(folder, PEOPLE) as (address, ca_file):
        secret = folder / "secret"
        secret.touch(mode=0o600)
        secret.write_text("of the client\n")
        settings = console_of(address, ca_file, secret)
        with served(home, settings) as (_, port):
            yield House(chromium, f"https://localhost:{port}", address)


def console_of(address: str, ca_file: Path, secret: Path) -> Settings:
    return Settings(
        console=ConsoleSettings(
            tls=True, oidc_issuer=address, oidc_ca_file=str(ca_file), oidc_roles=["builders=developer"],
            oidc_secret_file=str(secret),
        )
    )  # fmt: skip


def test_a_person_signs_in_there_and_is_led_on_to_the_page_first_asked_for(house: House) -> None:
    page = house.led_back("1")
    page.wait_for_url(house.console + "/items")
    assert page.locator(".person").inner_text() == "ada"
    cookies = {one["name"]: one for one in page.context.cookies() if "appliance_console" in one["name"]}
    (cookie,) = cookies.values()
    assert cookie["secure"] and cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    page.context.close()


def test_whoever_is_in_no_group_with_a_role_is_told_so(house: House) -> None:
    page = house.led_back("2")
    assert "in no group that has a role" in page.inner_text("#problem")
    page.goto("/items")
    assert "/sign-in" in page.url
    page.context.close()


def test_the_password_of_an_account_of_the_box_goes_on_working_beside_it(house: House) -> None:
    page = house.visit()
    page.goto("/sign-in")
    page.fill("#name", "root")
    page.fill("#password", PASSWORD)
    page.press("#password", "Enter")
    page.wait_for_url(house.console + "/")
    page.goto("/certificate")
    assert "localhost" in page.inner_text("main") and "days left" in page.inner_text("main")
    page.context.close()
