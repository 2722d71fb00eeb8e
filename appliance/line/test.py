"""Stage test: a fresh clone with the change, every test, and nothing that passed before may be lost."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.errors import VerificationFailed
from appliance.line import hand
from appliance.line.diffs import refusals
from appliance.line.grading import grade
from appliance.line.parts import Parts
from appliance.work import Change, Outcome, Result, State, TestReport, Verdict, WorkItem


def run(item: WorkItem, parts: Parts) -> Outcome:
    """Grade the change where neither the build's tree nor its caches can be felt."""
    assert item.plan is not None and item.change is not None, "the runner tests built items only"
    try:
        report = tested(item.change, parts)
    except VerificationFailed as error:
        verdict = Verdict(gate="test", verdict=Result.FAIL, evidence={"reason": error.message})
        return settle(item, verdict, error.message)
    verdict, why = grade(item.plan, report)
    return settle(item, verdict, why)


def tested(change: Change, parts: Parts) -> TestReport:
    """Run all tests on base + change, committed in a fresh clone and exported without remotes."""
    workspace = parts.repository.workspace(change.base)
    try:
        workspace.apply(change.diff)
        commit = workspace.commit("under test", ())
        with parts.folder("test") as into:
            parts.progress("running all tests on a fresh clone with the change")
            return parts.suite(workspace.export(commit, into))
    finally:
        workspace.close()


def settle(item: WorkItem, verdict: Verdict, why: str) -> Outcome:
    """PASS goes on; FAIL goes back to build, which may not propose this change again; else a person looks."""
    assert item.change is not None
    by_person = bool(item.change.author)
    item = item.with_(verdicts=(*item.verdicts, verdict))
    facts: Mapping[str, object] = {"verdict": verdict.verdict, **verdict.evidence}
    if verdict.verdict is Result.PASS:
        return Outcome(item=item.with_(state=State.TESTED, stage="review"), reason=why, by="rule", facts=facts)
    if verdict.verdict is Result.FAIL and by_person:
        return Outcome(item=item.with_(**hand.refused(item, why)), reason=why, by="rule", facts=facts)
    if verdict.verdict is Result.FAIL:
        refused = (*item.refused_diffs, *refusals(item))
        back = item.with_(state=State.PLANNED, stage="build", change=None, refused_diffs=refused)
        return Outcome(item=back, reason=f"{why}; back to build", by="rule", facts=facts)
    stopped = item.with_(state=State.NEEDS_HUMAN, stage="test", waiting_for=f"the tests gave no clear answer: {why}")
    return Outcome(item=stopped, reason=why, by="rule", facts=facts)
