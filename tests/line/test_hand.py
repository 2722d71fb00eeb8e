"""What a person does to an item by hand, as the line takes it."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.by_hand import HandedIn, PlanEdit, editable
from appliance.errors import Conflict
from appliance.line.commands import decide
from appliance.line.hand import brought
from appliance.line.ship import rebuild, trailers
from appliance.work import Change, NewTest, Plan, Release, State, WorkItem

BASE = "a" * 40
PLAN = Plan(acceptance=("tests/t.py::a",), baseline={"tests/t.py::a": "failed"}, base=BASE)
OWN = Change(branch="factory/W-1", base=BASE, diff="d", author="Ada <ada@example.org>")
HEAD = "diff --git a/{0} b/{0}\nnew file mode 100644\n--- /dev/null\n+++ b/{0}\n"
NEW = HEAD + "@@ -0,0 +1,2 @@\n+def test_x():\n+    pass\n"
HANDED = HandedIn(base=BASE, diff=NEW.format("tests/test_x.py"), files=("tests/test_x.py",), author=OWN.author)


def item(**more: Any) -> WorkItem:
    told = {"state": State.NEEDS_HUMAN, "stage": "build", "plan": PLAN, "taken_by": "ada", **more}
    return WorkItem(id="W-1", repo="shop", title="t", **told)


@pytest.mark.parametrize("verb", ["approve", "answer", "retry", "look", "revise"])
def test_nothing_lets_the_line_go_on_while_a_person_works_on_it(verb: str) -> None:
    with pytest.raises(Conflict, match="ada makes the change of W-1 by hand"):
        decide(item(stage="ship", change=OWN.with_(author="", author_model="m")), verb, "eve", "")
    assert decide(item(), "cancel", "eve", "").item.state is State.CANCELLED


def test_a_patch_that_waits_at_a_gate_is_approved_like_any_change() -> None:
    assert decide(item(stage="review", change=OWN), "approve", "eve", "").item.state is State.TESTED


def test_what_has_landed_or_is_anothers_is_not_taken() -> None:
    landed = Release(item="W-1", repo="shop", branch="main", commit="c", previous="b")
    for verb, text in (("take", ""), ("hand_in", HANDED.model_dump_json())):
        with pytest.raises(Conflict, match="is on main already"):
            decide(item(taken_by="", release=landed), verb, "ada", text)
        with pytest.raises(Conflict, match="ada has taken W-1 over"):
            decide(item(), verb, "eve", text)
    with pytest.raises(Conflict, match="nobody has taken"):
        decide(item(taken_by=""), "give_back", "ada", "")


def test_a_patch_on_another_base_or_with_the_plans_own_tests_is_refused() -> None:
    with pytest.raises(Conflict, match="stands on aaaaaaaaaaaa now"):
        decide(item(), "hand_in", "ada", HANDED.with_(base="b" * 40).model_dump_json())
    own = PLAN.with_(tests=(NewTest(path="tests/test_x.py", content="x", origin="the report"),))
    with pytest.raises(Conflict, match="which the plan brings itself"):
        decide(item(plan=own), "hand_in", "ada", HANDED.model_dump_json())


def test_without_a_run_of_the_tests_a_patch_goes_to_the_plan_first() -> None:
    assert decide(item(), "hand_in", "ada", HANDED.model_dump_json()).item.stage == "test"
    edit = PlanEdit(before=editable(PLAN), after=editable(PLAN.with_(notes="n")), why="w")
    edited = decide(item(), "plan", "ada", edit.model_dump_json()).item
    early = decide(edited, "hand_in", "ada", HANDED.model_dump_json()).item
    assert (early.state, early.stage) == (State.TRIAGED, "plan") and early.change is not None


def test_a_change_of_how_tests_are_run_is_not_taken_for_a_test() -> None:
    assert [test.path for test in brought(NEW.format("tests/test_x.py") + NEW.format("tests/conftest.py"))] == [
        "tests/test_x.py"
    ]
    assert brought(NEW.format("tests/test_x.py"))[0].content == "def test_x():\n    pass\n"


def test_a_branch_that_moved_asks_the_person_again_and_refuses_nothing_for_good() -> None:
    back = rebuild(item(state=State.SECURED, stage="ship", change=OWN), "it moved").item
    assert (back.state, back.stage, back.plan, back.change) == (State.NEEDS_HUMAN, "plan", None, None)
    assert back.taken_by == "ada" and back.refused_diffs == () and "fetch the branch" in back.waiting_for
    written = PLAN.with_(by="eve")
    again = rebuild(item(state=State.SECURED, stage="ship", change=OWN, plan=written), "it moved").item
    assert (again.state, again.plan) == (State.TRIAGED, written), "a person's plan is held to the new base first"


def test_a_reviewer_who_asks_for_changes_asks_the_person() -> None:
    asked = decide(item(stage="ship", change=OWN), "revise", "eve", "shorter").item
    assert (asked.state, asked.stage, asked.change) == (State.NEEDS_HUMAN, "build", None) and asked.taken_by == "ada"
    assert "eve asks ada for changes: shorter" in asked.waiting_for


def test_the_trailers_say_who_handed_it_in_and_name_no_model() -> None:
    assert trailers(item(), OWN) == (("Handed-in-by", "ada"), ("Factory-Item", "W-1"))
