"""Stage learn: the outcome as facts, which the learning store reads from the ledger."""

from __future__ import annotations

from appliance.line.parts import Parts
from appliance.work import Autonomy, Outcome, State, WorkItem


def run(item: WorkItem, parts: Parts) -> Outcome:
    """Close the item with what a later choice can learn from."""
    assert item.plan is not None and item.change is not None, "the runner learns from monitored items only"
    winner = item.attempts[-1]
    by_hand = bool(item.approvals or item.answers or item.taken_by or item.plan.by)
    facts = {
        "repo": item.repo,
        "strategy": winner.strategy,
        "model": winner.model,
        "origin": item.change.author_model,
        **won(item),
        "attempts": len(item.attempts),
        "candidates_tried": sum(attempt.tried for attempt in item.attempts),
        "tokens": sum(attempt.prompt_tokens + attempt.completion_tokens for attempt in item.attempts),
        "model_seconds": round(sum(attempt.model_seconds for attempt in item.attempts), 3),
        "build_seconds": round(sum(attempt.wall_seconds for attempt in item.attempts), 2),
        "refused_changes": len(item.refused_diffs),
        "files": list(item.change.files),
        "insertions": item.change.insertions,
        "deletions": item.change.deletions,
        "suspect_rank": rank_of_change(item),
        "without_a_person": not by_hand and item.autonomy.effective is Autonomy.HIGH,
        "seconds_from_signal": round((parts.clock.now() - item.created).total_seconds(), 1),
    }
    hands = "with a person's word" if by_hand else "without a person"
    reason = (
        f"closed {hands} after {len(item.attempts)} attempt(s) and {facts['candidates_tried']} candidates; "
        f"{facts['seconds_from_signal']} s from signal to close"
    )
    return Outcome(item=item.with_(state=State.CLOSED, stage="learn"), reason=reason, by="rule", facts=facts)


def won(item: WorkItem) -> dict[str, object]:
    """The candidate that the change was made of: what kind of edit, where."""
    assert item.change is not None
    built = [one for attempt in reversed(item.attempts) for one in attempt.candidates]
    candidate = next((one for one in built if item.change.diff.startswith(one.diff)), None)
    if candidate is None:
        return {}
    by_search = item.change.author_model.startswith("search:")
    return {
        "template": candidate.origin if by_search else "",
        "place": candidate.place,
        "paths": sorted(candidate.files),
    }


def rank_of_change(item: WorkItem) -> int:
    """Where in the plan's list of suspects the first touched file stood, from 1; 0 when it was not listed."""
    assert item.plan is not None and item.change is not None
    touched = set(item.change.files)
    return next((n for n, suspect in enumerate(item.plan.suspects, start=1) if suspect.path in touched), 0)
