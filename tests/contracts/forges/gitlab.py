"""GitLab's REST API at /api/v4 and its webhooks as its published documents have them.

A project goes by its number or by its path in one part (`team%2Fshop`), issues and requests are numbered apart, a
request takes note of pushes and works out whether it merges after it was asked, and approvals are no reviews: they have
no words and are of no commit.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from flask import Flask

from tests.contracts.forges.gitlab_routes import ROUTES
from tests.contracts.forges.gitlab_shown import API, PUBLIC, Shown, encoded, millis
from tests.contracts.forges.nouns import ZERO, Change, Comment, Happened, Issue, Push, Review, Status
from tests.contracts.forges.server import Delivery

ACTIONS = {"opened": "open", "closed": "close", "reopened": "reopen", "merged": "merge"}
HOOKS = {
    "issue": "Issue Hook", "note": "Note Hook", "merge_request": "Merge Request Hook", "push": "Push Hook",
    "pipeline": "Pipeline Hook",
}  # fmt: skip


class Gitlab(Shown):
    def routes(self, app: Flask) -> None:
        inner = app.wsgi_app

        def as_sent(environ: dict[str, Any], start: Any) -> Any:
            path = urlsplit(environ["RAW_URI"]).path
            if path.startswith(API):
                environ["PATH_INFO"] = encoded(path)
            return inner(environ, start)

        app.wsgi_app = as_sent  # type: ignore[method-assign]
        for add in ROUTES:
            add(app, self)

    # -- webhooks -----------------------------------------------------------------------------------------------------

    def packets(self, happened: Happened) -> Iterable[tuple[str, dict[str, Any]]]:
        about = happened.about
        user = {"user": self.as_user(happened.by), "project": self.as_project_of_hook()}
        if isinstance(about, Issue):
            yield "issue", {**user, **self.hook_issue(about, happened)}
        elif isinstance(about, Change):
            yield "merge_request", {**user, **self.hook_request(about, happened)}
        elif isinstance(about, Comment):
            yield "note", {**user, **self.hook_note(about, happened)}
        elif isinstance(about, Review):
            yield from (("merge_request", {**user, **body}) for body in self.hook_review(about, happened))
            for line in about.lines if happened.action == "submitted" else ():
                told = Comment(line.id + 20_000, "change", about.number, line.by, line.text)
                yield "note", {**user, **self.hook_note(told, happened, "DiffNote")}
        elif isinstance(about, Push):
            told = {"ref": f"refs/heads/{about.branch}", "before": about.before, "after": about.after, "commits": []}
            ends = {"checkout_sha": None if about.after == ZERO else about.after, "total_commits_count": 0}
            login = {"user_username": happened.by, "user_name": happened.by.title()}
            yield "push", {"object_kind": "push", "event_name": "push", **told, **ends, **login, **user}
        elif isinstance(about, Status):
            yield "pipeline", {**user, **self.hook_pipeline(about)}

    def as_project_of_hook(self) -> dict[str, Any]:
        return {"id": 1, "name": "shop", "path_with_namespace": self.path, "default_branch": "main",
                "web_url": f"{self.url}/{self.path}"}  # fmt: skip

    def hook_thread(self, one: Issue | Change, happened: Happened) -> dict[str, Any]:
        """What hooks of issues and of requests have in common."""
        labels = [{"id": id, "title": name, "type": "ProjectLabel"} for id, name in enumerate(one.labels, 1)]
        changes: dict[str, Any] = {}
        if happened.action in ("labelled", "unlabelled"):
            before = [label for label in labels if label["title"] != happened.extra]
            changes["labels"] = {"previous": before, "current": labels}
        if happened.action in ("assigned", "unassigned"):
            people = [self.as_user(login) for login in one.assignees]
            before = [person for person in people if person["username"] != happened.extra]
            changes["assignees"] = {"previous": before, "current": people}
        return {
            "labels": labels, "changes": changes, "assignees": [self.as_user(login) for login in one.assignees],
            "object_attributes": {
                "id": one.number + 1000, "iid": one.number, "title": one.title, "description": one.body,
                "state": "opened" if one.open else "closed", "action": ACTIONS.get(happened.action, "update"),
                "author_id": self.as_user(one.by)["id"], "url": self.as_thread(one)["web_url"],
                "created_at": millis(one.created), "updated_at": millis(one.updated), "labels": labels,
                "closed_at": millis(one.closed) if one.closed else None,
            },
        }  # fmt: skip

    def hook_issue(self, one: Issue, happened: Happened) -> dict[str, Any]:
        return {"object_kind": "issue", "event_type": "issue", **self.hook_thread(one, happened)}

    def hook_request(self, one: Change, happened: Happened) -> dict[str, Any]:
        told = self.hook_thread(one, happened)
        made = one.merged if one.merged and self.parents(one.merged) > 1 else None
        told["object_attributes"] |= {
            "source_branch": one.branch, "target_branch": one.target, "source_project_id": 1, "target_project_id": 1,
            "state": "merged" if one.merged else "opened" if one.open else "closed", "merge_commit_sha": made,
            "last_commit": {"id": self.tip(one), "message": "x"}, "draft": one.draft,
        }  # fmt: skip
        if happened.action == "pushed":
            told["object_attributes"]["oldrev"] = ZERO
        reviewers = [{**row["user"], "state": row["state"], "re_requested": False} for row in self.as_reviewers(one)]
        return {"object_kind": "merge_request", "event_type": "merge_request", **told, "reviewers": reviewers}

    def hook_review(self, one: Review, happened: Happened) -> Iterable[dict[str, Any]]:
        """Each approval is told, and the last one that was owed by another word. Asked changes are a reviewer's state,
        of which older releases tell nothing."""
        change = self.changes[one.number]
        told = self.hook_request(change, Happened(happened.by, "edited", change))
        if one.verdict == "approved" and one.official:
            enough = len(self.approvals(change)) >= self.required
            word = ("un" if happened.action == "dismissed" else "") + ("approved" if enough else "approval")
            told["object_attributes"]["action"] = word
            yield told
        elif one.verdict == "changes" and self.hooked_reviews:
            before = [
                {**row, "state": "review_started"} if row["username"] == one.by else row for row in told["reviewers"]
            ]
            told["changes"] = {"reviewers": [before, told["reviewers"]]}
            yield told

    def hook_note(self, one: Comment, happened: Happened, kind: str | None = None) -> dict[str, Any]:
        thread = self.thread(one.kind, one.number)
        where = self.as_thread(thread)["web_url"]
        told = {
            "id": one.id, "note": one.text, "type": kind, "system": False, "url": f"{where}#note_{one.id}",
            "noteable_type": "MergeRequest" if one.kind == "change" else "Issue", "noteable_id": one.number + 1000,
            "action": "update" if happened.action == "edited" else "create", "author_id": self.as_user(one.by)["id"],
        }  # fmt: skip
        shown = self.hook_thread(thread, happened)["object_attributes"]
        if isinstance(thread, Change):
            under = {"merge_request": {**shown, "source_branch": thread.branch, "target_branch": thread.target}}
        else:
            under = {"issue": shown}
        return {"object_kind": "note", "event_type": "note", "object_attributes": told, **under}

    def hook_pipeline(self, one: Status) -> dict[str, Any]:
        """Statuses from outside make a pipeline of their own, which is as good as the worst of them."""
        last = {other.gate: other for other in self.statuses if other.commit == one.commit}
        states = [other.state for other in last.values()]
        whole = next((state for state in ("running", "failed", "canceled") if state in states), "success")
        branch = next((name for name, commit in self.refs().items() if commit == one.commit), "main")
        builds = [
            {"id": id, "stage": "external", "name": gate, "status": other.state, "allow_failure": False,
             "user": self.as_user(other.by)}
            for id, (gate, other) in enumerate(last.items(), 1)
        ]  # fmt: skip
        told = {
            "id": 31, "iid": 3, "name": None, "ref": branch, "tag": False, "sha": one.commit, "source": "external",
            "status": whole, "url": f"{self.url}/{self.path}/-/pipelines/31",
        }  # fmt: skip
        return {"object_kind": "pipeline", "object_attributes": told, "merge_request": None, "builds": builds}

    def signed(self, delivery: Delivery) -> dict[str, str]:
        names = (PUBLIC, f"hook {delivery.hook.id}", delivery.id)
        event, hook = (str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in names[1:])
        return {
            "User-Agent": "GitLab/17.5.0", "X-Gitlab-Event": HOOKS[delivery.event], "X-Gitlab-Event-UUID": hook,
            "X-Gitlab-Webhook-UUID": event, "X-Gitlab-Instance": f"https://{PUBLIC}", "Idempotency-Key": delivery.id,
            "X-Gitlab-Token": delivery.hook.secret,
        }  # fmt: skip
