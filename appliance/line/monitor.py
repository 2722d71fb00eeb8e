"""Stage monitor: does the change hold on the server? If not, take it back and say so."""

from __future__ import annotations

from appliance.errors import Conflict
from appliance.line.parts import Parts
from appliance.ports import Draft
from appliance.work import Kind, Outcome, Release, Signal, State, TestReport, WorkItem

REVERT_TRAILER = "Factory-Revert-Of"
"""Names the item whose commit was taken back; a repeated monitor finds it and does not revert twice."""


def run(item: WorkItem, parts: Parts) -> Outcome:
    """Re-run the acceptance tests on the server's branch; revert when they fail there."""
    assert item.plan is not None and item.release is not None, "the runner monitors shipped items only"
    taken_back = parts.repository.reverted(item.id)
    if taken_back:
        return rolled_back(item, item.release, taken_back, "it was reverted by a run that was cut off", {})
    head = parts.repository.sync()
    with parts.folder("monitor") as into:
        tree = parts.repository.checkout(head, into)
        parts.progress("running the acceptance tests on the server's branch")
        report = parts.suite(tree, item.plan.acceptance)
    failing = [test for test in item.plan.acceptance if report.outcomes.get(test) != "passed"]
    facts = {"head": head, "acceptance": {test: report.outcomes.get(test, "not run") for test in item.plan.acceptance}}
    if report.complete and not failing:
        held = item.with_(state=State.MONITORED, stage="learn")
        reason = f"all {len(item.plan.acceptance)} acceptance test(s) pass on the server's {head[:12]}"
        return Outcome(item=held, reason=reason, by="rule", facts=facts)
    if not report.complete and not report.limit:
        why = f"the tests could not be run on the server's branch: {report.output_tail[-200:]}"
        stopped = item.with_(state=State.NEEDS_HUMAN, stage="monitor", waiting_for=why)
        return Outcome(item=stopped, reason=why, by="rule", facts=facts)
    return revert(item, item.release, parts, head, report, failing)


def revert(
    item: WorkItem, release: Release, parts: Parts, head: str, report: TestReport, failing: list[str]
) -> Outcome:
    """Take the commit back and file what happened. Where it cannot be taken back cleanly, a person must."""
    why = f"on the server's {head[:12]} fails: {', '.join(failing[:5]) or report.limit}"
    workspace = parts.repository.workspace(head)
    try:
        message = f'Revert "{item.title}"\n\nThis reverts {release.commit}: {why}.'
        commit = workspace.revert(release.commit, message, ((REVERT_TRAILER, item.id),))
        undo = Draft(
            item=item.id, branch=f"{release.branch}-revert", target=parts.repository.branch,
            title=f'Revert "{item.title}"', text=message,
        )  # fmt: skip
        commit = parts.forge.land(workspace, commit, undo)
    except Conflict as clash:
        stopped = item.with_(
            state=State.NEEDS_HUMAN, stage="monitor", waiting_for=f"{why}; not reverted: {clash.message}"
        )
        return Outcome(item=stopped, reason=stopped.waiting_for, by="rule")
    finally:
        workspace.close()
    facts: dict[str, object] = {"head": head, "revert": commit, "failing": failing}
    return rolled_back(item, release, commit, why, facts)


def rolled_back(item: WorkItem, release: Release, commit: str, why: str, facts: dict[str, object]) -> Outcome:
    """The end of a change that did not hold, and the signal that says so."""
    told = Signal(
        id="",
        repo=item.repo,
        title=f"{item.id} was reverted: {item.title}",
        body=f"{why}\n\nThe original report:\n{item.body}",
        kind=Kind.INCIDENT,
        source="monitor",
    )
    back = item.with_(state=State.ROLLED_BACK, stage="monitor", release=release.with_(reverted_by=commit))
    return Outcome(item=back, reason=f"{why}; reverted by {commit[:12]}", by="rule", facts=facts, signals=(told,))
