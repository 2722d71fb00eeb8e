"""Stage ship: onto the server's branch, exactly once, and only what was tested.

Where a merge request decides, the stage proposes it and waits for people; the command `look` takes it again when the
forge has something new. What people decide there counts as it stands: merged is shipped, closed is rejected, and a push
of somebody else to the box's branch is never overwritten.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from appliance.by_hand import of_a_person
from appliance.errors import Conflict, FactoryError, PolicyRefused, Unavailable, VerificationFailed
from appliance.line import hand
from appliance.line.grading import MERGE, landed_untested, regrade
from appliance.line.parts import Parts
from appliance.line.telling import story, unlinked
from appliance.ports import Draft, Rights, Workspace
from appliance.work import Autonomy, Change, Outcome, Proposal, Release, Result, State, Verdict, WorkItem

ITEM_TRAILER = "Factory-Item"
"""The commit trailer by which a landed item is recognised; it makes a repeated ship harmless."""
INCOMPARABLE = "what landed cannot be compared with what was tested: "


def run(item: WorkItem, parts: Parts) -> Outcome:
    """Land the change as autonomy and the forge allow; rebuild the commit from a fresh base when the branch moves."""
    assert item.plan is not None and item.change is not None, "the runner ships secured items only"
    change = item.change
    seen = seen_there(item, change, parts)
    merged = seen is not None and seen.state == "merged"
    landed = "" if merged else parts.repository.landed(item.id)
    if landed:
        item = compared(item, change, landed, parts)
        return shipped(item, change, landed, landed, "it is on the branch already: an earlier run was cut off", {})
    settled = decided_there(item, change, seen, parts) if seen else None
    if settled:
        return settled
    item = permitted(item, seen, parts)
    level, approver = item.autonomy.effective, item.approvals.get("ship", "")
    if level is not Autonomy.HIGH and not approver:
        return propose(item, change, parts)
    by = f"approved by {approver}" if approver else f"autonomy {level} merges by itself ({item.autonomy.why})"
    why = ""
    for turn in range(parts.settings.mirror.push_retries + 1):
        try:
            return attempt(item, change, parts, by, turn)
        except Conflict as moved:
            why = moved.message
            parts.progress(f"the branch moved: {why}")
            seen = seen_there(item, change, parts)
            settled = decided_there(item, change, seen, parts) if seen else None
            if settled:
                return settled
        except PolicyRefused as error:
            return ask(item, f"the server refused the push: {error.message}. {error.hint}")
    tries = parts.settings.mirror.push_retries + 1
    return ask(item, f"the branch moved under {tries} pushes in a row; retry later. The last one: {why}")


def seen_there(item: WorkItem, change: Change, parts: Parts) -> Proposal | None:
    """The item's merge request as it stands on the forge; None where there is none."""
    known = item.proposal
    return parts.forge.proposal(draft(item, change, parts)) if known and known.number else None


def decided_there(item: WorkItem, change: Change, seen: Proposal, parts: Parts) -> Outcome | None:
    """What people did to the request, where that decides; None when the box may go on."""
    known = item.proposal
    assert known is not None
    if seen.state == "merged":
        item = compared(item, change, seen.commit, parts)
        tidy(item, change, parts)
        how = f"request {seen.number} was merged on the forge"
        return shipped(item.with_(proposal=seen), change, seen.commit, change.base, how, {"request": seen.number})
    if seen.state == "closed":
        why = f"request {seen.number} was closed on the forge"
        gone = item.with_(state=State.REJECTED, proposal=seen.with_(commit=known.commit), waiting_for="")
        return Outcome(item=gone, reason=why, by="rule")
    if seen.commit != known.commit:
        return ask(item, f"somebody pushed to {seen.branch}: it is at {seen.commit[:12]}, and the box left it at "
                   f"{known.commit[:12]}. Merge or close {where(seen)} there, or take the push back")  # fmt: skip
    item = item.with_(proposal=seen)
    if change.commit != known.commit:
        return None  # a newer change: what was said of the older one is answered by it
    if seen.changes_asked_by:
        return ask(
            item, f"{', '.join(seen.changes_asked_by)} asked for changes and did not approve since: {where(seen)}"
        )
    failed = failed_pipelines(item, seen.commit)
    return ask(item, f"{'; '.join(failed)} ({where(seen)})") if failed else None


def failed_pipelines(item: WorkItem, commit: str) -> list[str]:
    """What the site's own pipelines hold against a commit, by the newest word of each."""
    newest = {
        one.gate: one for one in item.verdicts
        if one.gate.startswith("pipeline ") and one.evidence.get("commit") == commit
    }  # fmt: skip
    return [str(one.evidence["reason"]) for one in newest.values() if one.verdict is not Result.PASS]


def permitted(item: WorkItem, seen: Proposal | None, parts: Parts) -> WorkItem:
    """The item with the approval that somebody with the right gave on the forge, when its rules are satisfied too."""
    if seen is None:
        return item
    item = item.with_(proposal=seen)
    if "ship" in item.approvals or seen.blockers or item.change is None or item.change.commit != seen.commit:
        return item
    for login in seen.approved_by:
        if parts.forge.rights(login) in (Rights.WRITE, Rights.ADMIN):
            return item.with_(approvals={**item.approvals, "ship": f"{login}@{parts.forge.kind}"})
    return item


def attempt(item: WorkItem, change: Change, parts: Parts, by: str, turn: int) -> Outcome:
    """One try from a fresh clone. Raises Conflict when the branch moved meanwhile, PolicyRefused as the server says."""
    head = parts.repository.sync()
    workspace = parts.repository.workspace(change.base)
    try:
        tested = made(item, change, workspace)
        facts: dict[str, object] = {"base": change.base, "pushes": turn + 1, "tested": tested}
        if head != change.base:
            words = f"Merge {item.id}: {unlinked(item.title)}"
            try:
                tested = workspace.merge_onto(head, words, trailers(item, change), change.at)
            except Conflict as clash:
                return rebuild(item, f"the branch moved to {head[:12]} and the change no longer fits: {clash.message}")
            facts["tested"] = tested
            verdict = retested(item, parts, workspace, tested)
            facts["retest"] = verdict.evidence
            if verdict.verdict is not Result.PASS:
                return rebuild(item, f"on the moved branch {head[:12]}: {verdict.evidence['reason']}")
        shown = item.proposal
        asked = shown is not None and shown.number and shown.state == "open" and shown.commit == change.commit
        # what people approved lands as it stands; the forge then merges it onto the head it was tested on
        landing = change.commit if asked else tested
        how = f"{by}; {'merged onto a moved branch after re-testing' if head != change.base else 'fast-forward'}"
        try:
            return land(item, change, parts, workspace, landing, head, how, facts)
        except Conflict as refused:
            seen = seen_there(item, change, parts)
            as_shown = seen is not None and seen.state == "open" and seen.commit == change.commit
            if landing == tested or not as_shown or parts.repository.sync() != head:
                raise
            # nothing moved: the forge merges what is built on today's head alone (fast-forward, semi-linear)
            return rebuild(item, f"the request cannot be merged onto {head[:12]} as it stands: {refused.message}")
    except VerificationFailed as error:
        return rebuild(item, error.message)
    finally:
        workspace.close()


def land(
    item: WorkItem, change: Change, parts: Parts, workspace: Workspace, landing: str, head: str, how: str,
    facts: dict[str, object],
) -> Outcome:  # fmt: skip
    """Bring a tested commit onto the branch; where the forge still wants people, wait for them."""
    parts.progress(f"bringing {landing[:12]} onto {parts.repository.branch}")
    wanted = draft(item, change, parts).with_(onto=head)
    try:
        commit = parts.forge.land(workspace, landing, wanted)
    except PolicyRefused as error:
        seen = parts.forge.proposal(wanted)
        if seen is None or seen.state != "open":
            raise
        waits = item.with_(proposal=seen.with_(commit=landing), change=change.with_(commit=landing))
        return ask(waits, f"{where(seen)} waits: {'; '.join(seen.blockers) or error.message}")
    item = item.with_(verdicts=(*item.verdicts, *came_along(workspace, parts, str(facts["tested"]), commit)))
    with contextlib.suppress(FactoryError):  # it has landed: what is untidy is no reason to stop
        branch_at = item.proposal.commit if item.proposal and not item.proposal.number else landing
        parts.forge.withdraw(workspace, wanted.with_(over=branch_at), "it has landed")
        seen = parts.forge.proposal(wanted)
        item = item.with_(proposal=seen) if seen else item
    return shipped(item, change, commit, head, how, facts)


def came_along(workspace: Workspace, parts: Parts, tested: str, landed: str) -> tuple[Verdict, ...]:
    """The verdict that nobody has tested what landed, where its tree is not the tested one: no forge can be told to
    merge onto one head alone, so what others pushed in that moment is in it, too. The monitor then runs all tests.
    Raises Unavailable: it is looked at again."""
    if landed == tested:
        return ()
    try:
        parts.repository.sync()
        also = workspace.changed_between(tested, landed)
    except Unavailable:
        raise
    except FactoryError as error:  # it has landed all the same
        return untested(INCOMPARABLE + error.message, landed, ())
    if not also:
        return ()
    more = ", …" if len(also) > 5 else ""
    return untested(
        f"it was merged together with what others changed meanwhile: {', '.join(also[:5])}{more}", landed, also
    )


def compared(item: WorkItem, change: Change, landed: str, parts: Parts) -> WorkItem:
    """The item, with what came along when it was merged by somebody else, or by a run that was cut off. Raises as
    `came_along`."""
    try:
        workspace = parts.repository.workspace(change.base)
        try:
            along = came_along(workspace, parts, made(item, change, workspace), landed)
        finally:
            workspace.close()
    except Unavailable:
        raise
    except FactoryError as error:  # its base is not here any more
        along = untested(INCOMPARABLE + error.message, landed, ())
    return item.with_(verdicts=(*item.verdicts, *along))


def untested(why: str, landed: str, files: Sequence[str]) -> tuple[Verdict, ...]:
    """As the verdict of a gate of its own, for people to see."""
    evidence = {"reason": why, "landed": landed, "files": list(files[:50])}
    return (Verdict(gate=MERGE, verdict=Result.INCONCLUSIVE, evidence=evidence),)


def tidy(item: WorkItem, change: Change, parts: Parts) -> None:
    """Remove the branch of a request that people merged."""
    with contextlib.suppress(FactoryError):
        workspace = parts.repository.workspace(change.base)
        try:
            parts.forge.withdraw(workspace, draft(item, change, parts), "it was merged")
        finally:
            workspace.close()


def made(item: WorkItem, change: Change, workspace: Workspace) -> str:
    """The commit of the change on its own base."""
    workspace.apply(change.diff)
    return workspace.commit(change.message, trailers(item, change), change.at, change.author)


def trailers(item: WorkItem, change: Change) -> Sequence[tuple[str, str]]:
    """Who helped, or handed in what a person made, and for which item. A machine never signs off."""
    who = ("Handed-in-by", item.taken_by) if change.author else ("Assisted-by", change.author_model)
    return (who, (ITEM_TRAILER, item.id))


def retested(item: WorkItem, parts: Parts, workspace: Workspace, commit: str) -> Verdict:
    """Run the tests on exactly the tree that would be pushed."""
    assert item.plan is not None
    with parts.folder("ship") as into:
        parts.progress("the branch moved: running the tests on the merged tree")
        report = parts.suite(workspace.export(commit, into))
    return regrade(item.plan, report, gate="ship")


def propose(item: WorkItem, change: Change, parts: Parts) -> Outcome:
    """Show the change for approval: as a merge request, or on its own branch where there are none, at level medium; in
    the console and CLI alone below."""
    level = item.autonomy.effective
    why = f"autonomy {level} ({item.autonomy.why}) merges nothing by itself"
    if level is not Autonomy.MEDIUM:
        return ask(item, f"{why}: `appliance item approve {item.id}`")
    workspace = parts.repository.workspace(change.base)
    try:
        commit = made(item, change, workspace)
        proposal = parts.forge.propose(workspace, commit, draft(item, change, parts))
    except Conflict as theirs:
        return ask(item, f"{change.branch} is not as the box left it: {theirs.message}. Look at what is there; the box "
                   "goes on when the branch is gone, or as it was")  # fmt: skip
    finally:
        workspace.close()
    item = item.with_(proposal=proposal.with_(commit=commit), change=change.with_(commit=commit))
    owed = f" It still wants: {'; '.join(proposal.blockers)}." if proposal.blockers else ""
    approve = "review and approve it there, or " if proposal.number else ""
    return ask(item, f"{why}; see {where(proposal)}: {approve}`appliance item approve {item.id}`.{owed}")


def where(proposal: Proposal) -> str:
    """Where people find it."""
    named = f"request {proposal.number} {proposal.url}".rstrip()
    return named if proposal.number else f"branch {proposal.branch}"


def draft(item: WorkItem, change: Change, parts: Parts) -> Draft:
    """The merge request as it should be."""
    closes = item.origin.number if item.origin and item.origin.kind == "issue" else ""
    return Draft(
        item=item.id, branch=change.branch, target=parts.repository.branch, title=unlinked(f"Fix: {item.title}"),
        text=story(item, change, parts.settings.console.address), closes=closes,
        over=item.proposal.commit if item.proposal else "",
    )  # fmt: skip


def shipped(item: WorkItem, change: Change, commit: str, previous: str, how: str, facts: dict[str, object]) -> Outcome:
    """The release."""
    if landed_untested(item, commit):
        how += f"; {item.verdicts[-1].evidence['reason']}; all tests are run on the branch"
    release = Release(item=item.id, repo=item.repo, branch=change.branch, commit=commit, previous=previous)
    done = item.with_(
        change=change.with_(commit=commit), release=release, state=State.SHIPPED, stage="monitor", waiting_for=""
    )
    by = f"person:{item.approvals['ship']}" if "ship" in item.approvals else "rule"
    return Outcome(item=done, reason=f"{commit[:12]}: {how}", by=by, facts={"commit": commit, **facts})


def rebuild(item: WorkItem, why: str) -> Outcome:
    """The change does not hold on today's branch: plan again from there. What was approved is not what will come."""
    plan = of_a_person(item.plan)
    if item.change is not None and item.change.author:
        told = hand.waiting(item.id, f"{why}; fetch the branch and make the patch anew")
        waits = {"state": State.TRIAGED} if plan else {"state": State.NEEDS_HUMAN, "waiting_for": told}
        back = item.with_(stage="plan", change=None, plan=plan, approvals={}, **waits)
        return Outcome(item=back, reason=f"{why}; {item.taken_by} is asked for a new patch", by="rule")
    back = item.with_(state=State.TRIAGED, stage="plan", change=None, plan=plan, approvals={})
    return Outcome(item=back, reason=f"{why}; planned again from today's branch", by="rule")


def ask(item: WorkItem, why: str) -> Outcome:
    """Stop for a person."""
    return Outcome(item=item.with_(state=State.NEEDS_HUMAN, stage="ship", waiting_for=why), reason=why, by="rule")
