"""A change as a page shows it: file by file, in one column or two, coloured, with the findings on their lines."""

from __future__ import annotations

import re

import pytest

from appliance.work import Finding
from control.beside import beside
from control.diff import Row, by_file, rows, with_findings
from control.painting import LONGEST_LINE, painted
from tests.control.world import Console, Site

DIFF = (
    "--- a/rates.py\n+++ b/rates.py\n@@ -1,4 +1,5 @@\n def rate(x):\n-    return x > 5  # off\n-    # gone\n"
    "+    return x >= 5  # off\n+    exec('<b>')\n+    pass\n \n"
    "--- a/old.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-bye\n"
)


def drawn(diff: str = DIFF) -> list[Row]:
    return painted(rows(diff)[0])


def finding(path: str, line: int) -> Finding:
    return Finding(rule="S102", path=path, line=line, message="use of exec", tool="ruff")


def test_lines_that_replace_others_stand_beside_them() -> None:
    pairs = [(pair.left and pair.left.text.strip(), pair.right and pair.right.text.strip()) for pair in beside(drawn())]
    assert pairs[2:7] == [
        ("def rate(x):", "def rate(x):"), ("return x > 5  # off", "return x >= 5  # off"), ("# gone", "exec('<b>')"),
        (None, "pass"), ("", ""),
    ]  # fmt: skip
    assert pairs[-1] == ("bye", None)


def test_every_row_of_a_diff_is_in_both_views_once() -> None:
    found = with_findings(drawn(), [finding("rates.py", 3), finding("rates.py", 99)])
    sides = [row for pair in beside(found) for row in dict.fromkeys((pair.left, pair.right, pair.across)) if row]
    assert sorted(map(repr, sides)) == sorted(map(repr, found))


def test_colours_never_change_a_line() -> None:
    hostile = "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,3 @@\n-'''open\n-\tx\r\n+\"\\\n+\x00\u2028 def\n+{% raw %}\n"
    for diff in (DIFF, hostile, hostile.replace("x.py", "x.html"), hostile.replace("x.py", "x")):
        for row in drawn(diff):
            assert not row.pieces or "".join(piece.text for piece in row.pieces) == row.text


def test_a_changed_line_shows_which_words_are_new() -> None:
    gone, came = [row for row in drawn() if "return" in row.text]
    assert [piece.text for piece in gone.pieces if piece.fresh] == []
    assert [piece.text for piece in came.pieces if piece.fresh] == ["="]
    assert {piece.look for piece in came.pieces} >= {"k", "n", "c"}


def test_lines_that_no_person_wrote_are_not_read_by_a_lexer() -> None:
    long = "x" * (LONGEST_LINE + 1)
    assert drawn(f"--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+{long}\n")[-1].pieces == ()


@pytest.mark.parametrize(("line", "after"), [(3, "    exec('<b>')"), (99, "rates.py")])
def test_a_finding_stands_below_its_line_or_at_the_head_of_its_file(line: int, after: str) -> None:
    found = with_findings(drawn(), [finding("rates.py", line), finding("elsewhere.py", 1)])
    places = [at for at, row in enumerate(found) if row.kind == "finding"]
    assert [found[at - 1].text for at in places] == [after]
    assert ("line 99: " in found[places[0]].text) == (line == 99)


def test_files_are_told_with_what_came_and_went() -> None:
    told = [(file.title, file.path, file.insertions, file.deletions) for file in by_file(drawn())]
    assert told == [("rates.py", "rates.py", 3, 2), ("old.txt (removed)", "old.txt", 0, 1)]


def test_the_change_is_shown_side_by_side_or_in_one_column_with_its_findings(console: Console, site: Site) -> None:
    browser = console.browser()
    for view, sign in (("split", 'class="diff beside"'), ("unified", 'class="sign"')):
        page = browser.get(f"/items/{site.waiting}/change?view={view}").text
        assert sign in page and "ruff S102: too wide" in page
        code = re.sub(r"<[^>]+>", "", page)
        assert "return x &gt; 5" in code and "return x &gt;= 5" in code
    assert browser.get(f"/items/{site.waiting}/change?view=sideways").status_code == 400
    assert browser.get(f"/items/{site.live}/change").status_code == 404
