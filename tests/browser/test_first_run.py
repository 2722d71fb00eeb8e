"""From a box that was just made to a shipped change, all of it in the browser, over the real `appliance up`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance import sample
from appliance.config import Home
from control.access import ensure_token
from tests.e2e.world import RunningBox, git, landed

pytestmark = pytest.mark.e2e

PATIENCE_MS = 120_000
TITLE = "Free shipping is missing at exactly 50 euros"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[RunningBox]:
    made = RunningBox(tmp_path / "home")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The sample's repository as a site's own server would have it."""
    tree = tmp_path / "tree"
    with resources.as_file(resources.files(sample)) as files:
        shutil.copytree(files / "repository", tree, ignore=shutil.ignore_patterns("__pycache__"))
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "start")):
        git(tree, *words)
    git(tree, "clone", "-q", "--bare", str(tree), str(tmp_path / "shop.git"))
    return tmp_path / "shop.git"


def test_a_new_box_comes_to_a_shipped_change_in_the_browser_alone(
    chromium: Browser, box: RunningBox, shop: Path
) -> None:
    page = chromium.new_context(base_url=f"http://127.0.0.1:{box.console}").new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"/?token={ensure_token(Home(box.home))}")
    expect(page.locator("#guide-h")).to_have_text(re.compile("First steps: 0 of 5"))
    become_somebody(page)
    for step in ("A certificate", "A model"):
        page.goto("/guide")
        page.click(f"button[aria-label='Skip: {step}']")
    page.click("a:has-text('Look after a repository')")
    page.fill("#name", "shop")
    page.fill("#url", shop.as_uri())
    page.select_option("#autonomy", "high")
    page.click("button:has-text('Look after it')")
    page.click("a:has-text('file a signal')")  # the task's page asks by itself until it is done
    page.fill("#title", TITLE)
    page.fill("#body", resources.files(sample).joinpath("report.md").read_text(encoding="utf-8"))
    page.click("button:has-text('File it')")
    page.goto("/guide")
    expect(page.locator("main")).to_contain_text("All is set up")
    page.goto("/items")
    page.click(f"a:has-text('{TITLE}')")
    expect(page.locator(".head .badge").first).to_have_text("closed", timeout=PATIENCE_MS)
    assert landed(shop, "W-1"), git(shop, "log", "main")
    page.goto("/")
    expect(page.locator("#guide-h")).to_have_count(0)
    page.context.close()


def become_somebody(page: Page) -> None:
    """An account with a password of one's own, made and taken in the browser."""
    page.goto("/access")
    page.fill("#name", "ada")
    page.check("input[name=role][value=administrator]")
    page.click("button:has-text('Let in')")
    first = page.locator("section.note pre").inner_text()
    page.click("button:has-text('Sign out')")
    page.fill("#name", "ada")
    page.fill("#password", first)
    page.click("button:has-text('Sign in')")
    page.fill("#password", "seven green kettles hum")
    page.click("button:has-text('Go on')")
    expect(page.locator("#guide-h")).to_have_text(re.compile("First steps: 1 of 5"))
