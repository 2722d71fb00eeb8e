"""The routes of GitHub Enterprise Server's REST API that the box uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import Flask, request

from tests.contracts.forges.github_shown import API, REPO, Shown, seconds
from tests.contracts.forges.nouns import Change, Issue

EVENTS = {"APPROVE": "approved", "REQUEST_CHANGES": "changes", "COMMENT": "commented"}


def add_project(app: Flask, forge: Shown) -> None:
    @app.get(f"{API}/user")
    def user() -> Any:
        return forge.as_user(forge.login)

    @app.get(REPO)
    def project() -> Any:
        return forge.as_repository(forge.login)

    @app.get(f"{REPO}/compare/<path:basehead>")
    def compare(basehead: str) -> Any:
        base, _, head = basehead.partition("...")
        if forge._run("rev-parse", "--verify", "--quiet", f"{base}^{{commit}}").returncode:
            return forge.error(404, "Not Found")
        return {
            "ahead_by": int(forge.git("rev-list", "--count", f"{base}..{head}")),
            "behind_by": int(forge.git("rev-list", "--count", f"{head}..{base}")),
        }

    @app.get(f"{REPO}/git/commits/<sha>")
    def commit(sha: str) -> Any:
        return {"sha": sha, "message": forge.git("log", "-1", "--format=%B", sha)}

    @app.get(f"{REPO}/collaborators/<login>/permission")
    def permission(login: str) -> Any:
        if login not in forge.people:
            return forge.error(404, f"{login} is not a user")
        return {"permission": forge.people[login], "role_name": forge.people[login], "user": forge.as_user(login)}

    @app.get(f"{REPO}/hooks")
    def hooks() -> Any:
        forge.need("admin", 404, "Not Found")
        return forge.linked([forge.as_hook(hook) for hook in forge.hooks])

    @app.get(f"{API}/orgs/team/hooks")
    def team_hooks() -> Any:
        forge.need("admin", 404, "Not Found")
        shown = [{**forge.as_hook(hook), "type": "Organization"} for hook in forge.team_hooks]
        return forge.linked([{name: said for name, said in one.items() if name != "last_response"} for one in shown])

    @app.post(f"{REPO}/statuses/<sha>")
    def status(sha: str) -> Any:
        forge.need("write", 404, "Not Found")
        asked = request.get_json()
        if asked["state"] not in ("error", "failure", "pending", "success"):
            return forge.error(422, "Validation Failed", [{"resource": "Status", "field": "state", "code": "custom"}])
        link = asked.get("target_url", "")
        if link and not link.startswith("http"):
            told = {"resource": "Status", "field": "target_url", "message": "target_url must use http(s) scheme"}
            return forge.error(422, "Validation Failed", [told])
        forge.status(forge.login, sha, asked["context"], asked["state"], asked["description"], link)
        return asked, 201


def add_branches(app: Flask, forge: Shown) -> None:
    @app.get(f"{REPO}/branches/<path:name>")
    def branch(name: str) -> Any:
        if not forge.head(name):
            return forge.error(404, "Branch not found")
        held = forge.protected and name == "main"
        checks = {"enforcement_level": "everyone" if held else "off", "contexts": forge.checks if held else []}
        return {
            "name": name, "commit": {"sha": forge.head(name)}, "protected": held,
            "protection": {"enabled": held, "required_status_checks": checks},
        }  # fmt: skip

    @app.get(f"{REPO}/branches/<path:name>/protection")
    def protection(name: str) -> Any:
        forge.need("admin", 404, "Not Found")
        if not forge.protected or name != "main":
            return forge.error(404, "Branch not protected")
        reviews = {"required_approving_review_count": forge.required, "require_code_owner_reviews": False}
        return {"required_pull_request_reviews": reviews, "required_linear_history": {"enabled": False}}

    @app.get(f"{REPO}/rules/branches/<path:name>")
    def rules(name: str) -> Any:
        return forge.linked(forge.rules if name == "main" else [])

    @app.get(f"{REPO}/commits/<sha>/status")
    def combined(sha: str) -> Any:
        last = {one.gate: one for one in forge.statuses if one.commit == sha}
        return {"state": "pending", "statuses": [{"context": gate, "state": one.state} for gate, one in last.items()]}

    @app.get(f"{REPO}/commits/<sha>/check-runs")
    def check_runs(sha: str) -> Any:
        return {"total_count": 0, "check_runs": []}


def add_pulls(app: Flask, forge: Shown) -> None:
    def found(number: int) -> Change:
        return forge.changes[number] if number in forge.changes else forge.refuse(404, "Not Found")

    @app.get(f"{REPO}/pulls")
    def pulls() -> Any:
        state, head, base = (request.args.get(name, "") for name in ("state", "head", "base"))
        rows = [one for one in forge.changes.values() if state in ("all", "open" if one.open else "closed")]
        rows = [one for one in rows if head in ("", f"team:{one.branch}") and base in ("", one.target)]
        return forge.linked([forge.as_pull(one, whole=False) for one in reversed(rows)])

    @app.post(f"{REPO}/pulls")
    def open_pull() -> Any:
        new = request.get_json()
        if not forge.head(new["head"]):
            return forge.error(
                422, "Validation Failed", [{"resource": "PullRequest", "field": "head", "code": "invalid"}]
            )
        if forge.git("rev-list", "--count", f"{new['base']}..{new['head']}") == "0":
            told = {"resource": "PullRequest", "code": "custom", "message": f"No commits between {new['base']} and x"}
            return forge.error(422, "Validation Failed", [told])
        made = forge.open_change(forge.login, new["head"], new["base"], new["title"], new["body"])
        return forge.as_pull(made), 201

    @app.get(f"{REPO}/pulls/<int:number>")
    def pull(number: int) -> Any:
        return forge.as_pull(found(number))

    @app.patch(f"{REPO}/pulls/<int:number>")
    def edit_pull(number: int) -> Any:
        return edit(forge, found(number), forge.as_pull)

    @app.put(f"{REPO}/pulls/<int:number>/merge")
    def merge(number: int) -> Any:
        forge.need("write", 403, "Resource not accessible by personal access token")
        asked, change = request.get_json(), found(number)
        words = f"{asked.get('commit_title', '')}\n\n{asked.get('commit_message', '')}".strip()
        head, style = asked.get("sha", ""), asked.get("merge_method", "merge")
        made = forge.merge(change.number, style, by=forge.login, head=head, message=words)
        return {"sha": made, "merged": True, "message": "Pull Request successfully merged"}


def add_reviews(app: Flask, forge: Shown) -> None:
    def resolved(number: int, comments: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, int, str], ...] | None:
        """Lines that may be commented; None when one of them is not in the diff."""
        change = forge.changes[number]
        if any(one["line"] not in forge.in_diff(change, one["path"]) for one in comments):
            return None
        return tuple((one["path"], one["line"], one["body"]) for one in comments)

    @app.get(f"{REPO}/pulls/<int:number>/reviews")
    def reviews(number: int) -> Any:
        return forge.linked([forge.as_review(one) for one in forge.reviews if one.number == number])

    @app.post(f"{REPO}/pulls/<int:number>/reviews")
    def write_review(number: int) -> Any:
        asked = request.get_json()
        verdict: Any = EVENTS[asked["event"]]
        if verdict == "approved" and forge.changes[number].by == forge.login:
            return forge.error(422, "Unprocessable Entity", ["Can not approve your own pull request"])
        lines = resolved(number, asked.get("comments", ()))
        if lines is None or not asked.get("body"):
            return forge.error(422, "Unprocessable Entity", ["Line could not be resolved"])
        return forge.as_review(forge.review(forge.login, number, verdict, asked["body"], lines)), 200

    @app.get(f"{REPO}/pulls/<int:number>/comments")
    def lines(number: int) -> Any:
        return forge.linked(
            [forge.as_line(one, line) for one in forge.reviews if one.number == number for line in one.lines]
        )

    @app.post(f"{REPO}/pulls/<int:number>/comments")
    def write_line(number: int) -> Any:
        asked = request.get_json()
        on_file = asked.get("subject_type") == "file"
        shown = forge.in_diff(forge.changes[number], asked["path"])
        if not shown or (not on_file and asked["line"] not in shown):
            told = {
                "resource": "PullRequestReviewComment",
                "code": "invalid",
                "field": "pull_request_review_thread.line",
            }
            return forge.error(422, "Validation Failed", [told])
        where = (asked["path"], 0 if on_file else asked["line"], asked["body"])
        review = forge.review(forge.login, number, "commented", "", (where,))
        return forge.as_line(review, review.lines[0]), 201

    @app.get(f"{REPO}/pulls/comments")
    def all_lines() -> Any:
        rows = [(one, line) for one in forge.reviews for line in one.lines]
        return forge.linked([
            forge.as_line(one, line) for one, line in rows if seconds(one.at) >= request.args.get("since", "")
        ])  # fmt: skip


def add_issues(app: Flask, forge: Shown) -> None:
    def since(rows: Iterable[Any]) -> list[Any]:
        fresh = [one for one in rows if seconds(one.updated) >= request.args.get("since", "")]
        return sorted(fresh, key=lambda one: str(one.updated))

    def kind_of(number: int) -> Any:
        return "change" if number in forge.changes else "issue"

    @app.get(f"{REPO}/issues")
    def issues() -> Any:
        state = request.args.get("state", "open")
        rows = since([*forge.issues.values(), *forge.changes.values()])
        return forge.linked([forge.as_issue(one) for one in rows if state in ("all", "open" if one.open else "closed")])

    @app.patch(f"{REPO}/issues/<int:number>")
    def edit_issue(number: int) -> Any:
        return edit(forge, forge.thread(kind_of(number), number), forge.as_issue)

    @app.get(f"{REPO}/issues/comments")
    def all_comments() -> Any:
        return forge.linked([forge.as_comment(one) for one in since(forge.comments)])

    @app.get(f"{REPO}/issues/<int:number>/comments")
    def issue_comments(number: int) -> Any:
        return forge.linked([forge.as_comment(one) for one in forge.comments if one.number == number])

    @app.post(f"{REPO}/issues/<int:number>/comments")
    def write_comment(number: int) -> Any:
        made = forge.comment(forge.login, number, request.get_json()["body"], kind_of(number))
        return forge.as_comment(made), 201

    @app.patch(f"{REPO}/issues/comments/<int:id>")
    def rewrite(id: int) -> Any:
        return forge.as_comment(forge.rewrite(forge.login, id, request.get_json()["body"]))


def edit(forge: Shown, one: Issue | Change, shown: Callable[[Any], dict[str, Any]]) -> Any:
    forge.need("write", 403, "Must have push access to repository")
    asked = request.get_json()
    fields = {name: asked[name] for name in ("title", "body") if name in asked}
    if "state" in asked and (asked["state"] == "open") != one.open:
        fields["open"] = asked["state"] == "open"
    forge.edit(forge.login, one.kind, one.number, **fields)
    return shown(one)


ROUTES = (add_project, add_branches, add_pulls, add_reviews, add_issues)
