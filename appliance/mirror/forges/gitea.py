"""Gitea, and through appliance/mirror/forges/forgejo.py Forgejo: the API both publish at /api/v1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal
from urllib.parse import quote

from appliance.errors import PolicyRefused, Unavailable
from appliance.mirror.forges.alike import Alike, login
from appliance.mirror.forges.verbs import Remark, Request
from appliance.mirror.forges.words import closed_at, when
from appliance.news import ChangeNews, CommentNews, IssueNews, News, ReviewNews
from appliance.ports import Draft
from appliance.work import Origin, Proposal

STYLES = {
    "fast-forward-only": "allow_fast_forward_only_merge", "merge": "allow_merge_commits", "rebase": "allow_rebase",
    "rebase-merge": "allow_rebase_explicit", "squash": "allow_squash_merge",
}  # fmt: skip
"""Merge styles, in the order of our liking, and the project's setting that allows each."""

VERDICTS: dict[str, Literal["approved", "changes", "commented"]] = {
    "APPROVED": "approved", "REQUEST_CHANGES": "changes", "COMMENT": "commented",
}  # fmt: skip


ASKED = "official review requests"
"""What the refusal of a merge says when the branch waits for everybody who was asked for a review."""


class GiteaForge(Alike):
    """See ports.Forge."""

    kind = "gitea"
    to_write = (
        "Settings → Collaborators: add {account} with the right Write; token scopes: write:repository, write:issue, "
        "read:user"
    )
    to_hook = "Settings → Webhooks → Add: {url}, JSON, all events; app.ini: [webhook] ALLOWED_HOST_LIST = its host"

    @staticmethod
    def base_of(api: str) -> str:
        """Where the API begins, from the forge's address."""
        return f"{api}/api/v1"

    @staticmethod
    def headers_of(token: str) -> dict[str, str]:
        """How a token is shown."""
        return {"Authorization": f"token {token}"}

    # -- what requests, comments and hooks say ------------------------------------------------------------------------

    def state_of(self, request: Request) -> Literal["open", "merged", "closed"]:
        """See Verbs."""
        return state_of(request)

    def wrong_with(self, hook: Mapping[str, Any]) -> str:
        """See Verbs."""
        return "" if hook["active"] else "the webhook is switched off"

    def _ahead(self, compared: Mapping[str, Any]) -> int:
        return int(compared["total_commits"])

    # -- what is asked of the forge -----------------------------------------------------------------------------------

    def _branch_in_words(self, name: str) -> tuple[str, str]:
        branch = self._branch(name)
        if not branch["user_can_push"] and not branch["user_can_merge"]:
            fix = "Settings → Branches: let the box's account merge (its merge allow list), or people merge by hand"
            return "takes no merges of the box", fix
        how = "pushed to" if branch["user_can_push"] else "merged into by request"
        return f"is {how}; reviews required: {branch.get('required_approvals', 0)}", ""

    def _takes_pushes(self, branch: str) -> bool:
        return bool(self._branch(branch).get("user_can_push"))

    def _remarked(self, proposal: Proposal) -> set[tuple[str, str]]:
        place = f"{self._place(proposal.number)}/reviews"
        return {
            (comment["path"], comment["body"])
            for review in self._list(place)
            if login(review) == self.account
            for comment in self._list(f"{place}/{review['id']}/comments")
        }

    def _remark(self, proposal: Proposal, remarks: Sequence[Remark]) -> list[Remark]:
        comments = [{"path": path, "new_position": line, "body": body} for path, line, body in remarks]
        whole = {"event": "COMMENT", "commit_id": proposal.commit, "comments": comments}
        self._client.call("POST", f"{self._place(proposal.number)}/reviews", whole)
        return []

    def _heard(self, since: str) -> Iterable[News]:
        for issue in self._list(f"{self._repo}/issues", state="all", since=since):
            yield from self._of_change(issue, since) if issue.get("pull_request") is not None else [as_issue(issue)]
        for comment in self._list(f"{self._repo}/issues/comments", since=since):
            yield as_comment(comment)

    def _merge(self, number: str, commit: str, draft: Draft) -> str:  # noqa: ARG002 - the project rules, not the branch
        """`head_commit_id` makes the forge refuse any other head."""
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
            owed = [*self._as_proposal(self._whole(number)).blockers]
            if ASKED in error.message.lower():
                owed += [f"the review of {who} is asked for and still to come" for who in self._asked(number)]
            if owed:
                raise PolicyRefused("; ".join(owed), f"review and approve request {number} on the forge") from error
            raise
        return self.landed(self._whole(number))

    def _asked(self, number: str) -> list[str]:
        """Whose review is asked for and has not come: people, and teams by their name. Code owners are asked by the
        forge itself; whether a merge waits for them is a rule of the branch that only its administrators may read."""
        asked = [one for one in self._list(f"{self._repo}/pulls/{number}/reviews") if one["state"] == "REQUEST_REVIEW"]
        people = {login(one) if one["user"] else f"the team {(one.get('team') or {}).get('name', '')}" for one in asked}
        return sorted(people)

    def _branch(self, name: str) -> dict[str, Any]:
        return dict(self._client.get(f"{self._repo}/branches/{quote(name)}"))

    def _request(self, draft: Draft) -> Request | None:
        """The forge finds the oldest request of two branches at once. Only where that one is not open, or somebody
        else's, there may be others, and lists are read: of the open ones first, which are few."""
        if self._finds and "/" not in draft.target:  # a slash would end the base's name
            first = self._client.find(f"{self._repo}/pulls/{quote(draft.target)}/{quote(draft.branch)}")
            if first is None:
                return None
            ours = self.by(first) == self.account
            if ours and first["state"] == "open":
                return dict(first)
            newer = self._newest(draft, "open")
            if newer or (ours and first["merged"]):
                return newer or dict(first)
        return self._newest(draft, "all")

    @cached_property
    def _finds(self) -> bool:
        """Does it find requests by their branches? Since Gitea 1.22, and Forgejo 7, which names the Gitea it equals."""
        said = str(self._client.get("/version")["version"])
        found = re.search(r"gitea-(\d+)\.(\d+)", said) or re.match(r"(\d+)\.(\d+)", said)
        return found is not None and (int(found[1]), int(found[2])) >= (1, 22)

    def _newest(self, draft: Draft, state: str) -> Request | None:
        pulls = self._list(f"{self._repo}/pulls", state=state, sort="recentupdate")
        ours = [p for p in pulls if p["head"]["ref"] == draft.branch and p["base"]["ref"] == draft.target]
        ours = [p for p in ours if self.by(p) == self.account]
        return max(ours, key=lambda p: (p["state"] == "open", p["number"]), default=None)

    def _as_proposal(self, pull: Request) -> Proposal:
        number, state = str(pull["number"]), state_of(pull)
        head = pull["head"]["sha"]
        last: dict[str, str] = {}
        for review in self._list(f"{self._repo}/pulls/{number}/reviews"):
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
        for review in self._list(f"{self._repo}/pulls/{pull['number']}/reviews"):
            verdict = "dismissed" if review["dismissed"] else VERDICTS.get(review["state"])
            if verdict and when(review["submitted_at"]) >= when(since):
                heard.append(ReviewNews(
                    by=review["user"]["login"], at=when(review["submitted_at"]), origin=origin, verdict=verdict,
                    text=review["body"] or "", branch=branch, commit=review["commit_id"] or "",
                ))  # fmt: skip
        return heard


def state_of(pull: Mapping[str, Any]) -> Literal["open", "merged", "closed"]:
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
        assignees=tuple(person["login"] for person in issue["assignees"] or ()), closed=closed_at(issue),
    )  # fmt: skip


def as_comment(comment: dict[str, Any]) -> CommentNews:
    """A comment, under an issue or a request."""
    url = comment.get("pull_request_url") or comment["issue_url"]
    kind: Literal["issue", "change"] = "change" if comment.get("pull_request_url") else "issue"
    return CommentNews(
        by=comment["user"]["login"], at=when(comment["updated_at"]), id=str(comment["id"]), text=comment["body"],
        origin=Origin(kind=kind, number=url.rstrip("/").rpartition("/")[2], url=url),
    )  # fmt: skip
