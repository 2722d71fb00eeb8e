"""Signing in as a person does it: a given password, a one-time code set up from the page, a session ended elsewhere."""

from __future__ import annotations

import re

import pyotp
import pytest

from tests.browser.conftest import PASSWORD, Box

pytestmark = pytest.mark.integration


def test_a_person_is_let_in_and_sets_up_one_time_codes_all_in_the_browser(box: Box) -> None:
    root = box.enter("a-administrator")
    root.goto("/access")
    root.fill("#name", "eve")
    root.check("input[value=developer]")
    root.click("button:has-text('Let in')")
    given = root.locator("main pre").first.inner_text()

    eve = box.visit(width=390, dark=True)
    eve.goto("/items")
    assert "/sign-in?next=" in eve.url
    eve.fill("#name", "eve")
    eve.fill("#password", given)
    eve.press("#password", "Enter")
    eve.fill("#password", "password1234")
    eve.press("#password", "Enter")
    assert "too easy to guess" in eve.inner_text("#problem")
    eve.fill("#password", PASSWORD)
    eve.press("#password", "Enter")
    eve.wait_for_url(re.compile("/items$"))
    eve.goto("/account")
    eve.fill("#own", PASSWORD)
    eve.click("button:has-text('Set up')")
    phone = pyotp.TOTP(eve.locator(".qr + p code").inner_text())
    eve.fill("#code", phone.now())
    eve.click("button:has-text('Turn on')")
    recovery = eve.locator("main pre").first.inner_text().split()
    assert len(recovery) == 10

    again = box.visit()
    again.goto("/sign-in")
    again.fill("#name", "eve")
    again.fill("#password", PASSWORD)
    again.press("#password", "Enter")
    again.fill("#code", recovery[0])
    again.press("#code", "Enter")
    again.wait_for_url(box.address + "/")
    root.goto("/access/users/eve")
    root.click("button:has-text('Shut out')")
    again.goto("/items")
    assert "/sign-in" in again.url, "shut out at once"
    for page in (root, eve, again):
        page.context.close()
    assert box.outside == []


def test_the_boxs_token_lets_in_by_link_and_stays_out_of_the_address(box: Box) -> None:
    page = box.visit()
    page.goto(f"/?token={box.token}")
    assert page.url == box.address + "/"
    assert page.locator(".person").inner_text() == "console"
    page.context.close()
