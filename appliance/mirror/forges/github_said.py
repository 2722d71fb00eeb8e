"""What GitHub's answers say, in our words: states, reviews, news, webhooks. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from appliance.mirror.forges.alike import login
from appliance.mirror.forges.words import closed_at, when
from appliance.news import ChangeNews, CommentNews, IssueNews, ReviewNews
from appliance.work import Origin

VERDICTS: dict[str, Literal["approved", "changes", "commented", "dismissed"]] = {
    "APPROVED": "approved", "CHANGES_REQUESTED": "changes", "COMMENTED": "commented", "DISMISSED": "dismissed",
}  # fmt: skip


def state_of(pull: Mapping[str, Any]) -> Literal["open", "merged", "closed"]:
    """How a request stands. The forge calls a merged one closed."""
    if pull.get("merged_at"):
        return "merged"
    return "open" if pull["state"] == "open" else "closed"


def from_fork(pull: Mapping[str, Any]) -> bool:
    """Does the request's branch lie in another repository? A fork that was deleted is None."""
    head, base = pull["head"].get("repo"), pull["base"].get("repo")
    return head is None or base is None or head["full_name"] != base["full_name"]


def last_words(reviews: Sequence[Mapping[str, Any]], head: str) -> dict[str, str]:
    """What each reviewer's last word is: APPROVED for this very head, CHANGES_REQUESTED, or "" for a word that no
    longer counts. A mere comment takes nothing back."""
    last: dict[str, str] = {}
    for review in reviews:
        state = review["state"]
        if login(review) and state in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED"):
            counts = state == "CHANGES_REQUESTED" or (state == "APPROVED" and review["commit_id"] == head)
            last[login(review)] = state if counts else ""
    return {who: state for who, state in last.items() if state}


def as_issue(issue: Mapping[str, Any]) -> IssueNews:
    """An issue as it stands. Who changed it is told of a closed one alone: its author may have been another."""
    open_now = issue["state"] == "open"
    return IssueNews(
        by="" if open_now else str((issue.get("closed_by") or {}).get("login", "")), at=when(issue["updated_at"]),
        action="edited", title=issue["title"], body=issue["body"] or "",
        origin=Origin(number=str(issue["number"]), url=issue["html_url"]), author=login(issue),
        labels=tuple(label["name"] for label in issue["labels"]), open=open_now, closed=closed_at(issue),
        assignees=tuple(person["login"] for person in issue["assignees"]),
    )  # fmt: skip


def as_comment(comment: Mapping[str, Any]) -> CommentNews:
    """A comment under an issue or a request, or beside its lines; pages for people tell the two apart."""
    api = comment.get("pull_request_url") or comment["issue_url"]
    page = comment["html_url"].partition("#")[0]
    kind: Literal["issue", "change"] = "change" if "/pull/" in page else "issue"
    return CommentNews(
        by=login(comment), at=when(comment["updated_at"]), id=str(comment["id"]), text=comment["body"] or "",
        origin=Origin(kind=kind, number=api.rpartition("/")[2], url=page),
    )  # fmt: skip


def as_change(pull: Mapping[str, Any]) -> ChangeNews:
    """A request as it stands."""
    state = state_of(pull)
    merged = state == "merged"
    return ChangeNews(
        by=(pull.get("merged_by") or {}).get("login", "") if merged else "", at=when(pull["updated_at"]),
        origin=_request(pull), state=state, branch=pull["head"]["ref"],
        commit=(pull["merge_commit_sha"] or "") if merged else "",  # before the merge it names a trial of the forge's
    )  # fmt: skip


def as_reviews(pull: Mapping[str, Any], reviews: Sequence[Mapping[str, Any]], since: str) -> list[ReviewNews]:
    """Reviews since a time; and the dismissed ones at any time, for when they were dismissed is not told."""
    return [
        ReviewNews(
            by=login(review), at=when(review["submitted_at"]), origin=_request(pull), verdict=VERDICTS[review["state"]],
            text=review["body"] or "", branch=pull["head"]["ref"], commit=review["commit_id"] or "",
        )
        for review in reviews
        if review["state"] in VERDICTS
        and (review["state"] == "DISMISSED" or when(review["submitted_at"]) >= when(since))
    ]  # fmt: skip


def wrong_with(hook: Mapping[str, Any], events: Sequence[str]) -> str:
    """What is wrong with a webhook to the box; "" when it works, as far as its last delivery tells."""
    if not hook["active"]:
        return "the webhook is switched off"
    missing = [name for name in events if name not in hook["events"]]
    if missing and "*" not in hook["events"]:
        return f"the webhook does not send {', '.join(missing)}"
    if "last_response" not in hook:  # an organisation's webhook does not tell
        return ""
    last = hook["last_response"] or {}
    if last.get("code") is None:
        return "the webhook has delivered nothing yet: its page on the forge can send it a ping"
    if last["code"] >= 300 or last["code"] < 200:
        return f"the last delivery failed ({last['code']}): {last.get('message') or last.get('status')}"
    return ""


def _request(pull: Mapping[str, Any]) -> Origin:
    return Origin(kind="change", number=str(pull["number"]), url=pull["html_url"])
