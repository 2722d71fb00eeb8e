"""Gitea's API as its published document has it, before a real bare repository: people, rights, reviews, protected
branches, merge styles done by git, small pages, rate limits. People act through methods; the box through HTTP."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, jsonify, request
from werkzeug.serving import make_server

PAGE = 2
"""Rows of one page: small, so that whoever reads one page alone is found out."""
HOOK = (
    "#!/bin/sh\n[ -e protected ] && [ \"$1\" = refs/heads/main ] && { echo 'protected branch' >&2; exit 1; }\nexit 0\n"
)


class Gitea:
    """One project `team/shop` on one forge."""

    def __init__(self, bare: Path) -> None:
        self.bare = bare
        self.people = {"factory": "write", "ann": "write", "owner": "owner", "guest": "read"}
        self.tokens = {"t0ken": "factory"}
        self.issues: dict[int, dict[str, Any]] = {}
        self.pulls: dict[int, dict[str, Any]] = {}
        self.comments: list[dict[str, Any]] = []
        self.reviews: dict[int, list[dict[str, Any]]] = {}
        self.statuses: list[dict[str, Any]] = []
        self.hooks: list[dict[str, Any]] = []
        self.styles = {"allow_merge_commits": True, "allow_squash_merge": True, "default_merge_style": "merge"}
        self.required = 0
        self.limited = False
        self.calls: list[str] = []
        self.url = ""
        (bare / "hooks" / "update").write_text(HOOK)
        (bare / "hooks" / "update").chmod(0o755)

    def protect(self, approvals: int) -> None:
        self.required = approvals
        (self.bare / "protected").touch()

    def open_issue(self, by: str, title: str, labels: tuple[str, ...] = ()) -> int:
        number = len(self.issues) + len(self.pulls) + 1
        self.issues[number] = {
            "number": number, "title": title, "body": "", "state": "open", "user": {"login": by},
            "labels": [{"name": label} for label in labels], "assignees": None, "updated_at": now(),
            "html_url": f"{self.url}/team/shop/issues/{number}", "pull_request": None,
        }  # fmt: skip
        return number

    def comment(self, by: str, number: int, text: str) -> None:
        place = "pulls" if number in self.pulls else "issues"
        url = f"{self.url}/team/shop/{place}/{number}"
        self.comments.append({
            "id": len(self.comments) + 1, "number": number, "user": {"login": by}, "body": text, "updated_at": now(),
            "issue_url": "" if number in self.pulls else url, "pull_request_url": url if number in self.pulls else "",
        })  # fmt: skip

    def review(self, by: str, number: int, state: str, comments: list[dict[str, Any]] | None = None) -> None:
        rows = self.reviews.setdefault(number, [])
        rows.append({
            "id": len(rows) + 1, "user": {"login": by}, "state": state, "body": "", "dismissed": False,
            "commit_id": self.head(self.pulls[number]["branch"]), "official": self.people[by] != "read",
            "submitted_at": now(), "comments": comments or [],
        })  # fmt: skip
        self.pulls[number]["updated_at"] = now()

    def head(self, branch: str) -> str:
        return self.git("rev-parse", f"refs/heads/{branch}")

    def git(self, *words: str) -> str:
        identity = ("-c", "user.name=Gitea", "-c", "user.email=gitea@localhost")
        done = subprocess.run(["git", *identity, *words], cwd=self.bare, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def as_pull(self, pull: dict[str, Any]) -> dict[str, Any]:
        head = pull["merged_head"] or (self.head(pull["branch"]) if pull["state"] == "open" else "")
        return {
            **pull, "head": {"ref": pull["branch"], "sha": head}, "base": {"ref": "main"}, "mergeable": True,
            "html_url": f"{self.url}/team/shop/pulls/{pull['number']}",
        }  # fmt: skip

    def merge(self, number: int, style: str, head: str = "", title: str = "", text: str = "", by: str = "ann") -> None:
        pull = self.pulls[number]
        tip, target = self.head(pull["branch"]), self.head("main")
        settings = {"merge": "allow_merge_commits", "squash": "allow_squash_merge"}
        if not self.styles.get(settings.get(style, "")):
            refuse(405, f"{style} is not an allowed merge style for this repository")
        if head and head != tip:
            refuse(409, "head out of date")
        approvals = {row["user"]["login"] for row in self.reviews.get(number, []) if row["state"] == "APPROVED"}
        if len(approvals) < self.required:
            refuse(405, "Does not have enough approvals")
        tree = self.git("merge-tree", "--write-tree", target, tip)
        parents = ["-p", target] + (["-p", tip] if style == "merge" else [])
        made = self.git("commit-tree", tree, *parents, "-m", f"{title or 'Merge'}\n\n{text}")
        self.git("update-ref", "refs/heads/main", made)
        pull.update(state="closed", merged=True, merged_head=tip, merge_commit_sha=made, merged_by={"login": by},
                    updated_at=now())  # fmt: skip


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def refuse(code: int, message: str) -> None:
    answer = jsonify({"message": message})
    answer.status_code = code
    abort(answer)


def paged(rows: list[dict[str, Any]]) -> Response:
    page = int(request.args.get("page", 1))
    answer = jsonify(rows[(page - 1) * PAGE : page * PAGE])
    if page * PAGE < len(rows):
        others = "&".join(f"{key}={value}" for key, value in request.args.items() if key != "page")
        answer.headers["Link"] = f'<{request.base_url}?{others}&page={page + 1}>; rel="next"'
    answer.headers["X-Total-Count"] = str(len(rows))
    return answer


def app_of(forge: Gitea) -> Flask:
    app = Flask("gitea")

    @app.before_request
    def admitted() -> None:
        forge.calls.append(f"{request.method} {request.path}")
        login = forge.tokens.get(request.headers.get("Authorization", "").removeprefix("token "))
        if not login:
            refuse(401, "token is required")
        if forge.limited:
            answer = jsonify({"message": "slow down"})
            answer.status_code, answer.headers["Retry-After"] = 429, "17"
            abort(answer)
        if request.method != "GET" and forge.people[str(login)] == "read":
            refuse(403, "user should have a permission to write to a repo")
        request.environ["login"] = login

    for add in (add_project, add_pulls, add_reviews, add_issues):
        add(app, forge)
    return app


API, REPO = "/api/v1", "/api/v1/repos/team/shop"


def add_project(app: Flask, forge: Gitea) -> None:
    @app.get(f"{API}/version")
    def version() -> Any:
        return {"version": "1.22.0"}

    @app.get(f"{API}/user")
    def user() -> Any:
        return {"login": request.environ["login"]}

    @app.get(REPO)
    def project() -> Any:
        writes = forge.people[request.environ["login"]] != "read"
        return {"full_name": "team/shop", "permissions": {"push": writes}, **forge.styles}

    @app.get(f"{REPO}/branches/<name>")
    def branch(name: str) -> Any:
        free = not (forge.bare / "protected").exists()
        return {"name": name, "required_approvals": forge.required, "user_can_push": free, "user_can_merge": True}

    @app.get(f"{REPO}/compare/<basehead>")
    def compare(basehead: str) -> Any:
        base, _, head = basehead.partition("...")
        return {"total_commits": int(forge.git("rev-list", "--count", f"{base}..{head}"))}

    @app.get(f"{REPO}/git/commits/<sha>")
    def commit(sha: str) -> Any:
        return {"commit": {"message": forge.git("log", "-1", "--format=%B", sha)}}

    @app.get(f"{REPO}/collaborators/<login>/permission")
    def permission(login: str) -> Any:
        if login not in forge.people:
            refuse(404, "user does not exist")
        return {"permission": forge.people[login]}

    @app.get(f"{REPO}/hooks")
    def hooks() -> Any:
        if forge.people[request.environ["login"]] != "owner":
            refuse(403, "user should be an owner or a collaborator with admin write of a repository")
        return paged(forge.hooks)

    @app.post(f"{REPO}/statuses/<sha>")
    def status(sha: str) -> Any:
        forge.statuses.append({"sha": sha, **request.get_json()})
        return {}, 201


def add_pulls(app: Flask, forge: Gitea) -> None:
    @app.get(f"{REPO}/pulls")
    def pulls() -> Any:
        return paged([forge.as_pull(pull) for pull in forge.pulls.values()])

    @app.post(f"{REPO}/pulls")
    def open_pull() -> Any:
        new, number = request.get_json(), len(forge.issues) + len(forge.pulls) + 1
        if any(pull["state"] == "open" and pull["branch"] == new["head"] for pull in forge.pulls.values()):
            refuse(409, "pull request already exists for these targets")
        forge.pulls[number] = {
            "number": number, "title": new["title"], "body": new["body"], "branch": new["head"], "state": "open",
            "merged": False, "merged_head": "", "merge_commit_sha": None, "updated_at": now(),
            "user": {"login": request.environ["login"]}, "merged_by": None,
        }  # fmt: skip
        return forge.as_pull(forge.pulls[number]), 201

    @app.get(f"{REPO}/pulls/<int:number>")
    def pull(number: int) -> Any:
        return forge.as_pull(forge.pulls[number]) if number in forge.pulls else refuse(404, "not found")

    @app.patch(f"{REPO}/pulls/<int:number>")
    def edit_pull(number: int) -> Any:
        forge.pulls[number].update(request.get_json(), updated_at=now())
        return forge.as_pull(forge.pulls[number]), 201

    @app.post(f"{REPO}/pulls/<int:number>/merge")
    def merge(number: int) -> Any:
        asked = request.get_json()
        words = (asked.get("MergeTitleField", ""), asked.get("MergeMessageField", ""))
        forge.merge(number, asked["Do"], asked.get("head_commit_id", ""), *words, by=request.environ["login"])
        return "", 200


def add_reviews(app: Flask, forge: Gitea) -> None:
    @app.get(f"{REPO}/pulls/<int:number>/reviews")
    def reviews(number: int) -> Any:
        return paged([{k: v for k, v in row.items() if k != "comments"} for row in forge.reviews.get(number, [])])

    @app.post(f"{REPO}/pulls/<int:number>/reviews")
    def write_review(number: int) -> Any:
        asked = request.get_json()
        forge.review(request.environ["login"], number, asked["event"], asked["comments"])
        return {}, 200

    @app.get(f"{REPO}/pulls/<int:number>/reviews/<int:review>/comments")
    def review_comments(number: int, review: int) -> Any:
        return jsonify(forge.reviews[number][review - 1]["comments"])


def add_issues(app: Flask, forge: Gitea) -> None:
    def fresh(rows: list[dict[str, Any]]) -> Response:
        return paged([row for row in rows if row["updated_at"] >= request.args.get("since", "")])

    @app.get(f"{REPO}/issues")
    def issues() -> Any:
        asked = {"pull_request": {"merged": False}, "labels": [], "assignees": None}
        return fresh([*forge.issues.values(), *({**forge.as_pull(pull), **asked} for pull in forge.pulls.values())])

    @app.patch(f"{REPO}/issues/<int:number>")
    def edit_issue(number: int) -> Any:
        if number not in forge.issues:
            refuse(404, "issue does not exist")
        forge.issues[number].update(request.get_json())
        return forge.issues[number], 201

    @app.get(f"{REPO}/issues/comments")
    def all_comments() -> Any:
        return fresh(forge.comments)

    # unlike other lists, Gitea gives all comments of one issue at once
    @app.get(f"{REPO}/issues/<int:number>/comments")
    def issue_comments(number: int) -> Any:
        return jsonify([row for row in forge.comments if row["number"] == number])

    @app.post(f"{REPO}/issues/<int:number>/comments")
    def write_comment(number: int) -> Any:
        forge.comment(request.environ["login"], number, request.get_json()["body"])
        return forge.comments[-1], 201

    @app.patch(f"{REPO}/issues/comments/<int:id>")
    def rewrite(id: int) -> Any:
        forge.comments[id - 1].update(request.get_json())
        return forge.comments[id - 1]


@contextmanager
def serving(bare: Path) -> Iterator[Gitea]:
    """A running forge on a free port."""
    forge = Gitea(bare)
    server = make_server("127.0.0.1", 0, app_of(forge), threaded=True)
    forge.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield forge
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
