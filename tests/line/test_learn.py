"""What the last stage tells of a repair, for the next ones to learn from."""

from __future__ import annotations

from appliance.line.learn import won
from appliance.work import Attempt, Candidate, Change, WorkItem

FIRST = Candidate(diff="--- a\n+++ b\n-1\n+2\n", files={"m.py": "2\n"}, origin="constant", place="return")
SECOND = Candidate(
    diff="--- a\n+++ b\n-x\n+y\n", files={"n.py": "y\n", "m.py": ""}, origin="variable + flow", place="if + if"
)


def item(diff: str, author: str) -> WorkItem:
    return WorkItem(
        id="W-1", repo="shop", title="t", body="b",
        attempts=(Attempt(n=1, strategy="search", outcome="ambiguous", candidates=(FIRST, SECOND)),),
        change=Change(branch="b", base="c", diff=diff, author_model=author),
    )  # fmt: skip


def test_the_candidate_that_was_taken_tells_its_kind_and_place() -> None:
    told = won(item(SECOND.diff + "--- /dev/null\n+++ b/test_m.py\n", "search:variable + flow"))
    assert told == {"template": "variable + flow", "place": "if + if", "paths": ["m.py", "n.py"]}


def test_a_change_by_a_model_has_no_template() -> None:
    assert won(item(FIRST.diff, "small:1"))["template"] == ""


def test_a_change_that_no_candidate_was_tells_nothing() -> None:
    assert won(item("--- other\n", "search:constant")) == {}
