"""GitLab, by its REST API at /api/v4."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import accumulate
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from appliance.errors import Conflict, FactoryError, NotFound, PolicyRefused, Unavailable
from appliance.mirror.forges import gitlab_said as said
from appliance.mirror.forges.client import Client
from appliance.mirror.forges.verbs import Grade, Remark, Request, Verbs
from appliance.mirror.forges.words import number_of, when
from appliance.news import News
from appliance.ports import Draft, Rights
from appliance.work import Origin, Proposal, Result

STATES = {Result.PASS: "success", Result.FAIL: "failed", Result.INCONCLUSIVE: "canceled", None: "running"}
LEVELS = ((40, Rights.ADMIN), (30, Rights.WRITE), (10, Rights.READ))
"""Access levels: maintainer, developer, guest."""

DEVELOPER = 30
PAUSES = (0.0, 0.2, 1.0, 2.0, 4.0)
"""Seconds between looks at a request of which the forge still works out whether it merges."""

THROTTLED = timedelta(seconds=90)
"""What happens to an issue or request within a minute of something else leaves its `updated_at` as it is."""

ENDING = timedelta(days=14)
"""A token that ends within this time is warned of; the forge gives none without an end."""

PLACES = {"issue": "issues", "change": "merge_requests"}
TO_MERGE = "Settings → Repository → Protected branches: let Developers merge, or people merge by hand"


class GitlabForge(Verbs):
    """See ports.Forge."""

    kind = "gitlab"
    page: ClassVar[Mapping[str, int]] = {"per_page": 100}
    changing = "PUT"
    closing: ClassVar[Mapping[str, str]] = {"state_event": "close"}
    requests = "merge_requests"
    number = "iid"
    to_write = (
        "Manage → Members: {account} with the role Developer; its token (Settings → Access tokens, or the account's "
        "own): role Developer, scope api"
    )
    to_hook = (
        "Settings → Webhooks → Add new webhook: URL {url}, the secret of `appliance repo hook` as secret token, "
        f"triggers: {', '.join(said.TRIGGERS.values())}; an administrator: Admin → Settings → Network → Outbound "
        "requests: allow requests to the local network from webhooks, or list the box's name there"
    )

    def __init__(self, client: Client, project: str) -> None:
        groups = list(accumulate(project.split("/")[:-1], lambda above, name: f"{above}/{name}"))
        owners = {group: f"/groups/{quote(group, safe='')}" for group in reversed(groups)}
        super().__init__(client, f"/projects/{quote(project, safe='')}", owners)

    @staticmethod
    def base_of(api: str) -> str:
        """Where the API begins, from the forge's address."""
        return f"{api}/api/v4"

    @staticmethod
    def headers_of(token: str) -> dict[str, str]:
        """How a token is shown."""
        return {"PRIVATE-TOKEN": token}

    def status(self, commit: str, gate: str, verdict: Result | None, text: str, url: str) -> None:
        """See ports.Forge. A status that stands there already is refused, and no reason to stop."""
        body = {"name": f"factory/{gate}", "state": STATES[verdict], "description": text[:255]}
        link = {"target_url": url} if url.startswith(("http://", "https://")) else {}  # anything else is refused
        try:
            self._client.call("POST", f"{self._repo}/statuses/{commit}", {**body, **link})
        except FactoryError as error:
            if "Cannot transition status" not in error.message:
                raise

    def rights(self, login: str) -> Rights:
        """See ports.Forge."""
        found = self._list(f"{self._repo}/members/all", query=login) if login else []
        levels = [one["access_level"] for one in found if self.login_of(one) == login and one["state"] == "active"]
        highest = max(levels, default=0)
        return next((rights for level, rights in LEVELS if highest >= level), Rights.NONE)

    # -- what requests, comments and hooks say ------------------------------------------------------------------------

    def worded(self, text: str) -> str:
        """See Verbs."""
        return said.harmless(text)

    def login_of(self, person: Mapping[str, Any] | None) -> str:
        """See Verbs."""
        return said.login(person)

    def by(self, note: Mapping[str, Any]) -> str:
        """See Verbs."""
        return said.login(note["author"])

    def state_of(self, request: Request) -> Literal["open", "merged", "closed"]:
        """See Verbs."""
        return said.STATES[request["state"]]

    def head_of(self, request: Request) -> str:
        """See Verbs."""
        return str(request["sha"])

    def landed(self, request: Request) -> str:
        """See Verbs."""
        return said.landed(request)

    def sends_to(self, hook: Mapping[str, Any]) -> str:
        """See Verbs."""
        return str(hook["url"])

    def wrong_with(self, hook: Mapping[str, Any]) -> str:
        """See Verbs."""
        return said.wrong_with(hook)

    def _words(self, title: str, text: str) -> dict[str, str]:
        return {"title": said.ready(title)[:255].rstrip(), "description": text}

    # -- what is asked of the forge -----------------------------------------------------------------------------------

    def _request(self, draft: Draft) -> Request | None:
        """Forks may have a branch of the same name."""
        found = self._list(
            f"{self._repo}/merge_requests", state="all", scope="all", source_branch=draft.branch,
            target_branch=draft.target,
        )  # fmt: skip
        ours = [
            one for one in found
            if self.by(one) == self.account and one["source_project_id"] == one["target_project_id"]
        ]  # fmt: skip
        return max(ours, key=lambda one: (self.state_of(one) == "open", one["iid"]), default=None)

    def _open(self, draft: Draft, words: Mapping[str, str]) -> Request:
        new = {"source_branch": draft.branch, "target_branch": draft.target, **words}
        return dict(self._client.call("POST", f"{self._repo}/merge_requests", new))

    def _as_proposal(self, request: Request) -> Proposal:
        number, state = str(request["iid"]), self.state_of(request)
        approvals = self._client.get(f"{self._place(number)}/approvals")
        approved: tuple[str, ...] = ()
        if approvals["approved_by"]:
            pushed = said.pushed(self._versions(number), request)
            approved = said.approved_since(approvals, self._list(f"{self._place(number)}/notes"), pushed)
        try:
            reviewers = self._client.find(f"{self._place(number)}/reviewers") or []
        except PolicyRefused:
            reviewers = []
        asking = sorted(said.login(one["user"]) for one in reviewers if one["state"] == "requested_changes")
        against = tuple(who for who in asking if self.rights(who) in (Rights.WRITE, Rights.ADMIN))
        return Proposal(
            number=number, url=request["web_url"], branch=request["source_branch"], state=state,
            commit=said.landed(request) if state == "merged" else request["sha"], approved_by=approved,
            changes_asked_by=against, blockers=said.blockers(request, approvals, against) if state == "open" else (),
        )  # fmt: skip

    def _takes_pushes(self, branch: str) -> bool:
        if not self._branch(branch)["can_push"]:
            return False
        return not self._protection(branch).get("code_owner_approval_required")

    def _moved(self, tested: str, target: str) -> bool:
        tip = self._branch(target)["commit"]["id"]
        try:
            base = self._client.get(f"{self._repo}/repository/merge_base?refs[]={tip}&refs[]={tested}")
        except NotFound:  # nothing in common
            return True
        return bool(base["id"] != tip)

    def _merge(self, number: str, commit: str, draft: Draft) -> str:
        """Merge as the project does. `sha` makes the forge refuse any other head."""
        project, request = self._client.get(self._repo), self._settled(number, commit)
        if said.status_of(request) == "need_rebase":
            raise Conflict(f"{draft.target} moved on the server", "the box tries again from a fresh base")
        # the forge's own commits say what the tested one says
        message = self._client.get(f"{self._repo}/repository/commits/{commit}")["message"].strip()
        body = {
            "sha": commit, "squash": project.get("squash_option") in ("always", "default_on"),
            "merge_commit_message": message, "squash_commit_message": message, "should_remove_source_branch": False,
        }  # fmt: skip
        try:
            done = self._client.call("PUT", f"{self._place(number)}/merge", body)
        except (Conflict, Unavailable):
            raise
        except FactoryError as error:
            request = self._settled(number, commit)
            owed = self._as_proposal(request).blockers
            if owed:
                raise PolicyRefused("; ".join(owed), f"review and approve request {number} on the forge") from error
            if not request.get("user", {}).get("can_merge", True):
                raise PolicyRefused(f"{draft.target} takes no merges of the box", TO_MERGE) from error
            raise
        return self._done(done, number)

    def _done(self, request: Request, number: str) -> str:
        """What a merge left on the target: the forge says yes and means it may have failed, or may still be at it."""
        if request["state"] == "locked":
            raise Unavailable(f"the forge still merges request {number}", "it is looked at again later")
        if self.state_of(request) != "merged":  # a hook of the server had a word
            why = request.get("merge_error") or f"request {number} is still {request['state']}"
            raise PolicyRefused(str(why), f"see request {number} on the forge")
        return said.landed(request)

    def _settled(self, number: str, commit: str) -> dict[str, Any]:
        """A request that proposes the commit and of which it is known whether it merges: the forge takes note of a
        push, and works that out, after it has answered. Raises Unavailable."""
        for pause in PAUSES:
            time.sleep(pause)
            request = self._whole(number)
            if said.status_of(request) not in said.PENDING and self.head_of(request) == commit:
                return request
        raise Unavailable(f"the forge still works out whether request {number} merges", "it is tried again later")

    def _comments(self, origin: Origin) -> str:
        return f"{self._repo}/{PLACES[origin.kind]}/{number_of(origin.number)}/notes"

    def _comment(self, place: str, comment: Mapping[str, Any]) -> str:
        return f"{place}/{comment['id']}"

    def _remarked(self, proposal: Proposal) -> set[tuple[str, str]]:
        return {
            ((note.get("position") or {}).get("new_path", ""), note["body"])
            for discussion in self._list(f"{self._place(proposal.number)}/discussions")
            for note in discussion["notes"]
            if self.by(note) == self.account
        }

    def _remark(self, proposal: Proposal, remarks: Sequence[Remark]) -> list[Remark]:
        place = self._place(proposal.number)
        refs = self._whole(proposal.number)["diff_refs"]
        diffs = {diff["new_path"]: diff for diff in self._list(f"{place}/diffs")}
        return [one for one in remarks if one[0] not in diffs or not self._placed(place, refs, diffs[one[0]], one)]

    def _placed(self, place: str, refs: Mapping[str, str], diff: Mapping[str, Any], remark: Remark) -> bool:
        """Did the forge take this comment on its line?"""
        _, line, body = remark
        position = {**refs, "position_type": "text", "old_path": diff["old_path"], "new_path": diff["new_path"]}
        lines = {"new_line": line, "old_line": said.old_line(str(diff["diff"]), line)}
        told = {name: number for name, number in lines.items() if number}
        try:
            self._client.call("POST", f"{place}/discussions", {"body": body, "position": {**position, **told}})
        except FactoryError as error:
            if type(error) is not FactoryError:
                raise
            return False
        return True

    def _heard(self, since: str) -> Iterable[News]:
        after = (when(since) - THROTTLED).strftime("%Y-%m-%dT%H:%M:%SZ")
        asked = {"updated_after": after, "scope": "all", "state": "all", "order_by": "updated_at", "sort": "asc"}
        for issue in self._list(f"{self._repo}/issues", **asked):
            place = f"{self._repo}/issues/{issue['iid']}"
            labelled = self._list(f"{place}/resource_label_events") if issue["labels"] else []
            yield from said.of_issue(issue, labelled, since)
            yield from said.as_said(issue, "issue", self._list(f"{place}/notes"), (), since)
        for request in self._list(f"{self._repo}/merge_requests", **asked):
            number = str(request["iid"])
            yield from said.of_change(request, since)
            notes = self._list(f"{self._place(number)}/notes")
            versions = self._versions(number) if any(said.review_of(note) for note in notes) else []
            yield from said.as_said(request, "change", notes, versions, since)

    def _rights_in_words(self, project: Mapping[str, Any]) -> tuple[Grade, str]:
        granted = [one["access_level"] for one in project["permissions"].values() if one]
        if max(granted, default=0) < DEVELOPER:
            return "fail", "may only read"
        token: dict[str, Any] = {}
        with contextlib.suppress(PolicyRefused):  # what is no personal token, nor a project's, tells nothing of itself
            token = self._client.find("/personal_access_tokens/self") or {}
        scopes, ends = token.get("scopes", ["api"]), token.get("expires_at")
        if "api" not in scopes:
            return "fail", f"has a token with the scopes {', '.join(scopes)}: api is missing"
        if not ends:
            return "pass", "may write"
        soon = date.fromisoformat(ends) - self._client.clock.date() < ENDING
        return "warn" if soon else "pass", f"may write; its token ends on {ends}"

    def _branch_in_words(self, name: str) -> tuple[str, str]:
        branch, protection = self._branch(name), self._protection(name)
        if not branch["can_push"] and not branch["developers_can_merge"] and self.rights(self.account) != Rights.ADMIN:
            return "takes no merges of the box", TO_MERGE
        owners = bool(protection.get("code_owner_approval_required"))
        how = "is pushed to" if branch["can_push"] and not owners else "is merged into by request"
        try:
            rules = self._client.find(f"{self._repo}/approval_rules", **self.page)
        except PolicyRefused:
            return f"{how}; reviews required: not told to this token", ""
        return f"{how}; {said.approvals_in_words(rules, name, owners)}", ""

    def _branch(self, name: str) -> dict[str, Any]:
        return dict(self._client.get(f"{self._repo}/repository/branches/{quote(name, safe='')}"))

    def _protection(self, name: str) -> dict[str, Any]:
        """What protects a branch, as far as the token may see."""
        try:
            return self._client.find(f"{self._repo}/protected_branches/{quote(name, safe='')}") or {}
        except PolicyRefused:
            return {}

    def _versions(self, number: str) -> list[Any]:
        """What was pushed to a request, and when."""
        return self._list(f"{self._place(number)}/versions")
