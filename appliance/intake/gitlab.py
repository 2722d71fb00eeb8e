"""GitLab: one shape of its own, told apart by `object_kind`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from appliance.intake.fields import Fields
from appliance.intake.signatures import Headers, same, signed_with_time
from appliance.news import ChangeNews, CommentNews, IssueNews, News, PipelineNews, PushNews, ReviewNews
from appliance.work import Origin

ACTIONS = {"open": "opened", "close": "closed", "reopen": "reopened"}
STATES: dict[str, Literal["open", "merged", "closed"]] = {
    "open": "open", "reopen": "open", "merge": "merged", "close": "closed",
}  # fmt: skip
VERDICTS: dict[str, Literal["approved", "dismissed"]] = {
    "approved": "approved", "approval": "approved", "unapproved": "dismissed", "unapproval": "dismissed",
}  # fmt: skip
"""`approval` is one person's, `approved` the last one that was owed."""


def recognise(headers: Headers) -> tuple[str, str] | None:
    """Event and delivery id; None when it is not from here."""
    event = headers.get("x-gitlab-event", "")
    names = ("idempotency-key", "webhook-id", "x-gitlab-event-uuid")
    return (event, next((headers[name] for name in names if headers.get(name)), "")) if event else None


def verify(headers: Headers, body: bytes, secrets: Sequence[str]) -> bool:
    """Is the signature right, or the plain token of older releases? A signature that is wrong is not made up for."""
    if "webhook-signature" in headers:
        return signed_with_time(headers, body, secrets)
    return same(headers.get("x-gitlab-token", ""), secrets)


def read(_event: str, body: Fields) -> tuple[News, ...]:
    """What an event says; nothing for those nobody acts on. Raises UsageError."""
    reader = READERS.get(body.some("object_kind"))
    return reader(body) if reader else ()


def _by(body: Fields) -> str:
    return body.maybe("user").text("username")


def issue(body: Fields) -> tuple[News, ...]:
    """An issue was opened or changed."""
    told = body.at("object_attributes")
    changed = body.maybe("changes")
    action = told.text("action")
    if action == "update":
        done = "labelled" if "labels" in changed else "assigned" if "assignees" in changed else "edited"
    elif action in ACTIONS:
        done = ACTIONS[action]
    else:
        return ()
    return (
        IssueNews(
            by=_by(body), action=done, origin=_origin(told, "issue"), title=told.title("title"),
            body=told.text("description"), author=_by(body) if action == "open" else "",
            labels=tuple(label.some("title") for label in body.each("labels")),
            assignees=tuple(one.some("username") for one in body.each("assignees")),
            open=told.some("state") == "opened",
        ),
    )  # fmt: skip


def note(body: Fields) -> tuple[News, ...]:
    """Somebody wrote under an issue or a merge request, or beside its lines."""
    said = body.at("object_attributes")
    if said.true("system") or said.text("action") == "update":
        return ()
    where = said.some("noteable_type")
    if where not in ("Issue", "MergeRequest"):
        return ()
    news = {"by": _by(body), "id": said.number("id"), "text": said.text("note")}
    if where == "Issue":
        issue = body.at("issue")
        origin = Origin(number=issue.number("iid"), url=said.text("url"))
        return (CommentNews(origin=origin, title=issue.text("title"), body=issue.text("description"), **news),)
    told = body.at("merge_request")
    origin = Origin(kind="change", number=told.number("iid"), url=said.text("url"))
    return (CommentNews(origin=origin, branch=told.text("source_branch"), **news),)


def merge_request(body: Fields) -> tuple[News, ...]:
    """A merge request was opened, merged, closed, approved, or lost an approval."""
    told = body.at("object_attributes")
    action, branch = told.text("action"), told.some("source_branch")
    if action in STATES:
        commit = (told.commit("merge_commit_sha") or told.commit("squash_commit_sha")) if action == "merge" else ""
        where = _origin(told, "change")
        return (ChangeNews(by=_by(body), origin=where, state=STATES[action], branch=branch, commit=commit),)
    if action in VERDICTS:
        commit, where = told.maybe("last_commit").commit("id"), _origin(told, "change")
        return (ReviewNews(by=_by(body), origin=where, verdict=VERDICTS[action], branch=branch, commit=commit),)
    return ()


def push(body: Fields) -> tuple[News, ...]:
    """A branch moved."""
    branch = body.branch("ref") if body.some("ref") else ""
    if not branch:
        return ()
    before, after = body.commit("before"), body.commit("after")
    return (PushNews(by=body.text("user_username"), branch=branch, before=before, after=after),)


def pipeline(body: Fields) -> tuple[News, ...]:
    """A pipeline came to its end."""
    told = body.at("object_attributes")
    ended: dict[str, Literal["success", "failure"]] = {"success": "success", "failed": "failure"}
    outcome = ended.get(told.some("status"))
    if outcome is None:
        return ()
    return (
        PipelineNews(
            by=_by(body), name=told.text("name") or f"pipeline {told.number('id')}", outcome=outcome,
            branch="" if told.true("tag") else told.text("ref"), commit=told.some("sha"), url=told.text("url"),
        ),
    )  # fmt: skip


def _origin(told: Fields, kind: Literal["issue", "change"]) -> Origin:
    return Origin(kind=kind, number=told.number("iid"), url=told.text("url"))


READERS = {"issue": issue, "note": note, "merge_request": merge_request, "push": push, "pipeline": pipeline}
"""`object_kind` → its reader; other kinds say nothing."""
