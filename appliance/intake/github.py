"""GitHub Enterprise, and what Gitea and Forgejo say in the same words (`gitea.py` has the rest)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from appliance.errors import UsageError
from appliance.intake.fields import Fields
from appliance.intake.signatures import Headers, signed
from appliance.news import ChangeNews, CommentNews, IssueNews, News, PipelineNews, PushNews, ReviewNews
from appliance.work import Origin

ACTIONS = {
    "opened": "opened", "edited": "edited", "labeled": "labelled", "unlabeled": "unlabelled", "assigned": "assigned",
    "unassigned": "unassigned", "closed": "closed", "reopened": "reopened", "label_updated": "labelled",
    "label_cleared": "unlabelled",
}  # fmt: skip
"""What is done to an issue, in the words of `IssueNews`; the last two are Gitea's. Others say nothing."""

VERDICTS: dict[str, Literal["approved", "changes", "commented", "dismissed"]] = {
    "approved": "approved", "changes_requested": "changes", "commented": "commented", "dismissed": "dismissed",
}  # fmt: skip

FAILURES = frozenset({"failure", "error", "timed_out", "startup_failure"})


def recognise(headers: Headers) -> tuple[str, str] | None:
    """Event and delivery id; None when it is not from here."""
    if "x-github-event" not in headers or "x-gitea-event" in headers:  # Gitea and Forgejo send these headers as well
        return None
    return headers["x-github-event"], headers.get("x-github-delivery", "")


def verify(headers: Headers, body: bytes, secrets: Sequence[str]) -> bool:
    """Is the signature right?"""
    scheme, _, offered = headers.get("x-hub-signature-256", "").partition("=")
    return scheme == "sha256" and signed(offered, body, secrets)


def read(event: str, body: Fields) -> tuple[News, ...]:
    """What an event says; nothing for those nobody acts on. Raises UsageError."""
    reader = READERS.get(event)
    return reader(body) if reader else ()


def by(body: Fields) -> str:
    """Login of who did it."""
    return body.maybe("sender").text("login")


def issue(body: Fields) -> tuple[News, ...]:
    """An issue was opened or changed."""
    action, told = ACTIONS.get(body.some("action")), body.at("issue")
    if action is None or "pull_request" in told:
        return ()
    return (
        IssueNews(
            by=by(body), action=action, origin=origin(told, "issue"), title=told.title("title"),
            body=told.text("body"), author=told.maybe("user").text("login"),
            labels=tuple(label.some("name") for label in told.each("labels")),
            assignees=tuple(one.some("login") for one in told.each("assignees")), open=told.some("state") == "open",
            added=_added(body, action), closed=told.moment("closed_at"),
        ),
    )  # fmt: skip


def _added(body: Fields, action: str) -> tuple[str, ...]:
    """The label or login that was put there."""
    names = {"labelled": body.maybe("label").text("name"), "assigned": body.maybe("assignee").text("login")}
    return (names[action],) if names.get(action) else ()


def comment(body: Fields) -> tuple[News, ...]:
    """Somebody wrote under an issue or a pull request, or beside its lines."""
    if body.some("action") != "created":
        return ()
    said = body.at("comment")
    news = {"by": by(body), "id": said.number("id"), "text": said.text("body")}
    if "pull_request" in body:
        change = body.at("pull_request")
        branch = change.maybe("head").text("ref")
        return (CommentNews(origin=origin(change, "change"), branch=branch, **news),)
    told = body.at("issue")
    if "pull_request" in told:
        return (CommentNews(origin=origin(told, "change"), **news),)
    under = {"title": told.text("title"), "body": told.text("body"), "author": told.maybe("user").text("login")}
    return (CommentNews(origin=origin(told, "issue"), **news, **under),)


def change(body: Fields) -> tuple[News, ...]:
    """A pull request was opened, merged or closed."""
    if body.some("action") not in ("opened", "reopened", "closed"):
        return ()
    told = body.at("pull_request")
    merged = told.true("merged")
    state: Literal["open", "merged", "closed"] = (
        "merged" if merged else "open" if told.some("state") == "open" else "closed"
    )
    commit = told.commit("merge_commit_sha") if merged else ""  # before the merge it names a trial of GitHub's
    branch = told.at("head").some("ref")
    return (ChangeNews(by=by(body), origin=origin(told, "change"), state=state, branch=branch, commit=commit),)


def review(body: Fields) -> tuple[News, ...]:
    """Somebody reviewed a pull request, or a review was dismissed."""
    if body.some("action") not in ("submitted", "dismissed"):
        return ()
    told, said = body.at("pull_request"), body.at("review")
    verdict = VERDICTS.get(said.some("state").lower())
    if verdict is None:
        raise UsageError(f"a review cannot be {said.text('state')!r}", f"known: {', '.join(VERDICTS)}")
    return (
        ReviewNews(
            by=by(body), origin=origin(told, "change"), verdict=verdict, text=said.text("body"),
            branch=told.maybe("head").text("ref"), commit=said.commit("commit_id"),
        ),
    )  # fmt: skip


def push(body: Fields) -> tuple[News, ...]:
    """A branch moved; tags say nothing."""
    branch = body.branch("ref") if body.some("ref") else ""
    if not branch:
        return ()
    return (PushNews(by=by(body), branch=branch, before=body.commit("before"), after=body.commit("after")),)


def workflow(body: Fields) -> tuple[News, ...]:
    """A workflow came to its end."""
    run = body.at("workflow_run")
    if body.some("action") != "completed":
        return ()
    return _ended(
        by(body), run.some("name"), run.text("conclusion"), run.text("head_branch"), run.text("head_sha"),
        run.text("html_url"), "",
    )  # fmt: skip


def status(body: Fields) -> tuple[News, ...]:
    """A commit status was set."""
    branches = body.each("branches")
    return _ended(
        by(body), body.some("context"), body.some("state"), branches[0].text("name") if branches else "",
        body.some("sha"), body.text("target_url"), body.text("description"),
    )  # fmt: skip


def _ended(who: str, name: str, result: str, branch: str, commit: str, url: str, text: str) -> tuple[News, ...]:
    if result != "success" and result not in FAILURES:
        return ()
    outcome: Literal["success", "failure"] = "success" if result == "success" else "failure"
    return (PipelineNews(by=who, name=name, outcome=outcome, branch=branch, commit=commit, url=url, text=text),)


def origin(told: Fields, kind: Literal["issue", "change"]) -> Origin:
    """Where it was said."""
    return Origin(kind=kind, number=told.number("number"), url=told.text("html_url"))


READERS = {
    "issues": issue, "issue_comment": comment, "pull_request_review_comment": comment, "pull_request": change,
    "pull_request_review": review, "push": push, "workflow_run": workflow, "status": status,
}  # fmt: skip
"""Event → its reader. `ping` and whatever else may be sent say nothing."""
