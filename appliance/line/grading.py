"""What a test run after a change says about it, compared with the run before. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.work import Plan, Result, TestReport, Verdict, WorkItem

MERGE = "merge"
"""What the gate is called that a merge goes through when others changed the branch in that moment."""


def grade(plan: Plan, after: TestReport, gate: str = "test") -> tuple[Verdict, str]:
    """PASS only when the run is complete, every acceptance test passes and no test that passed before is lost.

    A skip or a vanished test counts as lost. An incomplete run is INCONCLUSIVE, whatever it showed until then.
    Without per-test outcomes (a test command that is not pytest) nothing can be compared: INCONCLUSIVE as well.
    """
    passed_before = [test for test, outcome in plan.baseline.items() if outcome == "passed"]
    missed = [test for test in plan.acceptance if after.outcomes.get(test) != "passed"]
    lost = [test for test in passed_before if after.outcomes.get(test) != "passed"]
    evidence = {
        "acceptance": {test: after.outcomes.get(test, "not run") for test in plan.acceptance},
        "passed_before": len(passed_before),
        "passed_after": len(after.passed),
        "lost": {test: after.outcomes.get(test, "not run") for test in lost[:50]},
        "exit_code": after.exit_code,
        "seconds": round(after.wall_seconds, 3),
        "sandbox": after.sandbox,
    }
    result, why = _judge(plan, after, missed, lost, len(passed_before))
    return Verdict(gate=gate, verdict=result, evidence={**evidence, "reason": why}), why


def regrade(plan: Plan, after: TestReport, gate: str) -> Verdict:
    """As `grade`, on a branch where others work too: tests that they removed or renamed are theirs to answer for, so
    only those still there can be lost."""
    kept = {test: outcome for test, outcome in plan.baseline.items() if test in after.outcomes}
    return grade(plan.with_(baseline=kept), after, gate)[0]


def landed_untested(item: WorkItem, landed: str) -> bool:
    """Did the change land, as this commit, together with what others changed, and no run of all tests passed since?"""
    newest = [one for one in item.verdicts if one.gate == MERGE][-1:]
    return any(one.verdict is not Result.PASS and one.evidence.get("landed") == landed for one in newest)


def _judge(
    plan: Plan, after: TestReport, missed: Sequence[str], lost: Sequence[str], passed_before: int
) -> tuple[Result, str]:
    if after.limit:
        # a run that passed before and now meets a limit (a loop, memory) is a failure of the change
        return Result.FAIL, f"the tests no longer end by themselves: {after.limit}"
    if not after.complete or not after.outcomes:
        return Result.INCONCLUSIVE, f"the test run did not come to its end (exit {after.exit_code})"
    if not plan.acceptance:
        return Result.INCONCLUSIVE, "no acceptance test was named, so nothing shows that the change does its work"
    if missed:
        return Result.FAIL, f"acceptance fails: {', '.join(missed[:5])}"
    if lost:
        return Result.FAIL, f"{len(lost)} test(s) that passed before do not pass now: {', '.join(lost[:5])}"
    return Result.PASS, f"{len(plan.acceptance)} acceptance test(s) pass and all {passed_before} that passed still do"
