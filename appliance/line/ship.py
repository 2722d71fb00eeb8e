"""Stage ship: onto the server's branch, exactly once, and only what was tested."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.errors import Conflict, PolicyRefused, VerificationFailed
from appliance.line.grading import grade
from appliance.line.parts import Parts
from appliance.ports import Draft, Workspace
from appliance.work import Autonomy, Change, Outcome, Release, Result, State, Verdict, WorkItem

ITEM_TRAILER = "Factory-Item"
"""The commit trailer by which a landed item is recognised; it makes a repeated ship harmless."""


def run(item: WorkItem, parts: Parts) -> Outcome:
    """Land the change as autonomy allows; rebuild the commit from a fresh base when the branch moves."""
    assert item.plan is not None and item.change is not None, "the runner ships secured items only"
    landed = parts.repository.landed(item.id)
    if landed:
        return shipped(item, item.change, landed, landed, "it is on the branch already: an earlier run was cut off", {})
    level, approver = item.autonomy.effective, item.approvals.get("ship", "")
    if level is not Autonomy.HIGH and not approver:
        return propose(item, item.change, parts)
    by = f"approved by {approver}" if approver else f"autonomy {level} merges by itself ({item.autonomy.why})"
    for turn in range(parts.settings.mirror.push_retries + 1):
        try:
            return attempt(item, parts, by, turn)
        except Conflict as moved:
            parts.progress(f"the branch moved: {moved.message}")
        except PolicyRefused as error:
            return ask(item, f"the server refused the push: {error.message}. {error.hint}")
    return ask(item, f"the branch moved under {parts.settings.mirror.push_retries + 1} pushes in a row; retry later")


def attempt(item: WorkItem, parts: Parts, by: str, turn: int) -> Outcome:
    """One try from a fresh clone. Raises Conflict when the branch moved meanwhile, PolicyRefused as the server says."""
    assert item.plan is not None and item.change is not None
    head = parts.repository.sync()
    workspace = parts.repository.workspace(item.change.base)
    try:
        commit = made(item, item.change, workspace)
        facts: dict[str, object] = {"base": item.change.base, "pushes": turn + 1}
        if head != item.change.base:
            try:
                commit = workspace.merge_onto(
                    head, f"Merge {item.id}: {item.title}", trailers(item, item.change), item.change.at
                )
            except Conflict as clash:
                return rebuild(item, f"the branch moved to {head[:12]} and the change no longer fits: {clash.message}")
            verdict = retested(item, parts, workspace, commit)
            facts["retest"] = verdict.evidence
            if verdict.verdict is not Result.PASS:
                return rebuild(item, f"on the moved branch {head[:12]}: {verdict.evidence['reason']}")
        parts.progress(f"pushing {commit[:12]} to {parts.repository.branch}")
        wanted = draft(item, item.change, parts)
        commit = parts.forge.land(workspace, commit, wanted)
        parts.forge.withdraw(workspace, wanted, "it has landed")
        how = f"{by}; {'merged onto a moved branch after re-testing' if head != item.change.base else 'fast-forward'}"
        return shipped(item, item.change, commit, head, how, facts)
    except VerificationFailed as error:
        return rebuild(item, error.message)
    finally:
        workspace.close()


def made(item: WorkItem, change: Change, workspace: Workspace) -> str:
    """The commit of the change on its own base."""
    workspace.apply(change.diff)
    return workspace.commit(change.message, trailers(item, change), change.at)


def trailers(item: WorkItem, change: Change) -> Sequence[tuple[str, str]]:
    """Who helped, and for which item. A machine never signs off."""
    return (("Assisted-by", change.author_model), (ITEM_TRAILER, item.id))


def retested(item: WorkItem, parts: Parts, workspace: Workspace, commit: str) -> Verdict:
    """Run the tests on exactly the tree that would be pushed."""
    assert item.plan is not None
    with parts.folder("ship") as into:
        parts.progress("the branch moved: running the tests on the merged tree")
        report = parts.suite(workspace.export(commit, into))
    # tests that others removed or renamed meanwhile are theirs to answer for: only those still there can be lost
    kept = {test: outcome for test, outcome in item.plan.baseline.items() if test in report.outcomes}
    return grade(item.plan.with_(baseline=kept), report, gate="ship")[0]


def propose(item: WorkItem, change: Change, parts: Parts) -> Outcome:
    """Show the change for approval: on its own branch at level medium, in the console and CLI alone below."""
    level, where = item.autonomy.effective, ""
    if level is Autonomy.MEDIUM:
        workspace = parts.repository.workspace(change.base)
        try:
            commit = made(item, change, workspace)
            proposal = parts.forge.propose(workspace, commit, draft(item, change, parts))
            item, where = item.with_(proposal=proposal), proposal.url or f"branch {proposal.branch}"
        finally:
            workspace.close()
    why = f"autonomy {level} ({item.autonomy.why}) merges nothing by itself: `appliance item approve {item.id}`"
    return ask(item, f"{why}; see {where}" if where else why)


def draft(item: WorkItem, change: Change, parts: Parts) -> Draft:
    """The merge request as it should be."""
    closes = item.origin.number if item.origin and item.origin.kind == "issue" else ""
    return Draft(item=item.id, branch=change.branch, target=parts.repository.branch, title=item.title,
                 text=change.message, closes=closes)  # fmt: skip


def shipped(item: WorkItem, change: Change, commit: str, previous: str, how: str, facts: dict[str, object]) -> Outcome:
    """The release."""
    release = Release(item=item.id, repo=item.repo, branch=change.branch, commit=commit, previous=previous)
    done = item.with_(
        change=change.with_(commit=commit), release=release, state=State.SHIPPED, stage="monitor", waiting_for=""
    )
    by = f"person:{item.approvals['ship']}" if "ship" in item.approvals else "rule"
    return Outcome(item=done, reason=f"{commit[:12]}: {how}", by=by, facts={"commit": commit, **facts})


def rebuild(item: WorkItem, why: str) -> Outcome:
    """The change does not hold on today's branch: plan again from there. What was approved is not what will come."""
    back = item.with_(state=State.TRIAGED, stage="plan", change=None, plan=None, approvals={})
    return Outcome(item=back, reason=f"{why}; planned again from today's branch", by="rule")


def ask(item: WorkItem, why: str) -> Outcome:
    """Stop for a person."""
    return Outcome(item=item.with_(state=State.NEEDS_HUMAN, stage="ship", waiting_for=why), reason=why, by="rule")
