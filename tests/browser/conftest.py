"""A real Chromium in front of the console's real process. Nothing but the box may be asked, no page may complain."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from appliance.certificates.keeping import Keeping
from appliance.cli.init import make_home
from appliance.config import Home
from appliance.ledger import open_ledger
from appliance.settings import CertificateSettings
from appliance.user import Role
from appliance.work import utcnow
from control import passwords
from control.access import ensure_token
from tests.control.learned import learning, live, publish
from tests.control.real_console import served
from tests.control.world import Site, fill

PASSWORD = "seven green kettles hum"
"""Of everybody in here."""
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--disable-default-apps",
)  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; none of its own that a tool would have to fetch. It ends with the file: the tool keeps an
    event loop running in this thread, in which no other test could run one of its own."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: `apt-get install chromium`")
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=program, args=list(QUIET))
        yield browser
        browser.close()


@dataclass
class Box:
    """A console with people and items in it."""

    browser: Browser
    address: str
    token: str
    site: Site
    outside: list[str] = field(default_factory=list)
    """What pages asked of other hosts; it was not let through."""
    said: list[str] = field(default_factory=list)
    """Errors that pages wrote to the browser's console, dialogs they opened."""

    def visit(self, width: int = 1280, dark: bool = False, scripts: bool = True) -> Page:
        """A new browser window that nobody is signed in with."""
        context = self.browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light",
            java_script_enabled=scripts, base_url=self.address,
        )  # fmt: skip
        context.route("**/*", self._only_ours)
        page = context.new_page()
        page.on("console", lambda message: self.said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        return page

    def enter(self, name: str, width: int = 1280, dark: bool = False, scripts: bool = True) -> Page:
        """A window signed in by the form."""
        page = self.visit(width, dark, scripts)
        page.goto("/sign-in")
        page.fill("#name", name)
        page.fill("#password", PASSWORD)
        page.click("button:has-text('Sign in')")
        page.wait_for_url(self.address + "/")
        return page

    def _only_ours(self, route: Route) -> None:
        if route.request.url.startswith((self.address + "/", "data:")):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()


@pytest.fixture(scope="module")
def box(chromium: Browser, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Box]:
    """The console's process, with `words` of the module (if it has any) in every text that comes from outside."""
    home = Home(tmp_path_factory.mktemp("box") / "home")
    make_home(home)
    ledger = open_ledger(home)
    words = getattr(request.module, "WORDS", "")
    site = fill(ledger, words, home)
    live(ledger, words)
    publish(home, ledger, words)
    kept = passwords.hash_password(PASSWORD)
    for role in Role:
        ledger.users.add(f"a-{role}", role, "test")
        ledger.users.set_password(f"a-{role}", f"a-{role}", kept)
    ledger.close()
    Keeping(home, CertificateSettings()).create(["factory.example"], utcnow())
    with learning(home), served(home) as (_, port):
        yield Box(chromium, f"http://127.0.0.1:{port}", ensure_token(home), site)
