"""What a branch on GitHub asks of a change: its protection and its rulesets as one, pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from appliance.errors import PolicyRefused

METHODS = {"merge": "allow_merge_commit", "squash": "allow_squash_merge", "rebase": "allow_rebase_merge"}
"""Merge methods, in the order of our liking, and the project's setting that allows each."""

HARMLESS = frozenset({"deletion", "non_fast_forward", "creation", "required_linear_history"})
"""Rules that a push of the box, which is never forced, cannot break."""


@dataclass(frozen=True)
class Rules:
    """As far as the token may see. `approvals` is None where it is not told."""

    free: bool
    """Nothing speaks against a push."""
    approvals: int | None = 0
    owners: bool = False
    """Code owners must approve what is theirs."""
    checks: tuple[str, ...] = ()
    linear: bool = False
    queued: bool = False
    methods: frozenset[str] = frozenset(METHODS)

    def method(self, project: Mapping[str, Any]) -> str:
        """A merge method that project and branch allow. Raises PolicyRefused when there is none."""
        allowed = [name for name, setting in METHODS.items() if project.get(setting, True) and name in self.methods]
        allowed = [name for name in allowed if name != "merge" or not self.linear]
        if not allowed:
            raise PolicyRefused("the project allows no merges", "Settings → Pull Requests: allow a merge method")
        return allowed[0]

    def told_by(self, refusal: str) -> Rules:
        """The rules with what the forge says when it refuses a merge: more than it tells a token that asks."""
        found = re.search(r"At least (\d+) approving review", refusal)
        return replace(self, approvals=int(found[1])) if found and self.approvals is None else self

    def in_words(self) -> str:
        """How changes come onto the branch."""
        if self.free:
            return "is pushed to"
        owed = "not told to this token" if self.approvals is None else str(self.approvals)
        owners = ", code owners among them" if self.owners else ""
        checks = f"; checks required: {', '.join(self.checks)}" if self.checks else ""
        return f"is merged into by request; reviews required: {owed}{owners}{checks}"

    def blockers(
        self, pull: Mapping[str, Any], approved: Sequence[str], against: Sequence[str], not_passed: Sequence[str]
    ) -> tuple[str, ...]:
        """Why the forge would not merge a request now, in words. Not because it is behind its target: the box builds
        such a change again."""
        state, owed = pull.get("mergeable_state"), (self.approvals or 0) - len(approved)
        found = [f"{owed} more approval{'s' if owed > 1 else ''} of people is required"] if owed > 0 else []
        found += [f"{who} asks for changes" for who in against]
        found += [f"the required check {name} has not passed" for name in not_passed]
        found += ["it does not merge cleanly"] if pull["mergeable"] is False or state == "dirty" else []
        found += ["it is a draft"] if pull.get("draft") else []
        if state == "blocked" and not found:
            person = "the review of a code owner" if self.owners else "1 more approval of people"
            found = [f"{person} is missing, or else a check or the end of a conversation that the branch requires"]
        return tuple(found)


def rules_of(branch: Mapping[str, Any], protection: Mapping[str, Any] | None, rulesets: Sequence[Any]) -> Rules:
    """The rules of a branch, from the branch itself, its protection (None when the token may not see it) and the
    rules that apply to it from rulesets."""
    kinds = {rule["type"] for rule in rulesets}
    asked = [rule.get("parameters") or {} for rule in rulesets if rule["type"] == "pull_request"]
    reviews = (protection or {}).get("required_pull_request_reviews") or {}
    told = [
        one["required_approving_review_count"] for one in (reviews, *asked) if "required_approving_review_count" in one
    ]
    unseen = branch["protected"] and protection is None
    methods = frozenset(METHODS)
    for one in asked:
        methods &= frozenset(one.get("allowed_merge_methods") or METHODS)
    linear = (protection or {}).get("required_linear_history") or {}
    return Rules(
        free=not branch["protected"] and kinds <= HARMLESS,
        approvals=max(told, default=None if unseen else 0),
        owners=bool(reviews.get("require_code_owner_reviews"))
        or any(one.get("require_code_owner_review") for one in asked),
        checks=_checks(branch, rulesets),
        linear=bool(linear.get("enabled")) or "required_linear_history" in kinds,
        queued="merge_queue" in kinds,
        methods=methods,
    )


def _checks(branch: Mapping[str, Any], rulesets: Sequence[Any]) -> tuple[str, ...]:
    """Names of the checks that must pass. Whoever may read a branch is told them."""
    told = (branch.get("protection") or {}).get("required_status_checks") or {}
    names = list(told.get("contexts") or ())
    for rule in rulesets:
        if rule["type"] == "required_status_checks":
            names += [one["context"] for one in (rule.get("parameters") or {}).get("required_status_checks") or ()]
    return tuple(dict.fromkeys(names))
