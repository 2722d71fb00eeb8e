"""How GitLab shows a project, and what it refuses, in its words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from flask import Response, jsonify, request

from tests.contracts.forges.nouns import Change, Comment, Happened, Issue, Line, Refused, Review, Right, Verdict, now
from tests.contracts.forges.server import Hook, Server

API, REPO = "/api/v4", "/api/v4/projects/1"
LEVELS: dict[Right, int] = {"none": 0, "read": 10, "write": 30, "admin": 40}
METHODS = {"merge": "merge", "squash": "merge", "rebase-merge": "rebase_merge", "fast-forward": "ff"}
NOTED = {"approved": "approved this merge request", "changes": "requested changes"}
PUBLIC = "gitlab.example.com"


@dataclass
class Noted:
    """A note of GitLab's own."""

    number: int
    by: str
    text: str
    at: str = field(default_factory=now)


@dataclass
class Labelled:
    """A label that somebody put on an issue, or took away."""

    number: int
    by: str
    action: str
    label: str
    at: str = field(default_factory=now)


class Shown(Server):
    kind = "gitlab"
    api = API
    scopes = frozenset({"api"})
    offers = ("merge", "squash", "rebase-merge", "fast-forward")
    states = ("running", "success", "failed", "canceled")
    one_sequence = False
    refusals = {  # noqa: RUF012
        "style": (405, "405 Method Not Allowed"), "approvals": (405, "405 Method Not Allowed"),
        "changes": (405, "405 Method Not Allowed"), "closed": (405, "405 Method Not Allowed"),
        "draft": (405, "405 Method Not Allowed"), "behind": (405, "405 Method Not Allowed"),
        "owners": (405, "405 Method Not Allowed"), "conflict": (422, "Branch cannot be merged"),
        "head": (409, "SHA does not match HEAD of source branch: 0000"), "none": (404, "404 Not found"),
    }  # fmt: skip

    def __init__(self, bare: Path) -> None:
        super().__init__(bare)
        self.free = False
        """The edition that cannot require approvals."""
        self.owned = False
        """Code owners have to approve what goes onto main."""
        self.merging: Right = "write"
        """Who may merge into main."""
        self.throttled = False
        """What happens to an issue or request within a minute leaves its time of change as it is."""
        self.lags = False
        """It takes note of a push to a request only after somebody looked."""
        self.hooked_reviews = True
        """It tells of asked changes; older releases do not."""
        self.merge_fails: dict[str, str] = {}
        """What a request says instead of being merged."""
        self.token_ends = "2099-01-01"
        self.carried_out: list[str] = []
        """Quick actions that were in texts."""
        self.noted: list[Noted] = []
        self.labelled: list[Labelled] = []
        self.versions: dict[int, list[tuple[str, str]]] = {}
        self._looked: set[tuple[str, str]] = set()

    # -- what GitLab keeps beside what all keep ------------------------------------------------------------------------

    def told(self, happened: Happened) -> None:
        about = happened.about
        if isinstance(about, Issue) and happened.action in ("opened", "labelled", "unlabelled"):
            action = "remove" if happened.action == "unlabelled" else "add"
            for label in [happened.extra] if happened.extra else about.labels:
                self.labelled.append(Labelled(about.number, happened.by, action, label))
        if isinstance(about, Change) and happened.action in ("opened", "pushed") and not self.lags:
            self.note_push(about)
        if isinstance(about, Review) and about.verdict in NOTED and about.official:
            text = "unapproved this merge request" if happened.action == "dismissed" else NOTED[about.verdict]
            self.noted.append(Noted(about.number, happened.by, text))
        super().told(happened)

    def note_push(self, change: Change) -> None:
        known = self.versions.setdefault(change.number, [])
        if not known or known[-1][0] != self.tip(change):
            known.append((self.tip(change), now()))

    def comment(self, by: str, number: int, text: str, kind: Any = "issue") -> Comment:
        thread = self.thread(kind, number)
        before = thread.updated
        made = super().comment(by, number, text, kind)
        thread.updated = before if self.throttled else thread.updated
        return made

    def review(
        self, by: str, number: int, verdict: Verdict, text: str = "", lines: tuple[tuple[str, int, str], ...] = ()
    ) -> Review:
        """A verdict has no words: they are a note beside it."""
        if text:
            self.comment(by, number, text, "change")
        return super().review(by, number, verdict, "", lines)

    def approvals(self, change: Change) -> list[str]:
        """They stay when the branch moves, unless the project says otherwise."""
        return [who for who, one in self.last_words(change).items() if one.verdict == "approved"]

    def _allow(self, change: Change, style: str, head: str, tip: str) -> None:
        if style == "rebase-merge" and self.behind(change):
            raise Refused("behind")
        if self.owned and not self.approvals(change):
            raise Refused("owners")
        super()._allow(change, style, head, tip)

    def _made(self, style: str, target: str, tip: str, message: str) -> str:
        made = super()._made(style, target, tip, message)
        if style != "squash":
            return made
        return self.git("commit-tree", f"{made}^{{tree}}", "-p", target, "-p", made, "-m", message)

    # -- how it is asked, and how it refuses ---------------------------------------------------------------------------

    def caller(self) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return request.headers.get("PRIVATE-TOKEN", "") or (token if scheme == "Bearer" else "")

    def _admitted(self) -> Response | None:
        turned_away = super()._admitted()
        if self.limited and turned_away is not None:
            limits = {"RateLimit-Limit": "60", "RateLimit-Observed": "67", "RateLimit-Remaining": "0"}
            return Response("Retry later\n", 429, {**limits, "Retry-After": "17", "RateLimit-Reset": "1609844400"})
        if turned_away is not None or not request.path.startswith(self.api):
            return turned_away
        wanted = {"api"} | ({"read_api"} if request.method == "GET" else set())
        if not wanted & request.environ["scopes"]:
            answer = jsonify({"error": "insufficient_scope", "error_description": "", "scope": "api"})
            answer.status_code = 403
            return answer
        if request.path.startswith(REPO) and not self.may(self.login, "read"):
            return self.error(404, "404 Project Not Found")
        return None

    def _refused(self, refused: Refused) -> Response:
        if refused.reason == "exists":
            answer = jsonify({"message": ["Another open merge request already exists for this source branch: !1"]})
            answer.status_code = 409
            return answer
        return super()._refused(refused)

    def linked(self, rows: list[Any], size: str = "per_page") -> Response:
        answer = super().linked(rows, size)
        _, number, more = self.page(rows, size)
        answer.headers["X-Page"], answer.headers["X-Next-Page"] = str(number), str(number + 1) if more else ""
        answer.headers["X-Total"] = str(len(rows))
        return answer

    def in_diff(self, change: Change, path: str) -> dict[int, int | None]:
        """Lines of a changed file's new side, with where they were before; all of them, for the rest can be shown."""
        span = f"{self.git('merge-base', change.target, self.tip(change))}..{self.tip(change)}"
        shown = self._run("diff", "-U1000000", span, "--", path).stdout
        found: dict[int, int | None] = {}
        old = new = 0
        for row in shown.partition("@@\n")[2].splitlines():
            old, new = old + (row[:1] in " -"), new + (row[:1] in " +")
            if row[:1] in " +":
                found[new] = old if row[:1] == " " else None
        return found

    # -- as its API shows them ----------------------------------------------------------------------------------------

    def as_user(self, login: str) -> dict[str, Any]:
        ids = {name: place for place, name in enumerate(self.people, 1)}
        return {"id": ids.get(login, 99), "username": login, "name": login.title(), "state": "active",
                "web_url": f"{self.url}/{login}"}  # fmt: skip

    def as_project(self, login: str) -> dict[str, Any]:
        style = self.styles[0]
        granted = {"access_level": LEVELS[self.people.get(login, "none")], "notification_level": 3}
        return {
            "id": 1, "name": "shop", "path_with_namespace": self.path, "default_branch": "main",
            "web_url": f"{self.url}/{self.path}", "visibility": "private", "merge_method": METHODS[style],
            "squash_option": "always" if style == "squash" else "default_off",
            "permissions": {"project_access": granted if granted["access_level"] else None, "group_access": None},
            "only_allow_merge_if_pipeline_succeeds": False,
        }  # fmt: skip

    def as_thread(self, one: Issue | Change) -> dict[str, Any]:
        where = "merge_requests" if isinstance(one, Change) else "issues"
        return {
            "id": one.number + 1000, "iid": one.number, "project_id": 1, "title": one.title,
            "description": one.body or None, "author": self.as_user(one.by), "labels": list(one.labels),
            "assignees": [self.as_user(login) for login in one.assignees], "created_at": millis(one.created),
            "updated_at": millis(one.updated), "web_url": f"{self.url}/{self.path}/-/{where}/{one.number}",
            "closed_at": millis(one.closed) if one.closed else None,
            "closed_by": self.as_user(one.closed_by) if one.closed else None,
        }  # fmt: skip

    def as_issue(self, one: Issue) -> dict[str, Any]:
        return {**self.as_thread(one), "state": "opened" if one.open else "closed", "confidential": False}

    def as_request(self, one: Change, whole: bool = True) -> dict[str, Any]:
        made = one.merged if one.merged and self.parents(one.merged) > 1 else None
        squashed = one.merged if one.style == "squash" and not made else None
        told = {
            **self.as_thread(one), "state": "merged" if one.merged else "opened" if one.open else "closed",
            "source_branch": one.branch, "target_branch": one.target, "source_project_id": 1, "target_project_id": 1,
            "sha": self.seen(one), "merge_commit_sha": made, "squash_commit_sha": squashed, "draft": one.draft,
            "merge_user": self.as_user(one.merged_by) if one.merged else None, "merge_status": "unchecked",
            "detailed_merge_status": self.merge_status(one, worked_out=whole),
        }  # fmt: skip
        if not whole:
            return told
        may_merge = self.may(self.login, self.merging)
        refs = {"base_sha": self.base_of(one), "start_sha": self.base_of(one), "head_sha": self.seen(one)}
        return {**told, "diff_refs": refs, "user": {"can_merge": may_merge}, "merge_error": None}

    def seen(self, one: Change) -> str:
        """The head that GitLab knows of. One that lags takes note after it was asked."""
        known = self.versions.get(one.number, [("", "")])[-1][0]
        if self.lags and one.open and request.method == "GET":
            self.note_push(one)
        return known or self.tip(one)

    def base_of(self, one: Change) -> str:
        return one.base or self.git("merge-base", one.target, self.tip(one))

    def parents(self, commit: str) -> int:
        return len(self.git("log", "-1", "--format=%P", commit).split())

    def merge_status(self, one: Change, worked_out: bool) -> str:
        place = (self.tip(one), self.head(one.target))
        if not one.open:
            return "not_open"
        if place not in self._looked or not worked_out:
            self._looked |= {place} if worked_out else set()
            return "checking" if worked_out else "unchecked"
        words = self.last_words(one).values()
        held = {
            "draft_status": one.draft, "conflict": not self.mergeable(one),
            "not_approved": len(self.approvals(one)) < max(self.required, int(self.owned)),
            "requested_changes": any(word.verdict == "changes" for word in words),
            "need_rebase": METHODS[self.styles[0]] != "merge" and self.behind(one) > 0,
        }  # fmt: skip
        return next((why for why, holds in held.items() if holds), "mergeable")

    def as_approvals(self, one: Change) -> dict[str, Any]:
        given = self.approvals(one)
        told = {"id": one.number, "iid": one.number, "approved_by": [{"user": self.as_user(who)} for who in given]}
        if self.free:
            return {**told, "approved": True, "user_has_approved": False, "user_can_approve": True}
        left = max(0, self.required - len(given))
        rules = [{"id": 1, "name": "All Members", "rule_type": "any_approver"}] if left else []
        if self.owned and not given:
            rules, left = [*rules, {"id": 2, "name": "*.py", "rule_type": "code_owner"}], left + 1
        return {**told, "approved": not rules, "approvals_required": self.required, "approvals_left": left,
                "approval_rules_left": rules}  # fmt: skip

    def as_reviewers(self, one: Change) -> list[dict[str, Any]]:
        states = {"approved": "approved", "changes": "requested_changes"}
        return [
            {"user": self.as_user(who), "state": states[word.verdict], "created_at": millis(word.at)}
            for who, word in self.last_words(one).items()
        ]

    def notes(self, kind: str, number: int) -> list[dict[str, Any]]:
        """Newest first, those of GitLab's own among them."""
        said = [self.as_note(one) for one in self.comments if (one.kind, one.number) == (kind, number)]
        if kind == "change":
            said += [self.as_line(one, line) for one in self.reviews if one.number == number for line in one.lines]
            said += [
                {"id": 30_000 + place, "body": one.text, "author": self.as_user(one.by), "system": True,
                 "created_at": millis(one.at), "updated_at": millis(one.at), "noteable_iid": number}
                for place, one in enumerate(self.noted) if one.number == number
            ]  # fmt: skip
        return sorted(said, key=lambda note: str(note["created_at"]), reverse=True)

    def as_note(self, one: Comment) -> dict[str, Any]:
        kind = "MergeRequest" if one.kind == "change" else "Issue"
        return {
            "id": one.id, "type": None, "body": one.text, "author": self.as_user(one.by), "system": False,
            "noteable_type": kind, "noteable_iid": one.number, "created_at": millis(one.created),
            "updated_at": millis(one.updated), "resolvable": False,
        }  # fmt: skip

    def as_line(self, review: Review, one: Line) -> dict[str, Any]:
        place = {"new_path": one.path, "old_path": one.path, "new_line": one.line, "position_type": "text"}
        return {
            "id": 20_000 + one.id, "type": "DiffNote", "body": one.text, "author": self.as_user(one.by),
            "system": False, "noteable_type": "MergeRequest", "noteable_iid": review.number, "position": place,
            "created_at": millis(review.at), "updated_at": millis(review.at), "resolvable": True, "resolved": False,
        }  # fmt: skip

    def as_branch(self, name: str) -> dict[str, Any]:
        held = self.protected and name == "main"
        return {
            "name": name, "commit": {"id": self.head(name)}, "protected": held, "default": name == "main",
            "developers_can_push": not held, "developers_can_merge": not held or self.merging == "write",
            "can_push": not held and self.may(self.login, "write"),
        }  # fmt: skip

    def as_hook(self, hook: Hook) -> dict[str, Any]:
        fields = ("issues", "note", "merge_requests", "push", "pipeline")
        state = "executable" if hook.active else "disabled"
        return {"id": hook.id, "url": hook.url, "project_id": 1, "alert_status": state, "disabled_until": None,
                **{f"{name}_events": True for name in fields}}  # fmt: skip

    def taken(self, text: str) -> str:
        """A text as it is kept: what looks like a quick action is carried out, and is gone."""
        kept = []
        for line in text.replace("\r", "").split("\n"):
            if re.match(r"/[a-z_]+", line):
                self.carried_out.append(line)
            else:
                kept.append(line)
        return "\n".join(kept).strip()


def millis(at: str) -> str:
    """It shows thousandths of a second."""
    return f"{at[:23]}Z"


def encoded(path: str) -> str:
    """An address as the routes know it: what is one part stays one, and the project goes by its number."""
    project = f"{API}/projects/{quote('team/shop', safe='')}"
    if path == project or path.startswith(f"{project}/"):
        path = REPO + path.removeprefix(project)
    return "/".join(unquote(part).replace("/", "%2F") for part in path.split("/"))


def plain(part: str) -> str:
    return part.replace("%2F", "/")


def since(rows: Iterable[Any]) -> list[Any]:
    """Those that changed since the time asked for, the ones that waited longest first."""
    fresh = [one for one in rows if str(one.updated) >= request.args.get("updated_after", "")]
    return sorted(fresh, key=lambda one: str(one.updated))
