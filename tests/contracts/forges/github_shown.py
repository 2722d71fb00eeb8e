"""A project as GitHub Enterprise Server's API shows it, and what it refuses, in its words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flask import Response, jsonify, request

from tests.contracts.forges.nouns import ZERO, Change, Comment, Issue, Line, Refused, Review
from tests.contracts.forges.server import Hook, Server

API, REPO = "/api/v3", "/api/v3/repos/team/shop"
STATES = {"approved": "APPROVED", "changes": "CHANGES_REQUESTED", "commented": "COMMENTED"}
METHODS = {"merge": "allow_merge_commit", "squash": "allow_squash_merge", "rebase": "allow_rebase_merge"}


class Shown(Server):
    kind = "github"
    api = API
    scopes = frozenset({"repo"})
    offers = ("merge", "squash", "rebase")
    refusals = {  # noqa: RUF012
        "style": (405, "Merge commits are not allowed on this repository."),
        "head": (409, "Head branch was modified. Review and try the merge again."),
        "approvals": (405, "At least 1 approving review is required by reviewers with write access."),
        "changes": (405, "Changes must be addressed: a reviewer with write access requested them."),
        "check": (405, "Required status check is expected."), "conflict": (405, "Pull Request is not mergeable"),
        "closed": (405, "Pull Request is not mergeable"), "draft": (405, "Pull Request is still a draft"),
        "behind": (405, "Required status checks: the head branch is not up to date with the base branch."),
        "queue": (405, "Changes must be made through the merge queue"),
        "base": (405, "Base branch was modified. Review and try the merge again."),
        "none": (404, "Not Found"),
    }  # fmt: skip

    def __init__(self, bare: Path) -> None:
        super().__init__(bare)
        self.rules: list[dict[str, Any]] = []
        """Rules from rulesets, which anybody may read."""
        self.checks: list[str] = []
        """Contexts that must have passed before a merge into main."""
        self.strict = False
        """What is merged into main must stand on it."""
        self.base_moves = False
        """A merge is refused because the target just moved."""
        self._looked: set[tuple[str, str]] = set()

    def caller(self) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return token if scheme.lower() in ("token", "bearer") else ""

    def _admitted(self) -> Response | None:
        turned_away = super()._admitted()
        if turned_away is None and request.path.startswith(REPO) and "repo" not in request.environ["scopes"]:
            return self.error(404, "Not Found")
        return turned_away

    def error(self, code: int, message: str, errors: Iterable[Any] = ()) -> Response:
        words: dict[str, Any] = {"message": "Bad credentials" if code == 401 else message, "status": str(code)}
        if errors:
            words["errors"] = list(errors)
        answer = jsonify({**words, "documentation_url": "https://docs.github.example/rest"})
        answer.status_code = code
        return answer

    def _refused(self, refused: Refused) -> Response:
        if refused.reason == "exists":
            told = {"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for team:x."}
            return self.error(422, "Validation Failed", [told])
        return super()._refused(refused)

    def linked(self, rows: list[Any], size: str = "per_page") -> Response:
        answer = super().linked(rows, size)
        if "Link" in answer.headers:
            answer.headers["Link"] = answer.headers["Link"].replace(f"{REPO}/", f"{API}/repositories/1/")
        return answer

    def _allow(self, change: Change, style: str, head: str, tip: str) -> None:
        if self.base_moves:
            raise Refused("base")
        super()._allow(change, style, head, tip)
        if self.strict and self.behind(change):
            raise Refused("behind")
        if any(rule["type"] == "merge_queue" for rule in self.rules):
            raise Refused("queue")
        if set(self.checks) - self.passed(tip):
            raise Refused("check")

    def _made(self, style: str, target: str, tip: str, message: str) -> str:
        if style == "rebase":  # its commits are always new ones, with the forge as their committer
            return self.rebased(target, tip, "--force-rebase")
        return super()._made(style, target, tip, message)

    def passed(self, commit: str) -> set[str]:
        last = {one.gate: one.state for one in self.statuses if one.commit == commit}
        return {gate for gate, state in last.items() if state == "success"}

    def in_diff(self, change: Change, path: str) -> set[int]:
        """Lines of the new side that a request shows."""
        shown = self._run("diff", "-U3", f"{self.head(change.target)}...{self.tip(change)}", "--", path).stdout
        hunks = re.findall(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", shown, re.MULTILINE)
        return {int(start) + step for start, length in hunks for step in range(int(length or 1))}

    # -- as its API shows them ----------------------------------------------------------------------------------------

    def as_user(self, login: str) -> dict[str, Any]:
        return {"login": login, "id": len(login), "type": "User", "site_admin": False}

    def as_thread(self, one: Issue | Change) -> dict[str, Any]:
        return {
            "id": one.number + 1000, "number": one.number, "title": one.title, "body": one.body or None,
            "state": "open" if one.open else "closed", "user": self.as_user(one.by), "html_url": self.page_of(one),
            "labels": [{"id": id, "name": name, "color": "00aabb"} for id, name in enumerate(one.labels, 1)],
            "assignees": [self.as_user(login) for login in one.assignees], "created_at": seconds(one.created),
            "updated_at": seconds(one.updated), "author_association": "MEMBER",
            "closed_at": seconds(one.closed) if one.closed else None,
            "closed_by": self.as_user(one.closed_by) if one.closed else None,
        }  # fmt: skip

    def as_issue(self, one: Issue | Change) -> dict[str, Any]:
        if isinstance(one, Change):
            pull = {"url": f"{self.url}{REPO}/pulls/{one.number}", "html_url": self.page_of(one),
                    "merged_at": seconds(one.updated) if one.merged else None}  # fmt: skip
            return {**self.as_thread(one), "pull_request": pull}
        return self.as_thread(one)

    def as_pull(self, one: Change, whole: bool = True) -> dict[str, Any]:
        def place(branch: str, commit: str) -> dict[str, Any]:
            return {"label": f"team:{branch}", "ref": branch, "sha": commit, "repo": {"full_name": self.path}}

        merged = {"merged_at": seconds(one.updated) if one.merged else None, "merge_commit_sha": one.merged or ZERO}
        return {
            **self.as_thread(one), **merged, "draft": one.draft, "head": place(one.branch, self.tip(one)),
            "base": place(one.target, one.base or self.head(one.target)), **(self._worked_out(one) if whole else {}),
        }  # fmt: skip

    def _worked_out(self, one: Change) -> dict[str, Any]:
        """What is worked out after the first look, and told only of single requests."""
        told = {"merged": bool(one.merged), "merged_by": self.as_user(one.merged_by) if one.merged else None}
        place = (self.tip(one), self.head(one.target))
        if not one.open or place not in self._looked:
            self._looked.add(place)
            return {**told, "mergeable": None, "mergeable_state": "unknown"}
        merges = self.mergeable(one)
        state = "clean" if merges else "dirty"
        if merges and self.guarded(one.target):
            owed = len(self.approvals(one)) < self.required or set(self.checks) - self.passed(self.tip(one))
            state = "blocked" if owed else "behind" if self.strict and self.behind(one) else state
        return {**told, "mergeable": merges, "mergeable_state": "draft" if one.draft else state}

    def guarded(self, branch: str) -> bool:
        return branch == "main" and (self.protected or bool(self.rules))

    def as_comment(self, one: Comment) -> dict[str, Any]:
        page = self.page_of(self.thread(one.kind, one.number))
        return {
            "id": one.id, "user": self.as_user(one.by), "body": one.text, "html_url": f"{page}#issuecomment-{one.id}",
            "issue_url": f"{self.url}{REPO}/issues/{one.number}", "created_at": seconds(one.created),
            "updated_at": seconds(one.updated),
        }  # fmt: skip

    def as_review(self, one: Review) -> dict[str, Any]:
        page = self.page_of(self.changes[one.number])
        return {
            "id": one.id, "user": self.as_user(one.by), "body": one.text, "commit_id": one.commit,
            "state": "DISMISSED" if one.dismissed else STATES[one.verdict], "submitted_at": seconds(one.at),
            "html_url": f"{page}#pullrequestreview-{one.id}", "author_association": "MEMBER",
        }  # fmt: skip

    def as_line(self, review: Review, one: Line) -> dict[str, Any]:
        page = self.page_of(self.changes[review.number])
        return {
            "id": one.id + 10_000, "pull_request_review_id": review.id, "path": one.path, "line": one.line or None,
            "side": "RIGHT", "subject_type": "line" if one.line else "file", "body": one.text, "commit_id": one.commit,
            "user": self.as_user(one.by), "html_url": f"{page}#discussion_r{one.id}", "created_at": seconds(review.at),
            "updated_at": seconds(review.at), "pull_request_url": f"{self.url}{REPO}/pulls/{review.number}",
        }  # fmt: skip

    def as_repository(self, login: str) -> dict[str, Any]:
        rights = {"admin": self.may(login, "admin"), "push": self.may(login, "write"), "pull": self.may(login, "read")}
        # how a project merges is told to those alone who may push
        told = {setting: ours in self.styles for ours, setting in METHODS.items()} if rights["push"] else {}
        return {
            "id": 1, "name": "shop", "full_name": self.path, "owner": {"login": "team"}, "default_branch": "main",
            "private": True, "html_url": f"{self.url}/{self.path}", "permissions": rights, **told,
        }  # fmt: skip

    def as_hook(self, hook: Hook) -> dict[str, Any]:
        sent = [one for one in self.deliveries if one.hook is hook]
        last: dict[str, Any] = {"code": None, "status": "unused", "message": None}
        if sent:
            fine = 200 <= sent[-1].code < 300
            last = {
                "code": sent[-1].code,
                "status": "active" if fine else "failed",
                "message": "OK" if fine else "failed",
            }
        config = {"url": hook.url, "content_type": "json", "insecure_ssl": "0", "secret": "********"}
        return {"id": hook.id, "type": "Repository", "name": "web", "active": hook.active, "events": ["*"],
                "config": config, "last_response": last}  # fmt: skip

    def page_of(self, one: Issue | Change) -> str:
        return f"{self.url}/{self.path}/{'pull' if isinstance(one, Change) else 'issues'}/{one.number}"


def seconds(at: str) -> str:
    """It shows whole seconds."""
    return f"{at[:19]}Z"
