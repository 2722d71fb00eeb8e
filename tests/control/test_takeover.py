"""A person makes the change instead of the line: the same gates, the right author, and the item can be given back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO

import pytest

from appliance.computers.sandbox import BoxedSandbox
from appliance.work import ENDED, State
from tests.control.workshop import LIMIT, MENDED, PRICE, TESTS, Workshop
from tests.e2e.world import git

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shop(sandbox: BoxedSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(tmp_path_factory.mktemp("takeover"), sandbox)
    yield made
    made.close()


@pytest.fixture
def waiting(shop: Workshop) -> Iterator[str]:
    """An item that nothing reproduces: it waits for people at its plan."""
    item = shop.report()
    now = shop.run(item)
    assert (now.state, now.stage, now.plan) == (State.NEEDS_HUMAN, "plan", None), now.waiting_for
    yield item
    if shop.ledger.item(item).state not in ENDED:
        shop.ledger.command(item, "cancel", "test")
        assert shop.run(item).state is State.CANCELLED


def test_a_patch_that_does_not_apply_is_refused_in_words_and_changes_nothing(shop: Workshop, waiting: str) -> None:
    browser = shop.console.browser()
    before = shop.ledger.tip()
    for patch, words in (
        (shop.patch(shop__price=MENDED).replace("sum > 50", "sum > 70"), "does not fit"),
        ("hello", "does not fit"),
        ("", "is empty"),
        ("diff --git a/../x b/../x\nnew file mode 100644\n--- /dev/null\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n", ""),
        ("x" * (256 * 1024 + 1), "more than 256 KiB"),
    ):
        answer = browser.post(f"/items/{waiting}/hand-in", patch=patch)
        assert answer.status_code in (400, 409, 413, 422) and "Nothing is changed" in answer.text, answer.text[-900:]
        assert words in answer.text
        refused = shop.console.program("POST", f"/api/v1/items/{waiting}/patch", data=patch)
        assert refused.status_code == answer.status_code and words in refused.get_json()["error"]["message"]
        assert shop.cli("item", "take", waiting, "--patch", "-", stdin=patch).exit_code != 0
    assert shop.ledger.tip() == before


def test_taken_over_it_waits_for_the_patch_and_nothing_else_and_can_be_given_back(shop: Workshop, waiting: str) -> None:
    browser = shop.console.browser()
    assert "Take over" in browser.get(f"/items/{waiting}").text
    assert browser.post(f"/items/{waiting}/take").status_code == 303
    now = shop.run(waiting)
    assert (now.state, now.taken_by) == (State.NEEDS_HUMAN, "console")
    page = browser.get(f"/items/{waiting}").text
    assert "Hand a patch in" in page and "Give it back" in page and "/retry" not in page and "/take" not in page
    form = browser.get(f"/items/{waiting}/hand-in").text
    assert "git clone http://localhost/git/shop.git" in form and shop.mirror.head() in form
    assert shop.cli("item", "retry", waiting).exit_code == 1, "the line does not go on beside a person"
    other = shop.cli("item", "take", waiting, "--patch", "-", stdin=shop.patch(shop__price=MENDED))
    assert "console has taken" in str(other.exception)
    assert browser.post(f"/items/{waiting}/give_back").status_code == 303
    again = shop.run(waiting)
    assert (again.taken_by, again.stage) == ("", "plan") and "nothing reproduces" in again.waiting_for


def test_a_patch_with_its_test_ships_through_all_gates_under_its_authors_name(shop: Workshop, waiting: str) -> None:
    patch = shop.series("Ship free from 50 on\n\nThe limit itself counts.", shop__price=MENDED, tests__test_limit=LIMIT)
    browser = shop.console.browser()
    answer = browser.client.post(
        f"/items/{waiting}/hand-in", content_type="multipart/form-data",
        data={"csrf": browser.csrf(), "file": (BytesIO(patch.encode()), "x.patch"), "why": "the limit counts"},
    )  # fmt: skip
    assert answer.status_code == 303, answer.text
    now = shop.run(waiting)
    assert now.state is State.CLOSED, now.waiting_for
    assert now.plan is not None and now.plan.acceptance == ("tests/test_limit.py::test_limit",)
    assert [one.strategy for one in now.attempts] == ["hand"] and now.attempts[0].detail == "handed in by console"
    assert {one.gate for one in now.verdicts} >= {"test", "review policy", "secure"}
    said = git(shop.bare, "log", "-1", "--format=%an <%ae>%n%cn%n%B", "main")
    assert said.startswith("Tester <tester@localhost>\n") and "Ship free from 50 on" in said
    assert "Handed-in-by: console" in said and f"Factory-Item: {waiting}" in said and "Assisted-by" not in said
    told = json.loads(shop.cli("--json", "item", "show", waiting).output)
    learned = next(one for one in told["events"] if one["kind"] == "OutcomeLearned")
    assert learned["payload"]["facts"]["strategy"] == "hand" and not learned["payload"]["facts"]["without_a_person"]
    assert "by hand: Tester &lt;tester@localhost&gt;" in browser.get(f"/items/{waiting}").text
    git(shop.bare, "update-ref", "refs/heads/main", git(shop.tree, "rev-parse", "HEAD"))


def test_a_patch_that_proves_nothing_or_breaks_tests_goes_back_to_its_person(shop: Workshop, waiting: str) -> None:
    bare = shop.cli("item", "take", waiting, "--patch", "-", stdin=shop.patch(shop__price=MENDED))
    assert bare.exit_code == 0, bare.output
    now = shop.run(waiting)
    assert (now.state, now.stage, now.change) == (State.NEEDS_HUMAN, "plan", None)
    assert "brings no test" in now.waiting_for and now.taken_by
    breaks = MENDED.replace("sum(prices)", "max(prices)")
    wrong = shop.cli(
        "item", "take", waiting, "--patch", "-", stdin=shop.patch(shop__price=breaks, tests__test_limit=LIMIT)
    )
    assert wrong.exit_code == 0, wrong.output
    now = shop.run(waiting)
    assert (now.state, now.stage, now.change) == (State.NEEDS_HUMAN, "build", None)
    assert "do not pass now: tests/test_price.py::test_total" in now.waiting_for and now.taken_by
    same = shop.cli(
        "item", "take", waiting, "--patch", "-", stdin=shop.patch(shop__price=breaks, tests__test_limit=LIMIT)
    )
    shop.run(waiting)
    assert same.exit_code == 0 and "refused before" in shop.ledger.history(waiting)[-1].payload["reason"]
    touched = TESTS.replace("== 3", "== 3.0")
    named = ["--author", "Ada <ada@example.org>"]
    patch = shop.patch(shop__price=MENDED, tests__test_price=touched)
    assert shop.cli("item", "take", waiting, "--patch", "-", *named, stdin=patch).exit_code == 0
    now = shop.run(waiting)
    assert (now.state, now.stage) == (State.NEEDS_HUMAN, "review"), "a change of tests that judge it needs a person"
    assert now.change is not None and now.change.author == "Ada <ada@example.org>"
    assert shop.cli("item", "take", waiting, "--back").exit_code == 0
    now = shop.run(waiting, until=[State.PLANNED])
    assert (now.change, now.taken_by, now.attempts) == (None, "", ())


def test_a_patch_for_a_persons_plan_is_held_to_the_plans_tests_and_to_all_others(shop: Workshop, waiting: str) -> None:
    test = shop.console.home.root / "test_limit.py"
    test.write_text(LIMIT)
    words = ["--set", "acceptance=tests/test_limit.py::test_limit", "--test", f"tests/test_limit.py={test}"]
    assert shop.cli("item", "take", waiting).exit_code == 0
    assert shop.run(waiting).taken_by
    assert shop.cli("item", "plan", waiting, *words, "--why", "the limit").exit_code == 0
    breaks = MENDED.replace("sum(prices)", "max(prices)")
    shop.runner.take_in()
    early = shop.cli("item", "take", waiting, "--patch", "-", stdin=shop.patch(shop__price=breaks))
    assert early.exit_code == 0, "it may come before the plan's tests were run"
    now = shop.run(waiting)
    assert now.state is State.NEEDS_HUMAN and "do not pass now: tests/test_price.py::test_total" in now.waiting_for
    assert shop.cli("item", "take", waiting, "--patch", "-", stdin=shop.patch(shop__price=MENDED)).exit_code == 0
    now = shop.run(waiting)
    assert now.state is State.CLOSED, now.waiting_for
    assert git(shop.bare, "log", "-1", "--format=%an", "main") != "factory"
    assert "tests/test_limit.py" in git(shop.bare, "show", "--stat", "--format=", "main")
    git(shop.bare, "update-ref", "refs/heads/main", git(shop.tree, "rev-parse", "HEAD"))


def test_a_pasted_patch_with_line_ends_of_a_browser_fits(shop: Workshop, waiting: str) -> None:
    patch = shop.patch(shop__price=MENDED, tests__test_limit=LIMIT).replace("\n", "\r\n")
    assert shop.console.browser().post(f"/items/{waiting}/hand-in", patch=patch).status_code == 303
    assert PRICE.count("\r") == 0 and "\r" not in shop.ledger.open_commands()[-1].text.replace("\\r", "\r")
