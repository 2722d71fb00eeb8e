from __future__ import annotations

import pytest

from appliance.line.grading import grade
from appliance.work import Plan, Result, TestReport

PLAN = Plan(acceptance=("t::wanted",), baseline={"t::wanted": "failed", "t::old": "passed", "t::slow": "skipped"})
GOOD = {"t::wanted": "passed", "t::old": "passed", "t::slow": "skipped"}


def report(outcomes: dict[str, str], **more: object) -> TestReport:
    return TestReport(outcomes=outcomes, exit_code=0, **{"complete": True, **more})


def test_all_acceptance_and_all_old_tests_passing_is_a_pass() -> None:
    verdict, why = grade(PLAN, report(GOOD))
    assert verdict.verdict is Result.PASS
    assert "1 acceptance test(s) pass and all 1" in why
    assert verdict.evidence["acceptance"] == {"t::wanted": "passed"}


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ({**GOOD, "t::wanted": "failed"}, "acceptance fails: t::wanted"),
        ({**GOOD, "t::wanted": "skipped"}, "acceptance fails: t::wanted"),
        ({**GOOD, "t::old": "failed"}, "t::old"),
        ({**GOOD, "t::old": "skipped"}, "1 test(s) that passed before"),
        ({**GOOD, "t::old": "xfailed"}, "t::old"),
        ({"t::wanted": "passed"}, "t::old"),
    ],
)
def test_a_failure_a_skip_and_a_vanished_test_are_failures(outcomes: dict[str, str], words: str) -> None:
    verdict, why = grade(PLAN, report(outcomes))
    assert verdict.verdict is Result.FAIL
    assert words in why


def test_a_run_that_did_not_end_is_inconclusive_whatever_it_showed() -> None:
    assert grade(PLAN, report(GOOD, complete=False))[0].verdict is Result.INCONCLUSIVE


def test_an_exit_code_alone_is_inconclusive() -> None:
    assert grade(PLAN, report({}))[0].verdict is Result.INCONCLUSIVE


def test_no_acceptance_test_is_inconclusive() -> None:
    assert grade(PLAN.with_(acceptance=()), report(GOOD))[0].verdict is Result.INCONCLUSIVE


def test_a_change_that_makes_the_tests_hang_fails() -> None:
    verdict, why = grade(PLAN, report({"t::wanted": "passed"}, complete=False, limit="it took longer than 300 seconds"))
    assert verdict.verdict is Result.FAIL
    assert "longer than 300 seconds" in why
