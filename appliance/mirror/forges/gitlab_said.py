"""What GitLab's answers say, in our words: states, what a merge waits for, news, webhooks. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from appliance.mirror.forges.words import closed_at, when
from appliance.news import ChangeNews, CommentNews, IssueNews, ReviewNews
from appliance.work import Origin

STATES: dict[str, Literal["open", "merged", "closed"]] = {
    "opened": "open", "locked": "open", "merged": "merged", "closed": "closed",
}  # fmt: skip
"""A request is locked while its merge is under way."""

PENDING = frozenset({"unchecked", "checking", "preparing", "approvals_syncing", "cannot_be_merged_recheck"})
"""The forge still works out whether the request merges."""

WAITS = {
    "conflict": "it does not merge cleanly", "draft_status": "it is a draft",
    "ci_must_pass": "its pipeline has to pass", "ci_still_running": "its pipeline is still running",
    "discussions_not_resolved": "a discussion is not resolved", "not_open": "it is not open",
    "commits_status": "its branch is gone, or has nothing new",
    "jira_association_missing": "it names no Jira issue", "locked_lfs_files": "a file of it is locked",
    "merge_request_blocked": "another request has to be merged first", "locked_paths": "somebody locked a file of it",
    "merge_time": "it has to wait for a set time", "security_policy_violations": "a security policy is not met",
    "security_policy_pipeline_check": "a security policy is not met", "requested_changes": "changes are asked for",
    "status_checks_must_pass": "an external check has not passed", "not_approved": "an approval of people is required",
    "title_regex": "its title lacks the form asked for",
}  # fmt: skip
"""`detailed_merge_status` → why it is not merged now."""

OLDER = {"can_be_merged": "mergeable", "cannot_be_merged": "conflict"}
"""What releases before 15.6 say, which know no more."""

REVIEWS: dict[str, Literal["approved", "changes", "dismissed"]] = {
    "approved this merge request": "approved", "unapproved this merge request": "dismissed",
    "requested changes": "changes",
}  # fmt: skip
"""How the forge's own notes under a request tell of a review."""

TOGETHER = timedelta(seconds=60)
"""A review's notes are written one after the other, its verdict last."""

TRIGGERS = {
    "issues_events": "Issues events", "note_events": "Comments", "merge_requests_events": "Merge request events",
    "push_events": "Push events", "pipeline_events": "Pipeline events",
}  # fmt: skip
"""What a webhook must send: the field, and what the page for people calls it."""


def login(person: Mapping[str, Any] | None) -> str:
    """A person's login; "" for an account that is gone."""
    return str((person or {}).get("username", ""))


def status_of(request: Mapping[str, Any]) -> str:
    """Why it merges or does not, in the forge's word of today."""
    told = request.get("detailed_merge_status") or request.get("merge_status") or ""
    return OLDER.get(str(told), str(told))


def landed(request: Mapping[str, Any]) -> str:
    """The commit that a merged request left on its target: a fast-forward leaves the request's own."""
    return str(request.get("merge_commit_sha") or request.get("squash_commit_sha") or request["sha"])


def blockers(request: Mapping[str, Any], approvals: Mapping[str, Any], against: Sequence[str]) -> tuple[str, ...]:
    """What an open request waits for."""
    left = int(approvals.get("approvals_left") or 0)
    rules = [
        str(rule["name"]) for rule in approvals.get("approval_rules_left") or ()
        if rule.get("rule_type") != "any_approver"
    ]  # fmt: skip
    found = [f"{who} asks for changes" for who in against]
    if left or rules:
        which = f" ({', '.join(rules)})" if rules else ""
        found.insert(0, f"{max(left, 1)} more approval{'s' if left > 1 else ''} of people is required{which}")
    status = status_of(request)
    # the box itself builds a change again whose target moved
    told = {"not_approved": bool(left or rules), "requested_changes": bool(against), "need_rebase": True}
    if status != "mergeable" and status not in PENDING and not told.get(status):
        found.append(WAITS.get(status, f"the forge says {status or 'nothing'}"))
    return tuple(found)


def pushed(versions: Sequence[Mapping[str, Any]], request: Mapping[str, Any]) -> datetime:
    """When the request came to be what it is now."""
    return max((when(one["created_at"]) for one in versions), default=when(request["created_at"]))


def approved_since(
    approvals: Mapping[str, Any], notes: Iterable[Mapping[str, Any]], since: datetime
) -> tuple[str, ...]:
    """Whose approval stands and is of this head. The forge may keep approvals when the branch moves, and does not say
    of which commit they were; newer releases say when they were given, and for all of them the forge's own notes do."""
    recent = {
        login(note["author"])
        for note in notes
        if review_of(note) == "approved" and when(note["created_at"]) >= since
    }  # fmt: skip
    recent |= {
        login(one["user"])
        for one in approvals["approved_by"]
        if one.get("approved_at") and when(one["approved_at"]) >= since
    }
    return tuple(sorted({login(one["user"]) for one in approvals["approved_by"]} & recent))


def approvals_in_words(rules: Sequence[Mapping[str, Any]] | None, branch: str, owners: bool) -> str:
    """How many approvals a merge into a branch needs. `rules` is None where the edition has none."""
    if rules is None:
        return "reviews required: none, this edition cannot require them; below autonomy high the box waits for one"
    applying = [
        rule["approvals_required"] for rule in rules
        if not rule.get("protected_branches") or branch in [one["name"] for one in rule["protected_branches"]]
    ]  # fmt: skip
    among = ", code owners among them" if owners else ""
    return f"reviews required: {max(applying, default=0)}{among}"


def review_of(note: Mapping[str, Any]) -> Literal["approved", "changes", "dismissed"] | None:
    """The review that one of the forge's own notes tells of."""
    if not note["system"]:
        return None
    return next((verdict for words, verdict in REVIEWS.items() if note["body"].startswith(words)), None)


def of_issue(issue: Mapping[str, Any], labelled: Iterable[Mapping[str, Any]], since: str) -> Iterable[IssueNews]:
    """An issue as it stands, when it changed since a time: once for everybody who put labels there, once for who closed
    it. Who else changed it is not told; its author may have been another."""
    if when(issue["updated_at"]) < when(since):
        return
    told = IssueNews(
        at=when(issue["updated_at"]), action="edited", title=issue["title"], body=issue["description"] or "",
        origin=_origin(issue, "issue"), author=login(issue["author"]), labels=tuple(issue["labels"]),
        assignees=tuple(login(person) for person in issue["assignees"]), open=issue["state"] == "opened",
        closed=closed_at(issue),
    )  # fmt: skip
    if not told.open:
        yield told.with_(by=login(issue.get("closed_by")))
        return
    fresh = [one for one in labelled if one["action"] == "add" and when(one["created_at"]) >= when(since)]
    people = dict.fromkeys(login(one["user"]) for one in fresh)
    for who in people:
        added = tuple(str((one["label"] or {}).get("name", "")) for one in fresh if login(one["user"]) == who)
        yield told.with_(by=who, action="labelled", added=added)
    if not people:
        yield told


def of_change(request: Mapping[str, Any], since: str) -> Iterable[ChangeNews]:
    """A request as it stands, when it changed since a time."""
    if when(request["updated_at"]) < when(since):
        return
    state = STATES[request["state"]]
    merged = state == "merged"
    who = (request.get("merge_user") or request.get("merged_by")) if merged else request.get("closed_by")
    yield ChangeNews(
        by=login(who), at=when(request["updated_at"]), origin=_origin(request, "change"), state=state,
        branch=request["source_branch"], commit=landed(request) if merged else "",
    )  # fmt: skip


def as_said(
    thread: Mapping[str, Any], kind: Literal["issue", "change"], notes: Sequence[Mapping[str, Any]],
    versions: Sequence[Mapping[str, Any]], since: str,
) -> Iterable[CommentNews | ReviewNews]:  # fmt: skip
    """What people wrote under an issue or a request since a time, and the reviews that its own notes tell of."""
    origin, branch = _origin(thread, kind), thread.get("source_branch", "")
    for note in notes:
        who, at = login(note["author"]), when(note["updated_at"])
        if at < when(since):
            continue
        verdict = review_of(note) if kind == "change" else None
        if verdict:
            yield ReviewNews(
                by=who, at=at, origin=origin, verdict=verdict, branch=branch, commit=reviewed(note, versions),
                text=reasons(note, notes) if verdict == "changes" else "",
            )  # fmt: skip
        elif not note["system"]:
            yield CommentNews(by=who, at=at, origin=origin, id=str(note["id"]), text=note["body"], branch=branch)


def reviewed(note: Mapping[str, Any], versions: Sequence[Mapping[str, Any]]) -> str:
    """The head that a review was of: the last one pushed before it."""
    before = [one for one in versions if when(one["created_at"]) <= when(note["created_at"])]
    return str(max(before, key=lambda one: when(one["created_at"]))["head_commit_sha"]) if before else ""


def reasons(verdict: Mapping[str, Any], notes: Iterable[Mapping[str, Any]]) -> str:
    """What a reviewer wrote together with a verdict, which has no words of its own; commands stand for themselves."""
    at, who = when(verdict["created_at"]), login(verdict["author"])
    words = [
        note for note in notes
        if not note["system"] and login(note["author"]) == who and abs(when(note["created_at"]) - at) <= TOGETHER
        and not note["body"].lstrip().startswith("/factory")
    ]  # fmt: skip
    return "\n\n".join(str(note["body"]) for note in sorted(words, key=lambda one: when(one["created_at"])))


def old_line(diff: str, line: int) -> int | None:
    """Where a line of the new side was before; None for one that is new. A comment has to name both.

    >>> text = "@@ -1,2 +1,3 @@\\n one\\n+two\\n three\\n"
    >>> [old_line(text, line) for line in (1, 2, 3, 9)]
    [1, None, 2, 8]
    """
    old = new = 1
    for row in diff.splitlines():
        hunk = re.match(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", row)
        if hunk:
            begins = int(hunk[3]) + (hunk[4] == "0")  # a side without lines names the line before it
            if line < begins:
                break
            old, new = int(hunk[1]) + (hunk[2] == "0"), begins
        elif row.startswith("+"):
            if new == line:
                return None
            new += 1
        elif row.startswith("-"):
            old += 1
        elif row.startswith(" "):
            if new == line:
                return old
            old, new = old + 1, new + 1
    return line - new + old


def wrong_with(hook: Mapping[str, Any]) -> str:
    """What is wrong with a webhook to the box; "" when it works, as far as the forge tells."""
    if hook.get("alert_status", "executable") != "executable":
        return "the forge switched the webhook off after failed deliveries"
    missing = [name for field, name in TRIGGERS.items() if not hook.get(field)]
    return f"the webhook does not send {', '.join(missing)}" if missing else ""


def harmless(text: str) -> str:
    r"""The text without quick actions: a line that begins with a slash would be carried out as the box's own wish. In
    code too, for whose end is disputable; and behind any blank, for carriage returns are taken out before it is read.

    >>> harmless("look:\n/merge")
    'look:\n\\/merge'
    """
    return re.sub(r"^([^\S\n]*)/", r"\1\\/", text, flags=re.MULTILINE)


def ready(title: str) -> str:
    """A title that does not make the request a draft."""
    return re.sub(r"^(\s*(\[draft\]|\(draft\)|draft:|draft -))+\s*", "", title, flags=re.IGNORECASE) or "Change"


def _origin(thread: Mapping[str, Any], kind: Literal["issue", "change"]) -> Origin:
    return Origin(kind=kind, number=str(thread["iid"]), url=thread["web_url"])
