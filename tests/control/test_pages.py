"""The pages, as a person uses them."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser

import pytest

from appliance.config import Home
from appliance.ledger.legal import LEGAL
from appliance.line import commands as line
from appliance.work import State
from control.diff import rows
from control.health import read_health
from control.verbs import APPROVABLE, VERBS
from tests.control.world import Console, Site, fill, open_one


def pages(site: Site) -> list[str]:
    """Every page there is, with something on it."""
    return [
        "/", "/items", "/items?state=needs_human&repo=shop", f"/items/{site.waiting}", f"/items/{site.ambiguous}",
        f"/items/{site.live}", f"/items/{site.waiting}/change", f"/items/{site.waiting}/trajectory/{site.trajectory}",
        f"/items/{site.waiting}/approve",
        f"/items/{site.ambiguous}/answer?text=2",
        f"/items/{site.waiting}/reject", "/signals", "/signals/S-1", "/signals/new", "/repositories", "/help/",
        "/items/W-99", "/no/such/page",
    ]  # fmt: skip


class Shape(HTMLParser):
    """The tags and attribute names of a page, and what of it leads elsewhere; not its words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.leads: list[str] = []
        self.inline: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not (tag == "span" and set((dict(attrs).get("class") or "x").split()) <= {*"kscnf", "fresh"}):
            self.tags.append((tag, *sorted(name for name, _ in attrs)))  # how code is coloured is up to its words
        self.leads += [value or "" for name, value in attrs if name in ("href", "src", "action")]
        self.inline += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        if (tag == "script" and "src" not in dict(attrs)) or tag == "style":
            self.inline.append(tag)


CORPUS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</pre></textarea></title><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}${7*7}",
    "` onmouseover=alert(1) x=`",
    "<a href=//evil.example>x</a>&lt;b&gt;",
    "\u202e\u2066evil\x00\x1b[31m",
    "<!--<base href=//evil.example>-->",
)


@pytest.mark.parametrize("attack", CORPUS)
def test_words_from_outside_are_words_and_nothing_else_on_every_page(
    attack: str, home: Home, tmp_path_factory: pytest.TempPathFactory
) -> None:
    calm_home = Home(tmp_path_factory.mktemp("calm"))
    for folder in calm_home.folders:
        folder.mkdir()
    shapes = []
    for console, words in ((Console(home), attack), (Console(calm_home), "harmless")):
        site = fill(console.ledger, words, console.home)
        browser = console.browser()
        shapes.append([Shape(browser.get(path).text) for path in pages(site)])
        console.ledger.close()
    for attacked, calm in zip(*shapes, strict=True):
        assert attacked.tags == calm.tags
        assert attacked.inline == []
        assert all(lead.startswith(("/", "#")) and not lead.startswith("//") for lead in attacked.leads)


def test_a_repositorys_password_is_on_no_page_and_in_no_answer(console: Console, site: Site) -> None:
    browser = console.browser()
    for path in (*pages(site), "/api/v1/repositories", "/api/v1/repositories/shop"):
        assert "hunter2" not in browser.get(path).text, path


def test_the_floor_says_what_needs_a_person_and_where_everything_is(console: Console, site: Site) -> None:
    text = console.browser().get("/").text
    assert "2 items need you" in text and site.waiting in text and site.live in text
    assert "Not sure" in text and "was not started with" in text


def status_of(home: Home, state: str, pid: int | None) -> None:
    row = {"name": "line", "state": state, "pid": pid, "reason": "said", "restarts": 0}
    (home.run / "up.json").write_text(json.dumps({"processes": [row]}))


@pytest.mark.parametrize(
    ("state", "pid", "says"),
    [("ready", "own", "All is well"), ("starting", "own", "Not all there yet"),
     ("failed", "none", "1 part in trouble"), ("ready", "gone", "1 part in trouble")],
)  # fmt: skip
def test_no_news_is_never_shown_as_good_news(state: str, pid: str, says: str, console: Console, home: Home) -> None:
    status_of(home, state, {"own": os.getpid(), "none": None, "gone": 2**22 - 3}[pid])
    assert says in console.browser().get("/").text


@pytest.mark.parametrize("content", ["", "[", "[]", "{}", '{"processes": 3}', '{"processes": [1, null]}', "\xff"])
def test_a_broken_status_file_is_said_and_breaks_no_page(content: str, console: Console, home: Home) -> None:
    for name in ("up.json", "engines.json", "line.json"):
        (home.run / name).write_text(content, encoding="latin-1")
    assert not read_health(home).well
    assert console.browser().get("/").status_code == 200


def test_an_empty_box_teaches_the_next_step(console: Console) -> None:
    browser = console.browser()
    for path in ("/", "/items", "/signals", "/signals/new", "/repositories"):
        assert re.search(r"appliance (repo|signal) add", browser.get(path).text), path


def test_an_item_tells_its_story_with_evidence_and_offers_what_its_state_allows(console: Console, site: Site) -> None:
    text = console.browser().get(f"/items/{site.waiting}").text
    for part in ("stops at ship", "Verdicts", "PASS", "Attempts", "rates.py", "appliance item show"):
        assert part in text
    assert f"/items/{site.waiting}/approve" in text
    assert "/approve" not in console.browser().get(f"/items/{site.ambiguous}").text  # there is nothing to approve yet


def test_a_choice_between_candidates_is_one_click_from_the_item(console: Console, site: Site) -> None:
    browser = console.browser()
    assert f'href="/items/{site.ambiguous}/answer?text=2"' in browser.get(f"/items/{site.ambiguous}").text
    assert ">2</textarea>" in browser.get(f"/items/{site.ambiguous}/answer?text=2").text
    assert browser.post(f"/items/{site.ambiguous}/answer", text="2").status_code == 303
    (command,) = console.ledger.open_commands()
    assert (command.item, command.verb, command.by, command.text) == (site.ambiguous, "answer", "console", "2")
    assert "waits for the line" in browser.get(f"/items/{site.ambiguous}").text


def test_a_rejection_without_a_reason_is_asked_for_it_and_nothing_is_noted(console: Console, site: Site) -> None:
    answer = console.browser().post(f"/items/{site.waiting}/reject", text="  ")
    assert answer.status_code == 400 and "please write it down" in answer.text
    assert console.browser().post(f"/items/{site.waiting}/reject", text="x" * 9000).status_code == 400
    assert console.ledger.open_commands() == []


def test_what_the_state_forbids_is_refused_in_words(console: Console, site: Site) -> None:
    browser = console.browser()
    assert browser.get(f"/items/{site.live}/approve").status_code == 409
    answer = browser.post(f"/items/{site.live}/approve")
    assert answer.status_code == 409 and "cannot be given" in answer.text
    assert browser.get(f"/items/{site.live}/explode").status_code == 404
    assert browser.get("/items/W-99/approve").status_code == 404


def test_the_console_offers_every_command_the_ledger_and_the_line_know(console: Console, site: Site) -> None:
    assert set(VERBS) == set(LEGAL) and line.APPROVABLE == APPROVABLE
    text = console.browser().get(f"/items/{site.live}/merge").text
    assert f"appliance signal merge {site.live.replace('W', 'S')} --into" in text
    assert console.browser().post(f"/items/{site.live}/merge", text=site.waiting).status_code == 303


def test_a_signal_filed_in_the_browser_is_kept_as_written(console: Console, site: Site) -> None:
    browser = console.browser()
    body = "line one\r\n  line <two>"
    answer = browser.post("/signals/new", repo="shop", title=" Totals \n are off ", body=body, kind="")
    assert answer.status_code == 303
    signal, _ = console.ledger.signal(answer.headers["Location"].rpartition("/")[2])
    assert (signal.title, signal.body, signal.kind, signal.source) == ("Totals are off", body, None, "console")


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"title": ""}, "Give it a title"), ({"title": "x" * 301}, "Give it a title"),
     ({"repo": ""}, "Choose a repository"), ({"kind": "x"}, "Choose one of the kinds")],
)  # fmt: skip
def test_a_bad_signal_comes_back_with_what_was_typed(
    fields: dict[str, str], says: str, console: Console, site: Site
) -> None:
    answer = console.browser().post("/signals/new", **{"repo": "shop", "title": "t", "body": "kept words", **fields})
    assert answer.status_code == 400 and says in answer.text and "kept words" in answer.text


def test_a_list_is_narrowed_by_state_and_repository(console: Console, site: Site) -> None:
    browser = console.browser()
    assert site.live not in browser.get("/items?state=needs_human").text
    assert site.live in browser.get(f"/items?state={State.RECEIVED}&repo=shop").text
    assert "No items here" in browser.get("/items?repo=other").text
    assert browser.get("/items?state=nonsense").status_code == 400


def test_the_whole_change_can_be_downloaded_as_it_is(console: Console, site: Site) -> None:
    browser = console.browser()
    answer = browser.get(f"/items/{site.waiting}/change.diff")
    assert answer.text == console.ledger.item(site.waiting).change.diff  # type: ignore[union-attr]
    assert answer.mimetype == "text/plain" and "attachment" in answer.headers["Content-Disposition"]
    assert browser.get(f"/items/{site.live}/change.diff").status_code == 404


def test_a_diff_shows_lines_that_look_like_headers_as_lines() -> None:
    diff = "--- a/q.sql\n+++ b/q.sql\n@@ -1,2 +1,2 @@\n--- old comment\n+++ new\n same\n"
    diff += "--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+x\n"
    found, left = rows(diff)
    assert [(row.kind, row.text, row.old, row.new) for row in found] == [
        ("file", "q.sql", None, None), ("hunk", "@@ -1,2 +1,2 @@", None, None), ("del", "-- old comment", 1, None),
        ("add", "++ new", None, 1), ("same", "same", 2, 2), ("file", "n (new)", None, None),
        ("hunk", "@@ -0,0 +1 @@", None, None), ("add", "x", None, 1),
    ]  # fmt: skip
    assert left == 0 and rows(diff, 3)[1] == 7


def test_an_answer_too_large_is_refused(console: Console, site: Site) -> None:
    answer = console.browser().post("/signals/new", repo="shop", title="t", body="x" * 2_000_000)
    assert answer.status_code == 413


def test_many_items_are_shown_in_part_and_lead_on_to_the_rest(console: Console, site: Site) -> None:
    for number in range(205):
        open_one(console.ledger, f"item {number}")
    browser = console.browser()
    text = browser.get("/items").text
    onward = re.search(r'href="(/items\?before=\d+)" rel="next">Older', text)
    assert text.count('<td class="id">') == 200 and onward
    rest = browser.get(onward[1]).text
    assert rest.count('<td class="id">') == 8 and "Older" not in rest
    assert browser.get("/items?before=x").status_code == 400
    assert "more</p>" in browser.get("/").text
