"""The playground in a real browser, with real models behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from appliance.cli.init import make_home
from appliance.config import Home
from appliance.ledger import open_ledger
from appliance.user import Role
from control import passwords
from control.access import ensure_token
from tests.browser.conftest import PASSWORD, Box
from tests.control.real_console import served
from tests.control.world import Site
from tests.control.writers import writers
from tests.inference.engines_process import until
from tests.inference.gateway_process import Gateway

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def played(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, Gateway]]:
    home = Home(tmp_path_factory.mktemp("box") / "home")
    make_home(home)
    ledger = open_ledger(home)
    ledger.users.add("a-developer", Role.DEVELOPER, "test")
    ledger.users.set_password("a-developer", "a-developer", passwords.hash_password(PASSWORD))
    ledger.close()
    with writers(home) as gateway, served(home) as (_, port):
        site = Site(waiting="", ambiguous="", live="")
        yield Box(chromium, f"http://127.0.0.1:{port}", ensure_token(home), site), gateway


STOP_AT_FIRST_WORDS = """() => new Promise((done) => {
  const form = document.getElementById("playground"), stop = document.getElementById("stop");
  new MutationObserver((_, watch) => {
    if (!document.querySelector(".turn.assistant")?.textContent) return;
    watch.disconnect();
    const offered = !stop.hidden;
    stop.click();
    done(offered);
  }).observe(form, { childList: true, subtree: true, characterData: true });
  form.requestSubmit();
})"""
"""In the page itself: the model is quicker than a test that asks the browser from outside."""


SLOW = 60_000.0
"""Milliseconds: two real models are loaded, one after the other, on a machine that has other tests to run."""


def say(page: Page, words: str) -> None:
    page.fill("#words", words)
    page.press("#words", "Control+Enter")


def last(page: Page, side: str, look: str) -> str:
    return page.locator(f"[data-side={side}] {look}").last.inner_text()


def test_two_models_stream_side_by_side_and_go_on(played: tuple[Box, Gateway]) -> None:
    box, _ = played
    page = box.enter("a-developer")
    page.goto("/models")
    page.click("main >> text=Playground")
    page.select_option("#left", "tiny")
    page.select_option("#right", "mender")
    say(page, "<img src=x onerror=alert(1)>")
    expect(page.locator(".turns [title]")).to_have_count(2, timeout=SLOW)
    assert last(page, "left", ".turn.assistant") == "Hi!" and last(page, "right", ".turn.assistant") == "Yes!"
    assert "first token after" in last(page, "left", ".figure") and last(page, "left", ".turn.user").startswith("<img")
    say(page, "And now?")
    expect(page.locator(".turns [title]")).to_have_count(4, timeout=SLOW)
    assert page.locator("[data-side=left] .turn").count() == 4 and page.input_value("#words") == ""
    assert [
        one["impact"] for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")
    ] == []
    assert box.outside == [] and box.said == []
    page.context.close()


def test_stopping_ends_the_call_and_keeps_what_came(played: tuple[Box, Gateway]) -> None:
    box, gateway = played
    page = box.enter("a-developer", width=390, dark=True)
    page.goto("/playground?left=auto")
    page.click("main summary")
    page.fill("#most_tokens", "7900")
    page.fill("#words", "Hello?")
    assert page.evaluate(STOP_AT_FIRST_WORDS) is True, "there was a button to stop it"
    page.wait_for_selector("text=stopped by you")
    assert page.locator(".turn.assistant").inner_text() and page.locator("#stop").is_hidden()
    assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    until(lambda: [line for line in gateway.usage() if line["error"] == "client_gone" and line["person"]], 20)
    page.context.close()


def test_without_scripts_the_form_shows_whole_answers(played: tuple[Box, Gateway]) -> None:
    box, _ = played
    page = box.enter("a-developer", scripts=False)
    page.goto("/playground?left=tiny")
    page.fill("#words", "Hello?")
    page.click("button:has-text('Send')")
    assert page.locator(".turn.assistant").inner_text().endswith("Hi!")
    page.fill("#words", "Again?")
    page.click("button:has-text('Send')")
    assert page.locator(".turn").count() == 4 and box.said == []
    page.context.close()
