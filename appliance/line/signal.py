"""Stage signal: what the outside world said becomes a work item."""

from __future__ import annotations

from appliance.work import Kind, Outcome, Signal, State, WorkItem

LONGEST_TITLE = 200


def run(signal: Signal) -> Outcome:
    """Open the item of a signal. Its id comes from the ledger, so that repeating opens nothing twice."""
    title = " ".join(signal.title.split())[:LONGEST_TITLE] or "(no title)"
    item = WorkItem(
        id="",
        repo=signal.repo,
        title=title,
        body=signal.body,
        kind=signal.kind or Kind.BUG,
        signals=(signal.id,),
        origin=signal.origin,
        state=State.RECEIVED,
        stage="triage",
    )
    told = f"kind given as {signal.kind}" if signal.kind else "kind left to triage"
    return Outcome(
        item=item,
        reason=f"signal {signal.id} from {signal.source} opened it; {told}",
        by="rule",
        facts={"source": signal.source, "kind_given": bool(signal.kind)},
    )
