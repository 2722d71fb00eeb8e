"""Stage monitor: does the change hold on the server? If not, take it back and say so."""

from __future__ import annotations

import contextlib

from appliance.errors import Conflict, FactoryError, PolicyRefused
from appliance.line.grading import MERGE, landed_untested, regrade
from appliance.line.parts import Parts
from appliance.line.telling import unlinked
from appliance.ports import Draft, Workspace
from appliance.work import Kind, Outcome, Release, Result, Signal, State, TestReport, WorkItem

REVERT_TRAILER = "Factory-Revert-Of"
"""Names the item whose commit was taken back; a repeated monitor finds it and does not revert twice."""


def run(item: WorkItem, parts: Parts) -> Outcome:
    """Re-run the acceptance tests on the server's branch; revert when they fail there. What landed together with what
    others changed in that moment meets all tests; where those of others fail, whose fault it is a person must say."""
    assert item.plan is not None and item.release is not None, "the runner monitors shipped items only"
    plan, release, taken_back = item.plan, item.release, parts.repository.reverted(item.id)
    if taken_back:
        return rolled_back(item, release, taken_back, "it was reverted by a run that was cut off", {})
    head = parts.repository.sync()
    with parts.folder("monitor") as into:
        tree = parts.repository.checkout(head, into)
        untested = landed_untested(item, release.commit)
        parts.progress(f"running {'all' if untested else 'the acceptance'} tests on the server's branch")
        report = parts.suite(tree, () if untested else plan.acceptance)
    failing = [test for test in plan.acceptance if report.outcomes.get(test) != "passed"]
    facts = {"head": head, "acceptance": {test: report.outcomes.get(test, "not run") for test in plan.acceptance}}
    if report.complete and not failing:
        if untested:
            verdict = regrade(plan, report, MERGE)
            verdict = verdict.with_(evidence={**verdict.evidence, "landed": release.commit})
            item = item.with_(verdicts=(*item.verdicts, verdict))
            if verdict.verdict is not Result.PASS:
                why = f"on the server's {head[:12]}, where it came together with others' changes: "
                why += f"{verdict.evidence['reason']}. Mend it there, then `item retry`"
                return ask(item, why).with_(facts=facts)
        drop_revert(item, release, parts)
        held = item.with_(state=State.MONITORED, stage="learn")
        reason = f"all {len(plan.acceptance)} acceptance test(s) pass on the server's {head[:12]}"
        return Outcome(item=held, reason=reason, by="rule", facts=facts)
    if not report.complete and not report.limit:
        why = f"the tests could not be run on the server's branch: {report.output_tail[-200:]}"
        return ask(item, why).with_(facts=facts)
    return revert(item, release, parts, head, report, failing)


def revert(
    item: WorkItem, release: Release, parts: Parts, head: str, report: TestReport, failing: list[str]
) -> Outcome:
    """Take the commit back and file what happened. Where it cannot be taken back cleanly, or the forge wants people to
    look at that first, a person must."""
    why = f"on the server's {head[:12]} fails: {', '.join(failing[:5]) or report.limit}"
    undo = undo_of(item, release, parts)
    seen = parts.forge.proposal(undo)
    if seen and seen.state == "merged":
        return rolled_back(item, release, seen.commit, why, {"head": head, "failing": failing})
    if seen and seen.state == "closed":
        closed = f"its revert, request {seen.number}, was closed on the forge"
        return ask(item, f"{why}; {closed}: mend it by hand, then `item retry`")
    workspace = parts.repository.workspace(head)
    try:
        waits = seen is not None and seen.commit == undo.over
        commit = undo.over if waits and undo.over else reverting(workspace, item, release)
        return land_revert(item, release, parts, workspace, commit, undo.with_(onto=head), why, failing)
    except Conflict as clash:
        return ask(item, f"{why}; not reverted: {clash.message}")
    finally:
        workspace.close()


def undo_of(item: WorkItem, release: Release, parts: Parts) -> Draft:
    """The revert as a merge request. Its text is the same each time."""
    branch, known = f"{release.branch}-revert", item.proposal
    return Draft(
        item=item.id, branch=branch, target=parts.repository.branch, title=unlinked(f'Revert "{item.title}"'),
        text=undo_text(release), over=known.commit if known and known.branch == branch else "",
    )  # fmt: skip


def undo_text(release: Release) -> str:
    """Why it is taken back."""
    return f"This reverts {release.commit}: the tests of {release.item} do not pass on the branch."


def reverting(workspace: Workspace, item: WorkItem, release: Release) -> str:
    """The commit that takes the release back, the same each time on the same head."""
    message = unlinked(f'Revert "{item.title}"\n\n{undo_text(release)}')
    return workspace.revert(release.commit, message, ((REVERT_TRAILER, item.id),), release.at)


def land_revert(
    item: WorkItem, release: Release, parts: Parts, workspace: Workspace, commit: str, undo: Draft, why: str,
    failing: list[str],
) -> Outcome:  # fmt: skip
    """Bring the revert onto the branch; where its reviews are owed, wait for them."""
    try:
        landed = parts.forge.land(workspace, commit, undo)
    except PolicyRefused as error:
        seen = parts.forge.proposal(undo)
        if seen is None or seen.state != "open":
            raise
        owed = "; ".join(seen.blockers) or error.message
        waits = item.with_(proposal=seen.with_(commit=commit))
        return ask(waits, f"{why}; its revert, request {seen.number} {seen.url}, waits: {owed}")
    with contextlib.suppress(FactoryError):
        parts.forge.withdraw(workspace, undo.with_(over=commit), "it was reverted")
    return rolled_back(item, release, landed, why, {"head": undo.onto, "revert": landed, "failing": failing})


def drop_revert(item: WorkItem, release: Release, parts: Parts) -> None:
    """Close a revert that is not needed any more: what failed was mended meanwhile."""
    undo = undo_of(item, release, parts)
    if undo.over:
        with contextlib.suppress(FactoryError):
            workspace = parts.repository.workspace(release.commit)
            try:
                parts.forge.withdraw(workspace, undo, "the tests pass again: there is nothing to take back")
            finally:
                workspace.close()


def ask(item: WorkItem, why: str) -> Outcome:
    """Stop for a person."""
    stopped = item.with_(state=State.NEEDS_HUMAN, stage="monitor", waiting_for=why)
    return Outcome(item=stopped, reason=why, by="rule")


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
