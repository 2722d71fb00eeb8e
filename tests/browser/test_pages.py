"""Every page, as a person sees it: both themes, wide and narrow, by axe-core's rules; nothing asked of other hosts."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from appliance.user import Role
from tests.browser.conftest import Box

pytestmark = pytest.mark.integration

GRAVE = {"serious", "critical"}


def paths(box: Box) -> list[str]:
    """Every page there is, with something in it."""
    item = f"/items/{box.site.waiting}"
    return [
        "/", "/items", "/items?state=needs_human", item, f"/items/{box.site.ambiguous}", f"/items/{box.site.live}",
        f"{item}/change", f"{item}/change?view=unified", f"{item}/trajectory/{box.site.trajectory}",
        f"{item}/approve", f"{item}/reject", f"{item}/plan", f"{item}/hand-in", f"{item}/take",
        "/find", "/find?q=W-1", "/policy", "/policy/shop?level=high",
        "/signals", "/signals?kind=bug", "/signals/new", "/signals/S-1", "/deliveries", "/lessons",
        "/learning", "/learning/policy", "/learning/policy/2/promote", "/learning/policy/roll-back",
        "/learning/frictions", "/learning/replays", "/learning/query", "/learning/query?question=autonomy",
        "/repositories", "/router", "/decisions", "/decisions?rule=none",
        "/router/edit", "/account", "/access", "/access/users/a-viewer", "/audit", "/models", "/playground", "/system",
        "/certificate",
        "/system/logs/console.log", "/help/", "/help/access", "/help/routes", "/help/settings", "/nothing/here",
    ]  # fmt: skip


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)], ids=["wide-light", "narrow-dark"])
def test_every_page_is_readable_fits_and_asks_nobody_else(box: Box, width: int, dark: bool) -> None:
    page = box.enter("a-administrator", width, dark)
    grave, broad = [], []
    for path in paths(box):
        page.goto(path)
        assert page.locator("main").inner_text().strip(), path
        found = Axe().run(page)
        grave += [
            f"{path}: {one['id']}: {one['help']}" for one in found.response["violations"] if one["impact"] in GRAVE
        ]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            broad.append(path)
    assert grave == []
    assert broad == [], "these pages are wider than the screen"
    assert box.outside == []
    assert [one for one in box.said if "404" not in one] == [], "one page is not there, on purpose"
    page.context.close()


def test_signing_in_approving_and_signing_out_work_without_scripts(box: Box) -> None:
    page = box.enter("a-developer", scripts=False)
    page.goto(f"/items/{box.site.waiting}")
    page.click("a:has-text('Approve')")
    page.click("button:has-text('Approve')")
    assert "is noted" in page.inner_text("main")
    page.click("button:has-text('Sign out')")
    assert page.url.endswith("/sign-in")
    page.context.close()


def test_a_question_in_sql_is_answered_in_words_or_as_a_table_without_scripts(box: Box) -> None:
    page = box.enter("a-developer", width=390, scripts=False)
    page.goto("/learning")
    page.locator("details.source summary").first.click()
    page.click("text=Open it on the page SQL")
    page.click("button:has-text('Ask')")
    assert page.locator(".answer-rows tbody tr").count() > 0, page.inner_text("main")
    page.fill("#sql", "DROP TABLE items")
    page.click("button:has-text('Ask')")
    assert "no SELECT" in page.inner_text("#problem")
    page.context.close()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER, Role.OPERATOR])
def test_nobody_is_offered_what_the_role_may_not(box: Box, role: Role) -> None:
    page = box.enter(f"a-{role}")
    offered: dict[str, str] = {}
    for path in paths(box):
        page.goto(path)
        if "needs the role" in page.inner_text("main"):
            continue
        for link in page.locator("header a, main a").all():
            offered.setdefault(link.get_attribute("href") or path, path)
        for form in page.locator("main form[method=post]").all():
            sent = page.request.post(form.get_attribute("action") or path, headers={"X-CSRF-Token": "of no session"})
            assert "out of date" in sent.text(), f"{role} is offered {form.get_attribute('action')} on {path}"
    for target, path in offered.items():
        if target.startswith("/") and not target.startswith("/help"):
            assert page.request.get(target).status != 403, f"{role} is led from {path} to {target}"
    assert len(offered) > 20
    page.context.close()
