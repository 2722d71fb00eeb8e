"""The palette and the keys, with the keyboard alone; charts are drawn from their tables."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from control.app import has_asset
from tests.browser.conftest import Box
from tests.browser.test_pages import GRAVE

pytestmark = pytest.mark.integration


def test_the_keyboard_alone_finds_an_item_and_what_may_be_done(box: Box) -> None:
    page = box.enter("a-developer")
    page.goto("/system")
    page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Find a page")
    expect(field).to_be_focused()
    page.keyboard.type(box.site.waiting)
    expect(page.get_by_role("option").first).to_contain_text(box.site.waiting)
    assert [one["id"] for one in Axe().run(page).response["violations"] if one["impact"] in GRAVE] == []
    for _ in range(12):
        page.keyboard.press("Tab")
        inside = page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
        assert inside, "the page behind is out of reach"
    field.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    expect(page.locator("[aria-selected=true]")).to_have_count(1)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/items/{box.site.waiting}")
    page.keyboard.press("Control+k")
    page.keyboard.type(f"{box.site.waiting}")
    expect(page.get_by_role("option").nth(1)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    assert box.outside == [] and box.said == []
    page.context.close()


def test_enter_at_once_goes_where_the_words_say(box: Box) -> None:
    page = box.enter("a-developer")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.type("repositories")
    page.keyboard.press("Enter")
    page.wait_for_url("**/repositories")
    page.context.close()


def test_keys_lead_to_pages_and_are_told_but_not_while_somebody_writes(box: Box) -> None:
    page = box.enter("a-developer")
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/signals")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Repositories")
    page.keyboard.press("Escape")
    page.goto("/signals/new")
    page.focus("#title")
    page.keyboard.type("g? gi")
    assert page.input_value("#title") == "g? gi" and page.locator("dialog").count() == 0
    page.context.close()


def test_without_scripts_the_palette_is_a_page(box: Box) -> None:
    page = box.enter("a-viewer", width=390, scripts=False)
    page.click("#find")
    page.fill("input[name=q]", "learning")
    page.click("main button")
    page.click("#found a:has-text('Learning') >> nth=0")
    assert page.url.endswith("/learning")
    page.context.close()


@pytest.mark.parametrize("path", ["/", "/learning"])
def test_charts_are_drawn_over_the_table_that_is_always_there(box: Box, path: str) -> None:
    page = box.enter("a-viewer")
    page.goto(path)
    charts = page.locator("figure[data-chart]")
    if path == "/":
        expect(charts.locator("canvas")).to_have_count(1 if has_asset("uplot/uPlot.iife.min.js") else 0)
    for figure in charts.all():
        assert figure.locator("tbody tr").count() >= 1
    assert box.outside == [] and box.said == []
    page.context.close()
    page = box.enter("a-viewer", scripts=False)
    page.goto("/")
    expect(page.locator("#throughput table")).to_be_visible()
    page.context.close()


def test_menus_of_the_bar_open_by_keyboard_fit_in_one_line_and_work_without_scripts(box: Box) -> None:
    page = box.enter("a-administrator", scripts=False)
    assert page.locator("header").bounding_box()["height"] < 60, "one line"  # type: ignore[index]
    page.locator("header summary", has_text="Box").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/access")
    page.context.close()
    page = box.enter("a-administrator")
    menu = page.locator("header summary", has_text="Code")
    menu.click()
    expect(page.get_by_role("link", name="Deliveries")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Deliveries")).to_be_hidden()
    expect(menu).to_be_focused()
    page.context.close()
