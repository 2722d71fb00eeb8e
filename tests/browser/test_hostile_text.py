"""Text that comes from outside never runs, wherever it is shown: titles, paths, branches, commits, what models said."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Box
from tests.browser.test_pages import paths

pytestmark = pytest.mark.integration

WORDS = (
    "\"'><script>window.ran=1</script><img src=x onerror=window.ran=1><svg onload=window.ran=1>"
    "<iframe srcdoc='<script>parent.ran=1</script>'></iframe><a href='javascript:window.ran=1'>x</a>{{7*7}}${7*7}"
    "</textarea><script>window.ran=1</script><style>*{display:none}</style><base href='http://other.example/'>"
)


def test_nothing_from_outside_runs_or_is_fetched_on_any_page(box: Box) -> None:
    page = box.enter("a-administrator")
    shown = 0
    for path in paths(box):
        page.goto(path)
        assert page.evaluate("window.ran") is None, path
        assert page.locator("main iframe, main script, main base, main img").count() == 0, path
        for link in page.locator("a").all():
            assert not (link.get_attribute("href") or "").lower().startswith("javascript:"), path
        shown += "onerror" in page.inner_text("main")
    assert shown >= 5, "and the pages show it as the text that it is"
    assert box.outside == []
    assert [one for one in box.said if "404" not in one] == []
    page.context.close()
