"""The routes of GitLab's REST API that the box uses."""

from __future__ import annotations

from typing import Any

from flask import Flask, request

from tests.contracts.forges.gitlab_shown import API, LEVELS, REPO, Shown, millis, plain, since
from tests.contracts.forges.nouns import Change, Issue


def add_project(app: Flask, forge: Shown) -> None:
    @app.get(f"{API}/user")
    def user() -> Any:
        return forge.as_user(forge.login)

    @app.get(f"{API}/personal_access_tokens/self")
    def token() -> Any:
        scopes = sorted(request.environ["scopes"])
        return {"id": 1, "name": "box", "scopes": scopes, "active": True, "expires_at": forge.token_ends}

    @app.get(REPO)
    def project() -> Any:
        return forge.as_project(forge.login)

    @app.get(f"{REPO}/members/all")
    def members() -> Any:
        rows = [
            {**forge.as_user(login), "access_level": LEVELS[right], "expires_at": None}
            for login, right in forge.people.items()
            if request.args.get("query", "") in login and right != "none"
        ]
        return forge.linked(rows)

    @app.get(f"{REPO}/hooks")
    def hooks() -> Any:
        forge.need("admin", message="403 Forbidden")
        return forge.linked([forge.as_hook(hook) for hook in forge.hooks])

    @app.get(f"{API}/groups/team/hooks")
    def team_hooks() -> Any:
        forge.need("admin", message="403 Forbidden")
        return forge.linked([forge.as_hook(hook) for hook in forge.team_hooks])

    @app.post(f"{REPO}/statuses/<sha>")
    def status(sha: str) -> Any:
        forge.need("write", message="403 Forbidden")
        asked = request.get_json()
        if forge._run("cat-file", "-e", f"{sha}^{{commit}}").returncode:
            return forge.error(404, "404 Commit Not Found")
        if asked["state"] not in ("pending", "running", "success", "failed", "canceled", "skipped"):
            return {"error": "state does not have a valid value"}, 400
        link = asked.get("target_url", "")
        if link and not link.startswith("http"):
            return forge.error(400, "target_url is blocked: Only allowed schemes are http, https")
        stands = [one.state for one in forge.statuses if (one.commit, one.gate) == (sha, asked["name"])][-1:]
        if asked["state"] in ("pending", "running") and stands == [asked["state"]]:
            return forge.error(400, f"Cannot transition status via :run from :{asked['state']} (Reason(s): Status x)")
        forge.status(forge.login, sha, asked["name"], asked["state"], asked.get("description", ""), link)
        return {"id": len(forge.statuses), "sha": sha, "name": asked["name"], "status": asked["state"]}, 201


def add_branches(app: Flask, forge: Shown) -> None:
    @app.get(f"{REPO}/repository/branches/<name>")
    def branch(name: str) -> Any:
        if not forge.head(plain(name)):
            return forge.error(404, "404 Branch Not Found")
        return forge.as_branch(plain(name))

    @app.get(f"{REPO}/protected_branches/<name>")
    def protection(name: str) -> Any:
        if not forge.protected or plain(name) != "main":
            return forge.error(404, "404 Not found")
        merge = [{"access_level": LEVELS[forge.merging]}]
        told = {} if forge.free else {"code_owner_approval_required": forge.owned}
        return {"id": 1, "name": "main", "push_access_levels": [], "merge_access_levels": merge, **told}

    @app.get(f"{REPO}/approval_rules")
    def rules() -> Any:
        if forge.free:
            return forge.error(404, "404 Not Found")
        rule = {"id": 1, "name": "All Members", "rule_type": "any_approver", "approvals_required": forge.required}
        return forge.linked([{**rule, "protected_branches": [{"name": "main"}]}, {
            **rule, "id": 2, "approvals_required": 9, "protected_branches": [{"name": "release"}],
        }])  # fmt: skip

    @app.get(f"{REPO}/repository/commits/<sha>")
    def commit(sha: str) -> Any:
        parents = forge.git("log", "-1", "--format=%P", sha).split()
        return {"id": sha, "message": forge.git("log", "-1", "--format=%B", sha), "parent_ids": parents}

    @app.get(f"{REPO}/repository/merge_base")
    def merge_base() -> Any:
        found = forge._run("merge-base", *request.args.getlist("refs[]"))
        return {"id": found.stdout.strip()} if found.returncode == 0 else forge.error(404, "404 Merge Base Not Found")


def add_requests(app: Flask, forge: Shown) -> None:
    place = f"{REPO}/merge_requests"

    def found(number: int) -> Change:
        return forge.changes[number] if number in forge.changes else forge.refuse(404, "404 Not found")

    @app.get(place)
    def requests() -> Any:
        wanted = {name: request.args.get(name, "") for name in ("source_branch", "target_branch")}
        rows = [
            one for one in since(forge.changes.values())
            if wanted["source_branch"] in ("", one.branch) and wanted["target_branch"] in ("", one.target)
        ]  # fmt: skip
        state = request.args.get("state", "all")
        shown = [forge.as_request(one, whole=False) for one in rows]
        return forge.linked([one for one in shown if state in ("all", one["state"])])

    @app.post(place)
    def open_request() -> Any:
        forge.need("write", message="403 Forbidden")
        new = request.get_json()
        made = forge.open_change(
            forge.login, new["source_branch"], new["target_branch"], new["title"], forge.taken(new["description"])
        )
        made.draft = new["title"].lower().startswith("draft:")
        return forge.as_request(made), 201

    @app.get(f"{place}/<int:number>")
    def one_request(number: int) -> Any:
        return forge.as_request(found(number))

    @app.put(f"{place}/<int:number>")
    def edit_request(number: int) -> Any:
        edit(forge, found(number))
        return forge.as_request(found(number))

    @app.put(f"{place}/<int:number>/merge")
    def merge(number: int) -> Any:
        change, asked = found(number), request.get_json()
        if not forge.may(forge.login, forge.merging):
            return forge.error(401, "401 Unauthorized")
        style = "squash" if asked.get("squash") else forge.styles[0]
        words = asked["squash_commit_message" if style == "squash" else "merge_commit_message"]
        if forge.merge_fails:  # it says so in the request, and not by a code
            return {**forge.as_request(change), **forge.merge_fails}
        forge.merge(number, style, by=forge.login, head=asked.get("sha", ""), message=words)
        return forge.as_request(change)

    @app.get(f"{place}/<int:number>/approvals")
    def approvals(number: int) -> Any:
        return forge.as_approvals(found(number))

    @app.get(f"{place}/<int:number>/reviewers")
    def reviewers(number: int) -> Any:
        return forge.as_reviewers(found(number))

    @app.get(f"{place}/<int:number>/versions")
    def versions(number: int) -> Any:
        rows = [
            {"id": id, "head_commit_sha": sha, "created_at": millis(at), "state": "collected"}
            for id, (sha, at) in enumerate(forge.versions.get(found(number).number, []), 1)
        ]
        return forge.linked(list(reversed(rows)))


def add_discussions(app: Flask, forge: Shown) -> None:
    place = f"{REPO}/merge_requests/<int:number>"

    @app.get(f"{place}/diffs")
    def diffs(number: int) -> Any:
        change = forge.changes[number]
        span = f"{forge.base_of(change)}..{forge.tip(change)}"
        rows = []
        for path in forge.git("diff", "--name-only", span).splitlines():
            text = forge.git("diff", span, "--", path)
            rows.append({"old_path": path, "new_path": path, "diff": text[text.index("@@") :] + "\n"})
        return forge.linked(rows)

    @app.get(f"{place}/discussions")
    def discussions(number: int) -> Any:
        notes = reversed(forge.notes("change", number))
        return forge.linked([{"id": f"d{note['id']}", "individual_note": True, "notes": [note]} for note in notes])

    @app.post(f"{place}/discussions")
    def discuss(number: int) -> Any:
        change, asked = forge.changes[number], request.get_json()
        where = asked["position"]
        known = forge.in_diff(change, where["new_path"])
        line = where["new_line"]
        right = line in known and known[line] == where.get("old_line") and where["old_path"] == where["new_path"]
        if not right or where["head_sha"] != forge.tip(change):
            told = 'Note {:line_code=>["can\'t be blank", "must be a valid line code"]}'
            return forge.error(400, f"400 Bad request - {told}")
        body = forge.taken(asked["body"])
        review = forge.review(forge.login, number, "commented", "", ((where["new_path"], line, body),))
        return {"id": "d1", "notes": [forge.as_line(review, review.lines[0])]}, 201


def add_issues(app: Flask, forge: Shown) -> None:
    @app.get(f"{REPO}/issues")
    def issues() -> Any:
        rows = [forge.as_issue(one) for one in since(forge.issues.values())]
        state = request.args.get("state", "all")
        return forge.linked([one for one in rows if state in ("all", one["state"])])

    @app.put(f"{REPO}/issues/<int:number>")
    def edit_issue(number: int) -> Any:
        issue = forge.thread("issue", number)
        edit(forge, issue)
        return forge.as_issue(forge.issues[number])

    @app.get(f"{REPO}/issues/<int:number>/resource_label_events")
    def labels(number: int) -> Any:
        return forge.linked([
            {"id": id, "user": forge.as_user(one.by), "action": one.action, "label": {"name": one.label},
             "created_at": millis(one.at)}
            for id, one in enumerate(forge.labelled, 1) if one.number == number
        ])  # fmt: skip

    for where, kind in (("issues", "issue"), ("merge_requests", "change")):
        add_notes(app, forge, where, kind)


def add_notes(app: Flask, forge: Shown, where: str, kind: Any) -> None:
    place = f"{REPO}/{where}/<int:number>/notes"

    def notes(number: int) -> Any:
        forge.thread(kind, number)
        return forge.linked(forge.notes(kind, number))

    def write(number: int) -> Any:
        text = forge.taken(request.get_json()["body"])
        return forge.as_note(forge.comment(forge.login, number, text, kind)), 201

    def rewrite(number: int, id: int) -> Any:
        note = next((one for one in forge.comments if one.id == id and one.number == number), None)
        if note is None or note.by != forge.login:
            return forge.error(403 if note else 404, "403 Forbidden" if note else "404 Note Not Found")
        return forge.as_note(forge.rewrite(forge.login, id, forge.taken(request.get_json()["body"])))

    app.add_url_rule(place, f"{kind}_notes", notes, methods=["GET"])
    app.add_url_rule(place, f"{kind}_note", write, methods=["POST"])
    app.add_url_rule(f"{place}/<int:id>", f"{kind}_rewrite", rewrite, methods=["PUT"])


def edit(forge: Shown, one: Issue | Change) -> None:
    forge.need("write", message="403 Forbidden")
    asked = request.get_json()
    fields: dict[str, Any] = {}
    if "title" in asked:
        fields["title"] = asked["title"]
    if "description" in asked:
        fields["body"] = forge.taken(asked["description"])
    wish = asked.get("state_event")
    if wish and (wish == "close") == one.open:
        fields["open"] = wish == "reopen"
    if fields:
        forge.edit(forge.login, one.kind, one.number, **fields)


ROUTES = (add_project, add_branches, add_requests, add_discussions, add_issues)
