"""Gitea's API and webhooks as its published document and releases have them; Forgejo is the same with more headers."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request

from tests.contracts.forges.nouns import (
    ZERO,
    Change,
    Comment,
    Happened,
    Issue,
    Push,
    Refused,
    Review,
    Status,
)
from tests.contracts.forges.server import Delivery, Hook, Server

API, REPO = "/api/v1", "/api/v1/repos/team/shop"
STATES = {"approved": "APPROVED", "changes": "REQUEST_CHANGES", "commented": "COMMENT"}
STYLES = {
    "merge": ("merge", "allow_merge_commits"), "squash": ("squash", "allow_squash_merge"),
    "rebase": ("rebase", "allow_rebase"), "rebase-merge": ("rebase-merge", "allow_rebase_explicit"),
    "fast-forward": ("fast-forward-only", "allow_fast_forward_only_merge"),
}  # fmt: skip
"""Our name → its name, and the setting that allows it."""

EVENTS = {
    "issue_assign": "issues", "issue_label": "issues", "pull_request_assign": "pull_request",
    "pull_request_label": "pull_request", "pull_request_sync": "pull_request", "pull_request_comment": "issue_comment",
    "pull_request_review_approved": "pull_request_approved", "pull_request_review_rejected": "pull_request_rejected",
    "pull_request_review_comment": "pull_request_comment", "status": "",
}  # fmt: skip
"""What its finer types are called in the older header."""

REVIEWED = {"approved": "approved", "changes": "rejected", "commented": "comment"}


class Gitea(Server):
    kind = "gitea"
    version = "1.22.0"
    api = API
    scopes = frozenset({"write:repository", "write:issue", "read:user"})
    resent_anew = True
    refusals = {  # noqa: RUF012
        "style": (405, "is not an allowed merge style for this repository"), "head": (409, "head out of date"),
        "approvals": (405, "Does not have enough approvals"), "changes": (405, "There are requested changes"),
        "conflict": (409, "merge conflict"), "behind": (409, "MergeDivergingFastForwardOnly"),
        "closed": (405, "the pull request is closed"), "draft": (405, "Work in progress PRs cannot be merged"),
        "exists": (409, "pull request already exists for these targets"), "none": (404, "not found"),
        "asked": (405, "PR is not ready to be merged: [reason: There are official review requests]"),
    }  # fmt: skip

    def __init__(self, bare: Path) -> None:
        super().__init__(bare)
        self.owners: tuple[str, ...] = ()
        """Whose review CODEOWNERS asks for in each request: logins, and teams as `@team`."""
        self.owners_block = False
        """The branch's rule `block_on_official_review_requests`."""

    def routes(self, app: Flask) -> None:
        for add in (add_project, add_pulls, add_reviews, add_issues):
            add(app, self)

    def caller(self) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return token if scheme.lower() in ("token", "bearer") else ""

    def need_scope(self, category: str) -> None:
        wanted = {f"write:{category}"} | ({f"read:{category}"} if request.method == "GET" else set())
        if not wanted & request.environ["scopes"]:
            self.refuse(403, f"token does not have at least one of required scope(s): {sorted(wanted)}")

    # -- as its API shows them ----------------------------------------------------------------------------------------

    def as_user(self, login: str) -> dict[str, Any]:
        ids = {name: place for place, name in enumerate(self.people, 1)}
        return {"id": ids.get(login, 99), "login": login, "username": login, "full_name": "", "email": f"{login}@x"}

    def as_thread(self, one: Issue | Change, place: str) -> dict[str, Any]:
        return {
            "id": one.number + 1000, "number": one.number, "title": one.title, "body": one.body,
            "state": "open" if one.open else "closed", "user": self.as_user(one.by),
            "labels": [{"id": id, "name": name, "color": "00aabb"} for id, name in enumerate(one.labels, 1)],
            "assignees": [self.as_user(login) for login in one.assignees] or None,
            "assignee": self.as_user(one.assignees[0]) if one.assignees else None,
            "created_at": seconds(one.created), "updated_at": seconds(one.updated),
            "closed_at": seconds(one.closed) if one.closed else None,
            "html_url": f"{self.url}/{self.path}/{place}/{one.number}",
        }  # fmt: skip

    def as_issue(self, one: Issue | Change) -> dict[str, Any]:
        if isinstance(one, Change):
            merged = {"merged": bool(one.merged), "merged_at": seconds(one.updated) if one.merged else None}
            return {**self.as_thread(one, "pulls"), "pull_request": merged}
        return {**self.as_thread(one, "issues"), "pull_request": None}

    def as_pull(self, one: Change) -> dict[str, Any]:
        def place(branch: str, commit: str) -> dict[str, Any]:
            return {"label": branch, "ref": branch, "sha": commit, "repo_id": 1, "repo": self.as_repository()}

        return {
            **self.as_thread(one, "pulls"), "head": place(one.branch, self.tip(one)), "draft": one.draft,
            "base": place(one.target, one.base or self.head(one.target)), "merged": bool(one.merged),
            "mergeable": one.open and not one.draft and self.mergeable(one), "merge_commit_sha": one.merged or None,
            "merged_by": self.as_user(one.merged_by) if one.merged else None,
        }  # fmt: skip

    def as_comment(self, one: Comment) -> dict[str, Any]:
        url = f"{self.url}/{self.path}/{'pulls' if one.kind == 'change' else 'issues'}/{one.number}"
        return {
            "id": one.id, "user": self.as_user(one.by), "body": one.text, "html_url": f"{url}#issuecomment-{one.id}",
            "issue_url": url if one.kind == "issue" else "", "pull_request_url": url if one.kind == "change" else "",
            "created_at": seconds(one.created), "updated_at": seconds(one.updated),
        }  # fmt: skip

    def as_review(self, one: Review) -> dict[str, Any]:
        return {
            "id": one.id, "user": self.as_user(one.by), "state": STATES[one.verdict], "body": one.text,
            "commit_id": one.commit, "official": one.official, "dismissed": one.dismissed,
            "stale": one.commit != self.tip(self.changes[one.number]), "submitted_at": seconds(one.at),
            "comments_count": len(one.lines),
        }  # fmt: skip

    def asked(self, change: Change) -> list[str]:
        """Owners who have not said their word yet: it takes the place of what was asked."""
        said = {one.by for one in self.reviews if one.number == change.number}
        return [who for who in self.owners if who not in said]

    def as_asked(self, change: Change, place: int, who: str) -> dict[str, Any]:
        team = {"id": 1, "name": who[1:], "organization": None} if who.startswith("@") else None
        return {
            "id": 9000 + place, "user": None if team else self.as_user(who), "team": team, "state": "REQUEST_REVIEW",
            "body": "", "commit_id": "", "official": True, "dismissed": False, "stale": False, "comments_count": 0,
            "submitted_at": seconds(change.created),
        }  # fmt: skip

    def _allow(self, change: Change, style: str, head: str, tip: str) -> None:
        super()._allow(change, style, head, tip)
        if self.owners_block and self.asked(change):
            raise Refused("asked")

    def as_repository(self, login: str = "factory") -> dict[str, Any]:
        owner, _, name = self.path.partition("/")
        allowed = {setting: ours in self.styles for ours, (_, setting) in STYLES.items()}
        rights = {"admin": self.may(login, "admin"), "push": self.may(login, "write"), "pull": self.may(login, "read")}
        return {
            "id": 1, "owner": {"login": owner}, "name": name, "full_name": self.path, "default_branch": "main",
            "permissions": rights, **allowed, "default_merge_style": STYLES[self.styles[0]][0],
            "html_url": f"{self.url}/{self.path}", "clone_url": f"{self.url}/{self.path}.git",
        }  # fmt: skip

    # -- webhooks -----------------------------------------------------------------------------------------------------

    def packets(self, happened: Happened) -> Iterable[tuple[str, dict[str, Any]]]:
        about = happened.about
        common = {"repository": self.as_repository(), "sender": self.as_user(happened.by)}
        if isinstance(about, Issue):
            told = {"action": action(happened), "number": about.number, "issue": self.as_issue(about), "commit_id": ""}
            yield finer("issues", "issue", happened), {**told, **common}
        elif isinstance(about, Change):
            told = {"action": action(happened), "number": about.number, "pull_request": self.as_pull(about)}
            more = {"requested_reviewer": None, "commit_id": "", "review": None}
            yield finer("pull_request", "pull_request", happened), {**told, **more, **common}
        elif isinstance(about, Comment):
            thread, is_pull = self.thread(about.kind, about.number), about.kind == "change"
            told = {"action": happened.action, "issue": self.as_issue(thread), "comment": self.as_comment(about)}
            pull = self.as_pull(thread) if isinstance(thread, Change) else None
            event = "pull_request_comment" if is_pull else "issue_comment"
            yield event, {**told, "pull_request": pull, "is_pull": is_pull, **common}
        elif isinstance(about, Review) and happened.action == "submitted":  # it tells nobody of a dismissal
            kind = f"pull_request_review_{REVIEWED[about.verdict]}"
            told = {"action": "reviewed", "number": about.number, "commit_id": about.commit}
            pull, said = self.as_pull(self.changes[about.number]), {"type": kind, "content": about.text}
            yield kind, {**told, "pull_request": pull, "requested_reviewer": None, "review": said, **common}
        elif isinstance(about, Push):
            yield from pushed(about, common)
        elif isinstance(about, Status):
            told = {"sha": about.commit, "context": about.gate, "state": about.state, "description": about.text}
            yield "status", {**told, "target_url": about.url, "id": len(self.statuses), **common}

    def signed(self, delivery: Delivery) -> dict[str, str]:
        event = EVENTS.get(delivery.event, delivery.event)
        code = hmac.new(delivery.hook.secret.encode(), delivery.body, hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature-256": f"sha256={code}"}
        for name in self.names():
            headers |= {f"X-{name}-Delivery": delivery.id, f"X-{name}-Event": event}
            headers |= {f"X-{name}-Event-Type": delivery.event}
            headers |= {} if name == "GitHub" else {f"X-{name}-Signature": code}
        return headers

    def names(self) -> tuple[str, ...]:
        """Under which names its headers come."""
        return ("Gitea", "Gogs", "GitHub")


class Forgejo(Gitea):
    kind = "forgejo"
    version = "11.0.1+gitea-1.22.0"

    def names(self) -> tuple[str, ...]:
        return ("Forgejo", *super().names())


def seconds(at: str) -> str:
    """It shows whole seconds."""
    return f"{at[:19]}Z"


def action(happened: Happened) -> str:
    words = {"labelled": "label_updated", "unlabelled": "label_updated", "merged": "closed", "pushed": "synchronized"}
    return words.get(happened.action, happened.action)


def finer(plain: str, stem: str, happened: Happened) -> str:
    if happened.action in ("labelled", "unlabelled"):
        return f"{stem}_label"
    if happened.action in ("assigned", "unassigned"):
        return f"{stem}_assign"
    return f"{stem}_sync" if happened.action == "pushed" else plain


def pushed(push: Push, common: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    named = {"ref": push.branch, "ref_type": "branch"}
    if push.after == ZERO:
        yield "delete", {**named, "pusher_type": "user", **common}
        return
    if push.before == ZERO:
        yield "create", {**named, "sha": push.after, **common}
    told = {"ref": f"refs/heads/{push.branch}", "before": push.before, "after": push.after, "compare_url": ""}
    yield "push", {**told, "commits": [], "total_commits": 0, "head_commit": None, "pusher": common["sender"], **common}


def add_project(app: Flask, forge: Gitea) -> None:
    @app.get(f"{API}/version")
    def version() -> Any:
        return {"version": forge.version}

    @app.get(f"{API}/user")
    def user() -> Any:
        forge.need_scope("user")
        return forge.as_user(forge.login)

    @app.get(REPO)
    def project() -> Any:
        forge.need_scope("repository")
        return forge.as_repository(forge.login)

    @app.get(f"{REPO}/branches/<path:name>")
    def branch(name: str) -> Any:
        if not forge.head(name):
            forge.refuse(404, "branch does not exist")
        held = forge.protected and name == "main"
        return {
            "name": name, "protected": held, "required_approvals": forge.required if held else 0,
            "user_can_push": not held and forge.may(forge.login, "write"),
            "user_can_merge": forge.may(forge.login, "write"), "commit": {"id": forge.head(name)},
        }  # fmt: skip

    @app.get(f"{REPO}/compare/<path:basehead>")
    def compare(basehead: str) -> Any:
        base, _, head = basehead.partition("...")
        return {"total_commits": int(forge.git("rev-list", "--count", f"{base}..{head}"))}

    @app.get(f"{REPO}/git/commits/<sha>")
    def commit(sha: str) -> Any:
        parents = forge.git("log", "-1", "--format=%P", sha).split()
        message = forge.git("log", "-1", "--format=%B", sha)
        return {"sha": sha, "commit": {"message": message}, "parents": [{"sha": parent} for parent in parents]}

    @app.get(f"{REPO}/collaborators/<login>/permission")
    def permission(login: str) -> Any:
        if login not in forge.people:
            forge.refuse(404, "user does not exist")
        right = forge.people[login]
        return {"permission": "owner" if right == "admin" else right, "user": forge.as_user(login)}

    def as_hooks(hooks: Sequence[Hook]) -> Any:
        return paged(forge, [
            {"id": hook.id, "active": hook.active, "type": forge.kind, "config": {"url": hook.url}} for hook in hooks
        ])  # fmt: skip

    @app.get(f"{REPO}/hooks")
    def hooks() -> Any:
        forge.need("admin", message="user should be an owner or a collaborator with admin write of a repository")
        return as_hooks(forge.hooks)

    @app.get(f"{API}/orgs/team/hooks")
    def team_hooks() -> Any:
        forge.need("admin", message="Must be an organization owner")
        return as_hooks(forge.team_hooks)

    @app.post(f"{REPO}/statuses/<sha>")
    def status(sha: str) -> Any:
        forge.need_scope("repository")
        forge.need("write", message="user should have a permission to write to a repo")
        asked = request.get_json()
        if asked["state"] not in ("pending", "success", "error", "failure", "warning"):
            forge.refuse(422, "invalid state")
        said, link = asked["description"], asked.get("target_url", "")
        forge.status(forge.login, sha, asked["context"], asked["state"], said, link)
        return asked, 201


def add_pulls(app: Flask, forge: Gitea) -> None:
    @app.get(f"{REPO}/pulls")
    def pulls() -> Any:
        state, base = request.args.get("state", "open"), request.args.get("base_branch")
        rows = [one for one in forge.changes.values() if state in ("all", "open" if one.open else "closed")]
        return paged(forge, [forge.as_pull(one) for one in rows if base in (None, one.target)])

    @app.post(f"{REPO}/pulls")
    def open_pull() -> Any:
        forge.need_scope("repository")
        new = request.get_json()
        made = forge.open_change(forge.login, new["head"], new["base"], new["title"], new["body"])
        return forge.as_pull(made), 201

    @app.get(f"{REPO}/pulls/<int:number>")
    def pull(number: int) -> Any:
        return forge.as_pull(forge.changes[number]) if number in forge.changes else forge.refuse(404, "not found")

    # the oldest one of these branches, whether it is open or not
    @app.get(f"{REPO}/pulls/<base>/<path:head>")
    def pull_of(base: str, head: str) -> Any:
        found = [one for one in forge.changes.values() if (one.target, one.branch) == (base, head)]
        return forge.as_pull(found[0]) if found and "1.22" in forge.version else forge.refuse(404, "not found")

    @app.patch(f"{REPO}/pulls/<int:number>")
    def edit_pull(number: int) -> Any:
        forge.need_scope("repository")
        edit(forge, "change", number)
        return forge.as_pull(forge.changes[number]), 201

    @app.post(f"{REPO}/pulls/<int:number>/merge")
    def merge(number: int) -> Any:
        forge.need("write", 405, "User not allowed to merge PR")
        asked = request.get_json()
        style = next((ours for ours, (theirs, _) in STYLES.items() if theirs == asked["Do"]), "")
        words = f"{asked.get('MergeTitleField', '')}\n\n{asked.get('MergeMessageField', '')}".strip()
        forge.merge(number, style, by=forge.login, head=asked.get("head_commit_id", ""), message=words)
        return "", 200


def add_reviews(app: Flask, forge: Gitea) -> None:
    @app.get(f"{REPO}/pulls/<int:number>/reviews")
    def reviews(number: int) -> Any:
        change = forge.changes[number]
        asked = [forge.as_asked(change, place, who) for place, who in enumerate(forge.asked(change))]
        return paged(forge, [*asked, *(forge.as_review(one) for one in forge.reviews if one.number == number)])

    @app.post(f"{REPO}/pulls/<int:number>/reviews")
    def write_review(number: int) -> Any:
        forge.need_scope("repository")
        asked = request.get_json()
        verdict: Any = next(ours for ours, theirs in STATES.items() if theirs == asked["event"])
        if verdict != "commented" and forge.changes[number].by == forge.login:
            forge.refuse(422, "approve your own pull is not allowed")
        lines = tuple((one["path"], one["new_position"], one["body"]) for one in asked["comments"])
        return forge.as_review(forge.review(forge.login, number, verdict, asked.get("body", ""), lines)), 200

    @app.get(f"{REPO}/pulls/<int:number>/reviews/<int:review>/comments")
    def review_comments(number: int, review: int) -> Any:
        found = next(one for one in forge.reviews if one.id == review)
        return jsonify([
            {"id": line.id, "path": line.path, "position": line.line, "body": line.text, "commit_id": line.commit,
             "user": forge.as_user(line.by)}
            for line in found.lines
        ])  # fmt: skip


def add_issues(app: Flask, forge: Gitea) -> None:
    def since(rows: Iterable[Any]) -> list[Any]:
        return [one for one in rows if seconds(one.updated) >= request.args.get("since", "")]

    @app.get(f"{REPO}/issues")
    def issues() -> Any:
        forge.need_scope("issue")
        state = request.args.get("state", "open")
        rows = since([*forge.issues.values(), *forge.changes.values()])
        return paged(forge, [forge.as_issue(one) for one in rows if state in ("all", "open" if one.open else "closed")])

    @app.patch(f"{REPO}/issues/<int:number>")
    def edit_issue(number: int) -> Any:
        forge.need_scope("issue")
        edit(forge, "issue", number)
        return forge.as_issue(forge.issues[number]), 201

    @app.get(f"{REPO}/issues/comments")
    def all_comments() -> Any:
        return paged(forge, [forge.as_comment(one) for one in since(forge.comments)])

    # unlike other lists, all comments of one issue come at once
    @app.get(f"{REPO}/issues/<int:number>/comments")
    def issue_comments(number: int) -> Any:
        return jsonify([forge.as_comment(one) for one in forge.comments if one.number == number])

    @app.post(f"{REPO}/issues/<int:number>/comments")
    def write_comment(number: int) -> Any:
        forge.need_scope("issue")
        kind: Any = "change" if number in forge.changes else "issue"
        return forge.as_comment(forge.comment(forge.login, number, request.get_json()["body"], kind)), 201

    @app.patch(f"{REPO}/issues/comments/<int:id>")
    def rewrite(id: int) -> Any:
        forge.need_scope("issue")
        return forge.as_comment(forge.rewrite(forge.login, id, request.get_json()["body"]))


def edit(forge: Gitea, kind: Any, number: int) -> None:
    forge.need("write", message="user should have a permission to write to a repo")
    asked = request.get_json()
    fields = {name: asked[name] for name in ("title", "body") if name in asked}
    if "state" in asked:
        fields["open"] = asked["state"] == "open"
    forge.edit(forge.login, kind, number, **fields)


def paged(forge: Gitea, rows: list[Any]) -> Response:
    answer = forge.linked(rows)
    answer.headers["X-Total-Count"] = str(len(rows))
    return answer
