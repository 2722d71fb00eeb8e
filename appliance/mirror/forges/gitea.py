"""Gitea, and through appliance/mirror/forges/forgejo.py Forgejo: the API both publish at /api/v1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import quote

from appliance.errors import Conflict, FactoryError, NotFound, PolicyRefused, Unavailable
from appliance.mirror.forges.alike import Alike, login
from appliance.mirror.forges.words import number_of, shown, text_of, when
from appliance.news import ChangeNews, CommentNews, IssueNews, News, ReviewNews
from appliance.ports import Checked, Draft, Workspace
from appliance.work import Finding, Origin, Proposal

STYLES = {
    "fast-forward-only": "allow_fast_forward_only_merge", "merge": "allow_merge_commits", "rebase": "allow_rebase",
    "rebase-merge": "allow_rebase_explicit", "squash": "allow_squash_merge",
}  # fmt: skip
"""Merge styles, in the order of our liking, and the project's setting that allows each."""

VERDICTS: dict[str, Literal["approved", "changes", "commented"]] = {
    "APPROVED": "approved", "REQUEST_CHANGES": "changes", "COMMENT": "commented",
}  # fmt: skip


class GiteaForge(Alike):
    """See ports.Forge."""

    kind = "gitea"

    @staticmethod
    def base_of(api: str) -> str:
        """Where the API begins, from the forge's address."""
        return f"{api}/api/v1"

    @staticmethod
    def headers_of(token: str) -> dict[str, str]:
        """How a token is shown."""
        return {"Authorization": f"token {token}"}

    def propose(self, workspace: Workspace, commit: str, draft: Draft) -> Proposal:
        """See ports.Forge."""
        workspace.publish(commit, draft.branch, draft.over)
        words = {"title": draft.title, "body": text_of(draft)}
        known = self._pull(draft)
        if known is None or known["state"] != "open":
            new = {"head": draft.branch, "base": draft.target, **words}
            known = self._client.call("POST", f"{self._repo}/pulls", new)
        elif (known["title"], known["body"]) != (words["title"], words["body"]):
            known = self._client.call("PATCH", f"{self._repo}/pulls/{known['number']}", words)
        return self._as_proposal(known).with_(commit=commit)

    def proposal(self, draft: Draft) -> Proposal | None:
        """See ports.Forge."""
        pull = self._pull(draft)
        return self._as_proposal(pull) if pull else None

    def land(self, workspace: Workspace, commit: str, draft: Draft) -> str:
        """Where the branch takes the box's pushes and no request is open, push; else through the request, and only
        when the target has nothing that the tested commit lacks."""
        pull = self._pull(draft)
        is_open = pull is not None and state_of(pull) == "open"
        if not is_open and self._branch(draft.target).get("user_can_push"):
            workspace.push(commit, draft.target)
            return commit
        if pull is not None and is_open and pull["head"]["sha"] == commit:
            number = str(pull["number"])
        else:
            number = self.propose(workspace, commit, draft).number
        tested = draft.onto or commit
        ahead = self._client.get(f"{self._repo}/compare/{tested}...{quote(draft.target)}")["total_commits"]
        if ahead:
            raise Conflict(f"{draft.target} moved on the server", "the box tries again from a fresh base")
        self._merge(number, commit)
        return str(self._client.get(f"{self._repo}/pulls/{number}")["merge_commit_sha"])

    def review(self, proposal: Proposal, findings: Sequence[Finding]) -> None:
        """See ports.Forge."""
        place = f"{self._repo}/pulls/{number_of(proposal.number)}/reviews"
        there = {
            (comment["path"], comment["body"])
            for review in self._client.pages(place)
            if login(review) == self.account
            for comment in self._client.pages(f"{place}/{review['id']}/comments")
        }
        words = [(finding.path, finding.line, shown(finding)) for finding in findings]
        fresh = [
            {"path": path, "new_position": line, "body": body}
            for path, line, body in dict.fromkeys(words)
            if (path, body) not in there
        ]
        if fresh:
            self._client.call("POST", place, {"event": "COMMENT", "commit_id": proposal.commit, "comments": fresh})

    def news(self, cursor: str) -> tuple[tuple[News, ...], str]:
        """See ports.Forge. The cursor is the forge's own time before this look: what happens meanwhile comes twice."""
        self._client.get("/version")
        account, now = self.account, self._client.clock.strftime("%Y-%m-%dT%H:%M:%SZ")
        if not cursor:
            return (), now
        heard: list[News] = []
        for issue in self._client.pages(f"{self._repo}/issues", state="all", since=cursor):
            heard += self._of_change(issue, cursor) if issue.get("pull_request") is not None else [as_issue(issue)]
        for comment in self._client.pages(f"{self._repo}/issues/comments", since=cursor):
            heard.append(as_comment(comment))
        return tuple(sorted((one for one in heard if one.by != account), key=lambda one: one.at)), now

    def check(self, branch: str, hook_url: str) -> tuple[Checked, ...]:
        """See ports.Forge."""
        try:
            account = self.account
            project = self._client.get(self._repo)
        except FactoryError as error:
            return (Checked(what="reach", result="fail", found=error.message, fix=error.hint),)
        checked = [Checked(what="reach", result="pass", found=f"{self.kind} answers; the box is {account} there")]
        writes = project["permissions"]["push"]
        checked.append(Checked(
            what="rights", result="pass" if writes else "fail",
            found=f"{account} may {'write' if writes else 'only read'}",
            fix="" if writes else f"Settings → Collaborators: add {account} with the right Write; "
            "token scopes: write:repository, write:issue, read:user",
        ))  # fmt: skip
        return (*checked, self._check_branch(branch), self._check_hook(hook_url))

    def _check_branch(self, name: str) -> Checked:
        try:
            branch = self._branch(name)
        except FactoryError as error:
            return Checked(what="branch", result="fail", found=error.message, fix=error.hint)
        if not branch["user_can_push"] and not branch["user_can_merge"]:
            fix = "Settings → Branches: let the box's account merge (its merge allow list), or people merge by hand"
            return Checked(what="branch", result="warn", found=f"{name} takes no merges of the box", fix=fix)
        owed = branch.get("required_approvals", 0)
        how = "pushed to" if branch["user_can_push"] else "merged into by request"
        return Checked(what="branch", result="pass", found=f"{name} is {how}; reviews required: {owed}")

    def _check_hook(self, url: str) -> Checked:
        line = f"Settings → Webhooks → Add: {url}, JSON, all events; app.ini: [webhook] ALLOWED_HOST_LIST = private"
        try:
            hooks = self._client.pages(f"{self._repo}/hooks")
        except (PolicyRefused, NotFound):
            return Checked(
                what="webhook", result="warn", found="the token may not see the project's webhooks", fix=line
            )
        except FactoryError as error:
            return Checked(what="webhook", result="warn", found=error.message, fix=error.hint)
        if any(hook["active"] and hook["config"].get("url") == url for hook in hooks):
            return Checked(what="webhook", result="pass", found=url)
        return Checked(what="webhook", result="warn", found="there is none to this box: it polls", fix=line)

    def _merge(self, number: str, commit: str) -> None:
        """Merge by a style the project allows. `head_commit_id` makes the forge refuse any other head."""
        project = self._client.get(self._repo)
        allowed = [style for style, setting in STYLES.items() if project.get(setting)]
        if not allowed:
            raise PolicyRefused("the project allows no merges", "Settings → Pull requests: allow a merge style")
        wanted = project.get("default_merge_style")
        style = wanted if wanted in allowed else allowed[0]
        body: dict[str, Any] = {"Do": style, "head_commit_id": commit}
        if style in ("squash", "merge", "rebase-merge"):  # the forge's own commit says what the tested one says
            message = self._client.get(f"{self._repo}/git/commits/{commit}")["commit"]["message"]
            title, _, rest = message.partition("\n")
            body |= {"MergeTitleField": title, "MergeMessageField": rest.strip()}
        try:
            self._client.call("POST", f"{self._repo}/pulls/{number}/merge", body)
        except PolicyRefused as error:
            if "try again later" in error.message.lower():  # it still works out whether the request merges
                raise Unavailable(error.message, "try again in 5 s") from error
            owed = self._as_proposal(self._client.get(f"{self._repo}/pulls/{number}")).blockers
            if owed:
                raise PolicyRefused("; ".join(owed), f"review and approve request {number} on the forge") from error
            raise

    def _branch(self, name: str) -> dict[str, Any]:
        return dict(self._client.get(f"{self._repo}/branches/{quote(name)}"))

    def _pull(self, draft: Draft) -> dict[str, Any] | None:
        """The newest request of the box's branch, open ones first."""
        pulls = self._client.pages(f"{self._repo}/pulls", state="all", sort="recentupdate")
        ours = [p for p in pulls if p["head"]["ref"] == draft.branch and p["base"]["ref"] == draft.target]
        ours = [p for p in ours if p["user"]["login"] == self.account]
        return max(ours, key=lambda p: (p["state"] == "open", p["number"]), default=None)

    def _as_proposal(self, pull: dict[str, Any]) -> Proposal:
        number, state = str(pull["number"]), state_of(pull)
        head = pull["head"]["sha"]
        last: dict[str, str] = {}
        for review in self._client.pages(f"{self._repo}/pulls/{number}/reviews"):
            if review["state"] not in ("APPROVED", "REQUEST_CHANGES") or not review["user"]:
                continue
            counts = not review["dismissed"] and review["official"]
            current = review["state"] == "REQUEST_CHANGES" or review["commit_id"] == head
            last[review["user"]["login"]] = review["state"] if counts and current else ""
        approved = tuple(sorted(who for who, state in last.items() if state == "APPROVED"))
        against = tuple(sorted(who for who, state in last.items() if state == "REQUEST_CHANGES"))
        blockers: list[str] = []
        if state == "open":
            owed = self._branch(pull["base"]["ref"]).get("required_approvals", 0) - len(approved)
            blockers += [f"{owed} more approval{'s' if owed > 1 else ''} of people is required"] if owed > 0 else []
            blockers += [f"{who} asks for changes" for who in against]
            blockers += [] if pull["mergeable"] else ["it does not merge cleanly"]
        return Proposal(
            number=number, url=pull["html_url"], branch=pull["head"]["ref"], state=state,
            commit=pull["merge_commit_sha"] if state == "merged" else head,
            approved_by=approved, changes_asked_by=against, blockers=tuple(blockers),
        )  # fmt: skip

    def _of_change(self, issue: dict[str, Any], since: str) -> list[News]:
        """What is new of a request: its state, and its reviews."""
        pull = self._client.get(f"{self._repo}/pulls/{issue['number']}")
        branch, state = pull["head"]["ref"], state_of(pull)
        origin = Origin(kind="change", number=str(pull["number"]), url=pull["html_url"])
        by = (pull.get("merged_by") or {}).get("login", "") if state == "merged" else ""
        commit = (pull["merge_commit_sha"] or "") if state == "merged" else ""
        heard: list[News] = [
            ChangeNews(by=by, at=when(pull["updated_at"]), origin=origin, state=state, branch=branch, commit=commit)
        ]
        for review in self._client.pages(f"{self._repo}/pulls/{pull['number']}/reviews"):
            verdict = "dismissed" if review["dismissed"] else VERDICTS.get(review["state"])
            if verdict and when(review["submitted_at"]) >= when(since):
                heard.append(ReviewNews(
                    by=review["user"]["login"], at=when(review["submitted_at"]), origin=origin, verdict=verdict,
                    text=review["body"] or "", branch=branch, commit=review["commit_id"] or "",
                ))  # fmt: skip
        return heard


def state_of(pull: dict[str, Any]) -> Literal["open", "merged", "closed"]:
    """How a request stands. The forge calls a merged one closed."""
    if pull["merged"]:
        return "merged"
    return "open" if pull["state"] == "open" else "closed"


def as_issue(issue: dict[str, Any]) -> IssueNews:
    """An issue as it stands. Who changed it is not told: its author may have been another."""
    return IssueNews(
        at=when(issue["updated_at"]), action="edited", title=issue["title"], body=issue["body"] or "",
        origin=Origin(number=str(issue["number"]), url=issue["html_url"]), author=issue["user"]["login"],
        labels=tuple(label["name"] for label in issue["labels"] or ()), open=issue["state"] == "open",
        assignees=tuple(person["login"] for person in issue["assignees"] or ()),
    )  # fmt: skip


def as_comment(comment: dict[str, Any]) -> CommentNews:
    """A comment, under an issue or a request."""
    url = comment.get("pull_request_url") or comment["issue_url"]
    kind: Literal["issue", "change"] = "change" if comment.get("pull_request_url") else "issue"
    return CommentNews(
        by=comment["user"]["login"], at=when(comment["updated_at"]), id=str(comment["id"]), text=comment["body"],
        origin=Origin(kind=kind, number=url.rstrip("/").rpartition("/")[2], url=url),
    )  # fmt: skip
