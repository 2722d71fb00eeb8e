"""A person changes the plan: held to the repository before anything is changed, kept with who and why, built anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.by_hand import Editable, PlanEdit, editable, problems
from appliance.computers.sandbox import BoxedSandbox
from appliance.errors import Conflict
from appliance.line.commands import decide
from appliance.work import ENDED, Attempt, NewTest, Plan, State, WorkItem
from tests.control.workshop import LIMIT, Workshop
from tests.e2e.world import git

PATHS = ("shop/price.py", "tests/test_price.py", "deploy/site.key")
BASE = Plan(acceptance=("tests/test_price.py::test_total",), baseline={"tests/test_price.py::test_total": "failed"})
NEW = NewTest(path="tests/test_limit.py", content=LIMIT, origin="a person")
ID = "tests/test_limit.py::test_limit"


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (Editable(), "at least one acceptance test"),
        (Editable(acceptance=("tests/none.py::test_x",)), "there is no file tests/none.py"),
        (Editable(acceptance=("tests/test_price.py",)), "name one test of it"),
        (Editable(acceptance=("tests/test_price.py::test_x",)), "it has tests/test_price.py::test_total"),
        (Editable(acceptance=BASE.acceptance, files=("shop/none.py",)), "shop/none.py: there is no such file"),
        (Editable(acceptance=BASE.acceptance, files=("deploy/site.key",)), "deploy/site.key is protected"),
        (Editable(acceptance=(ID,), tests=(NEW.with_(path="../x/test_a.py"),)), "a path within the repository"),
        (Editable(acceptance=(ID,), tests=(NEW.with_(path=".git/test_a.py"),)), "a path within the repository"),
        (Editable(acceptance=(ID,), tests=(NEW.with_(path="tests/test_price.py"),)), "is there already"),
        (Editable(acceptance=(ID,), tests=(NEW.with_(path="shop/new.py"),)), "is no test by its name"),
        (Editable(acceptance=(ID,), tests=(NEW.with_(path="tests/a.key"),)), "is protected"),
        (Editable(acceptance=(ID,), tests=(NEW.with_(path="tests/conftest.py"),)), "is no test by its name"),
        (Editable(acceptance=(ID,), tests=(NEW, NEW)), "named twice"),
        (Editable(acceptance=(ID,), tests=(NEW.with_(content=" \n"),)), "is empty"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_in_words(after: Editable, words: str) -> None:
    assert any(words in one for one in problems(after, BASE, PATHS, ["*.key"]))


def test_a_plan_that_fits_has_no_problem_with_a_baseline_and_without_one() -> None:
    fits = Editable(acceptance=(*BASE.acceptance, ID), files=("shop/price.py",), tests=(NEW,), notes="mind the cents")
    assert problems(fits, BASE, PATHS, ["*.key"]) == []
    assert problems(fits, None, PATHS, ["*.key"]) == [], "without a baseline the line looks for the test itself"


def waiting_item(**more: Any) -> WorkItem:
    attempt = Attempt(n=1, strategy="search", outcome="none")
    return WorkItem(
        id="W-1", repo="shop", title="t", state=State.NEEDS_HUMAN, stage="build", plan=BASE, attempts=(attempt,),
        waiting_for="x", approvals={"review": "ada"}, **more,
    )  # fmt: skip


def test_the_line_plans_anew_around_it_and_what_was_tried_and_approved_is_gone() -> None:
    edit = PlanEdit(before=editable(BASE), after=Editable(acceptance=(ID,), tests=(NEW,)), why="the limit")
    outcome = decide(waiting_item(), "plan", "ada", edit.model_dump_json())
    now = outcome.item
    assert (now.state, now.stage, now.attempts, now.approvals, now.waiting_for) == (State.TRIAGED, "plan", (), {}, "")
    assert now.plan is not None and now.plan.by == "ada" and now.plan.acceptance == (ID,) and not now.plan.baseline
    assert (outcome.by, outcome.reason) == ("person:ada", "ada changed the plan: the limit")
    again = decide(now.with_(state=State.NEEDS_HUMAN, stage="build"), "retry", "ada", "")
    assert again.item.plan == now.plan, "it outlives a retry"


def test_a_plan_that_changed_meanwhile_is_not_overwritten() -> None:
    edit = PlanEdit(before=Editable(acceptance=("other",)), after=Editable(acceptance=(ID,)), why="x")
    with pytest.raises(Conflict, match="changed meanwhile"):
        decide(waiting_item(), "plan", "ada", edit.model_dump_json())


@pytest.fixture(scope="module")
def shop(sandbox: BoxedSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(tmp_path_factory.mktemp("planning"), sandbox)
    yield made
    made.close()


@pytest.fixture
def waiting(shop: Workshop) -> Iterator[str]:
    """An item that nothing reproduces: it waits for people at its plan."""
    item = shop.report()
    assert shop.run(item).stage == "plan"
    yield item
    if shop.ledger.item(item).state not in ENDED:
        shop.ledger.command(item, "cancel", "test")
        shop.run(item)


@pytest.mark.integration
def test_a_plan_written_in_the_browser_is_built_and_ships_without_scripts(shop: Workshop, waiting: str) -> None:
    browser = shop.console.browser()
    assert "Write a plan" in browser.get(f"/items/{waiting}").text
    form = browser.get(f"/items/{waiting}/plan").text
    seen = form.partition('name="seen" value="')[2].partition('"')[0]
    sent = {
        "seen": seen, "acceptance": f" {ID} \r\n", "files": "shop/price.py", "notes": "<b>cents</b>",
        "test_path": "tests/test_limit.py", "test_content": LIMIT.replace("\n", "\r\n"), "why": "the limit counts",
    }  # fmt: skip
    before = shop.ledger.tip()
    wrong = browser.post(f"/items/{waiting}/plan", **{**sent, "files": "shop/none.py\nsecret.key", "why": ""})
    assert wrong.status_code == 400 and "shop/none.py: there is no such file" in wrong.text
    assert "secret.key is protected" in wrong.text and "say why" in wrong.text and "test_limit" in wrong.text
    old = browser.post(f"/items/{waiting}/plan", **{**sent, "seen": "0" * 32})
    assert old.status_code == 409 and shop.ledger.tip() == before
    assert browser.post(f"/items/{waiting}/plan", **sent).status_code == 303
    now = shop.run(waiting)
    assert now.state is State.CLOSED, now.waiting_for
    assert now.plan is not None and now.plan.by == "console" and now.plan.suspects[0].path == "shop/price.py"
    assert now.plan.tests == (NewTest(path="tests/test_limit.py", content=LIMIT, origin="written by console"),)
    page = browser.get(f"/items/{waiting}").text
    assert "changed by console" in page and "the limit counts" in page and "&lt;b&gt;cents&lt;/b&gt;" in page
    assert "console changed it" in page and "+" in page.partition("plan-edit-")[2]
    assert "tests/test_limit.py" in git(shop.bare, "show", "--stat", "--format=", "main")
    told = shop.console.program("GET", f"/api/v1/items/{waiting}/plan").get_json()
    assert [(one["by"], one["why"]) for one in told["changes"]] == [("console", "the limit counts")]
    git(shop.bare, "update-ref", "refs/heads/main", git(shop.tree, "rev-parse", "HEAD"))


@pytest.mark.integration
def test_programs_change_it_only_as_they_read_it_and_the_line_holds_it_to_the_tests(
    shop: Workshop, waiting: str
) -> None:
    address = f"/api/v1/items/{waiting}/plan"
    read = shop.console.program("GET", address)
    plan = {"acceptance": ["tests/test_price.py::test_free"], "files": [], "tests": [], "notes": ""}
    sent = {"plan": plan, "why": "x"}
    for bad in (
        {**sent, "why": ""},
        {"plan": {**plan, "acceptance": []}, "why": "x"},
        {"plan": plan},
        {**sent, "a": 1},
    ):
        assert shop.console.program("PUT", address, json=bad).status_code == 400
    stale = shop.console.program("PUT", address, json=sent, headers={"If-Match": '"0"'})
    assert stale.status_code == 412
    fresh = shop.console.program("PUT", address, json=sent, headers={"If-Match": read.headers["ETag"]})
    assert fresh.status_code == 202, fresh.text
    now = shop.run(waiting)
    assert now.stage == "plan" and "pass already" in now.waiting_for, "nothing would show that work was done"
    shown = shop.cli("--json", "item", "plan", waiting)
    assert json.loads(shown.output)["by"] == "console"
    words = ["--set", "acceptance=tests/test_price.py::test_nothing", "--why", "y"]
    assert shop.cli("item", "plan", waiting, *words).exit_code == 0, "the box has no baseline yet to know"
    assert "there is no test tests/test_price.py::test_nothing" in shop.run(waiting).waiting_for
    assert "no such file" in str(shop.cli("item", "plan", waiting, "--set", "files=a.py", "--why", "z").exception)
    assert "nothing is changed" in str(shop.cli("item", "plan", waiting, "--set", "files=", "--why", "z").exception)
