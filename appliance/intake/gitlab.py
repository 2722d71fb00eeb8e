"""GitLab: one shape of its own, told apart by `object_kind`."""

from __future__ import annotations

import re
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
VERDICTS: dict[str, Literal["approved", "changes", "dismissed"]] = {
    "approved": "approved", "approval": "approved", "unapproved": "dismissed", "unapproval": "dismissed",
}  # fmt: skip
"""`approval` is one person's, `approved` the last one that was owed."""

ENDED: dict[str, Literal["success", "failure"]] = {"success": "success", "failed": "failure"}
OF_REQUEST = re.compile(r"refs/merge-requests/(?P<number>\d+)/(?P<what>head|merge|train)")
"""References of a request's pipelines: on its own commit, on its merge tried out, in its place in a merge train."""
OWN = "factory/"
"""How the box's own commit statuses begin."""


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
            added=(*_added(changed, "labels", "title"), *_added(changed, "assignees", "username")),
            closed=told.moment("closed_at"),
        ),
    )  # fmt: skip


def _added(changed: Fields, what: str, name: str) -> tuple[str, ...]:
    """What is there now and was not before."""
    moved = changed.maybe(what)
    before = {one.text(name) for one in moved.each("previous")}
    return tuple(one.some(name) for one in moved.each("current") if one.text(name) not in before)


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
    """A merge request was opened, merged, closed, approved, lost an approval, or changes were asked for."""
    told = body.at("object_attributes")
    action, branch, where = told.text("action"), told.some("source_branch"), _origin(told, "change")
    head = told.maybe("last_commit").commit("id")
    if action in STATES:
        made = told.commit("merge_commit_sha") or told.commit("squash_commit_sha")  # a fast-forward makes neither
        commit = (made or head) if action == "merge" else ""
        return (ChangeNews(by=_by(body), origin=where, state=STATES[action], branch=branch, commit=commit),)
    verdict = VERDICTS.get(action) or ("changes" if action == "update" and _asks_for_changes(body) else None)
    if verdict is None:
        return ()
    return (ReviewNews(by=_by(body), origin=where, verdict=verdict, branch=branch, commit=head),)


def _asks_for_changes(body: Fields) -> bool:
    """Did who did this come to ask for changes just now? Reviewers are told before and after, with their states; an
    approval that is taken back, or a reviewer who is asked again, changes these too."""
    moved = body.maybe("changes").content.get("reviewers")
    sides = [moved.get("previous"), moved.get("current")] if isinstance(moved, dict) else moved
    if not isinstance(sides, list) or len(sides) != 2:
        return False
    before, after = (_asking(side) for side in sides)
    return _by(body) in after - before


def _asking(side: object) -> set[str]:
    """Logins of the reviewers who ask for changes."""
    rows = side if isinstance(side, list) else []
    return {
        str(one.get("username", "")) for one in rows
        if isinstance(one, dict) and one.get("state") == "requested_changes"
    }  # fmt: skip


def push(body: Fields) -> tuple[News, ...]:
    """A branch moved."""
    branch = body.branch("ref") if body.some("ref") else ""
    if not branch:
        return ()
    before, after = body.commit("before"), body.commit("after")
    return (PushNews(by=body.text("user_username"), branch=branch, before=before, after=after),)


def pipeline(body: Fields) -> tuple[News, ...]:
    """A pipeline came to its end. One from outside consists of commit statuses, each of which counts for itself."""
    told = body.at("object_attributes")
    if told.text("source") == "external":
        return tuple(_job(body, job) for job in body.each("builds") if job.text("status") in ENDED)
    outcome = ENDED.get(told.some("status"))
    failed = [job.some("name") for job in body.each("builds") if job.text("status") == "failed" and not _may_fail(job)]
    if outcome is None or (failed and all(name.startswith(OWN) for name in failed)):
        return ()  # what the box said of its own change is no news to it
    # whoever pushed is named as its user, the box among them, and did not make it fail
    of_request = OF_REQUEST.fullmatch(told.text("ref"))
    kind = "merge train" if of_request and of_request["what"] == "train" else told.text("source") or "push"
    name = told.text("name") or f"{kind} pipeline"  # the same for the one that mends it
    request = body.maybe("merge_request")
    number = request.number("iid") if "iid" in request else of_request["number"] if of_request else ""
    text = f"Failed jobs: {', '.join(failed)}" if failed else ""
    return (
        PipelineNews(
            name=name, outcome=outcome, branch=request.text("source_branch") or ("" if of_request else _branch(told)),
            request=number, commit=told.some("sha"), url=_page(body), text=text,
        ),
    )  # fmt: skip


def _job(body: Fields, job: Fields) -> PipelineNews:
    """One commit status."""
    told = body.at("object_attributes")
    return PipelineNews(
        by=job.maybe("user").text("username"), name=job.some("name"), outcome=ENDED[job.text("status")],
        branch=_branch(told), commit=told.some("sha"), url=_page(body),
    )  # fmt: skip


def _may_fail(job: Fields) -> bool:
    return job.true("allow_failure")


def _branch(pipeline: Fields) -> str:
    return "" if pipeline.true("tag") else pipeline.text("ref")


def _page(body: Fields) -> str:
    """The pipeline's page; older releases do not say it."""
    told = body.at("object_attributes")
    place = body.maybe("project").text("web_url")
    return told.text("url") or (f"{place}/-/pipelines/{told.number('id')}" if place else "")


def _origin(told: Fields, kind: Literal["issue", "change"]) -> Origin:
    return Origin(kind=kind, number=told.number("iid"), url=told.text("url"))


READERS = {"issue": issue, "note": note, "merge_request": merge_request, "push": push, "pipeline": pipeline}
"""`object_kind` → its reader; other kinds say nothing."""
