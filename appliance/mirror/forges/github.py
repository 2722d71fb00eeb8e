"""GitHub Enterprise Server, by its REST API at /api/v3."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlsplit

from appliance.errors import Conflict, FactoryError, NotFound, PolicyRefused, Unavailable
from appliance.mirror.forges import github_said as said
from appliance.mirror.forges.alike import Alike, login
from appliance.mirror.forges.client import Client
from appliance.mirror.forges.github_rules import Rules, rules_of
from appliance.mirror.forges.verbs import Remark, Request
from appliance.news import News
from appliance.ports import Draft, Rights
from appliance.work import Proposal

VERSION = "2022-11-28"
"""Of the API; servers that are older than it know one alone, and do not look."""

EVENTS = (
    "issues", "issue_comment", "pull_request", "pull_request_review", "pull_request_review_comment", "push", "status",
)  # fmt: skip
"""What a webhook must send."""


class GithubForge(Alike):
    """See ports.Forge."""

    kind = "github"
    page: ClassVar[Mapping[str, int]] = {"per_page": 100}
    to_write = (
        "Settings → Collaborators and teams: add {account} with the role Write; its token: classic with the scope "
        "repo, or fine-grained with Contents, Issues, Pull requests and Commit statuses (read and write) and Metadata "
        "(read)"
    )
    to_hook = (
        "Settings → Webhooks → Add webhook: Payload URL {url}, Content type application/json, the secret of "
        f"`appliance repo hook`, events {', '.join(EVENTS)}"
    )

    def __init__(self, client: Client, project: str) -> None:
        super().__init__(client, project)
        self._owner = project.partition("/")[0]

    @staticmethod
    def base_of(api: str) -> str:
        """Where the API begins: the address itself when it is an API's, else below the server's."""
        host = urlsplit(api).hostname or ""
        return api if api.endswith("/api/v3") or host.startswith("api.") else f"{api}/api/v3"

    @staticmethod
    def headers_of(token: str) -> dict[str, str]:
        """How a token is shown."""
        kind = "application/vnd.github+json"
        return {"Authorization": f"Bearer {token}", "Accept": kind, "X-GitHub-Api-Version": VERSION}

    # -- what requests, comments and hooks say ------------------------------------------------------------------------

    def state_of(self, request: Request) -> Literal["open", "merged", "closed"]:
        """See Verbs."""
        return said.state_of(request)

    def wrong_with(self, hook: Mapping[str, Any]) -> str:
        """See Verbs."""
        return said.wrong_with(hook, EVENTS)

    def _ahead(self, compared: Mapping[str, Any]) -> int:
        return int(compared["ahead_by"])

    # -- what is asked of the forge -----------------------------------------------------------------------------------

    def _branch_in_words(self, name: str) -> tuple[str, str]:
        rules = self._rules(name)
        if rules.queued:
            fix = "let people queue the box's requests, or let its account bypass the queue"
            return "is merged into by a merge queue, which this API cannot put requests into", fix
        return rules.in_words(), ""

    def _takes_pushes(self, branch: str) -> bool:
        return self._rules(branch).free

    def _remarked(self, proposal: Proposal) -> set[tuple[str, str]]:
        comments = self._list(f"{self._place(proposal.number)}/comments")
        return {(comment["path"], comment["body"]) for comment in comments if login(comment) == self.account}

    def _remark(self, proposal: Proposal, remarks: Sequence[Remark]) -> list[Remark]:
        """A review is taken whole or not at all, and a line outside of the diff is refused: then each goes alone to
        its line, else to its file."""
        place, opening = self._place(proposal.number), f"The factory found {len(remarks)} thing"
        opening += f"{'s' if len(remarks) > 1 else ''} to look at."
        comments = [{"path": path, "line": line, "side": "RIGHT", "body": body} for path, line, body in remarks]
        whole = {"commit_id": proposal.commit, "event": "COMMENT", "body": opening, "comments": comments}
        if self._takes("POST", f"{place}/reviews", whole):
            return []
        pairs = zip(remarks, comments, strict=True)
        return [one for one, comment in pairs if not self._placed(place, proposal.commit, comment)]

    def _heard(self, since: str) -> Iterable[News]:
        asked = {"since": since, "sort": "updated", "direction": "asc"}
        for issue in self._list(f"{self._repo}/issues", state="all", **asked):
            yield from self._of_change(issue["number"], since) if "pull_request" in issue else [said.as_issue(issue)]
        for kind in ("issues", "pulls"):
            for comment in self._list(f"{self._repo}/{kind}/comments", **asked):
                yield said.as_comment(comment)

    def _merge(self, number: str, commit: str, draft: Draft) -> str:
        """`sha` makes the forge refuse any other head."""
        rules = self._rules(draft.target)
        method = rules.method(self._client.get(self._repo))
        body: dict[str, Any] = {"sha": commit, "merge_method": method}
        if method != "rebase":  # the forge's own commit says what the tested one says
            message = self._client.get(f"{self._repo}/git/commits/{commit}")["message"]
            title, _, rest = message.partition("\n")
            body |= {"commit_title": title, "commit_message": rest.strip()}
        try:
            return str(self._client.call("PUT", f"{self._repo}/pulls/{number}/merge", body)["sha"])
        except PolicyRefused as error:
            if "try the merge again" in error.message:
                raise Conflict(error.message, "the box tries again from a fresh base") from error
            pull = self._whole(number)
            owed = self._as_proposal(pull, rules.told_by(error.message)).blockers
            if owed:
                raise PolicyRefused("; ".join(owed), f"review and approve request {number} on the forge") from error
            if pull.get("mergeable_state") == "behind":
                raise Conflict(error.message, "the box tries again from a fresh base") from error
            if pull["mergeable"] is None:
                raise Unavailable(f"the forge still works out whether {number} merges", "try again in 5 s") from error
            raise

    def _takes(self, verb: str, path: str, body: dict[str, Any]) -> bool:
        """Is this taken? False when the forge finds fault with what it says (422)."""
        try:
            self._client.call(verb, path, body)
        except FactoryError as error:
            if type(error) is not FactoryError:
                raise
            return False
        return True

    def _placed(self, place: str, commit: str, comment: dict[str, Any]) -> bool:
        alone = {**comment, "commit_id": commit}
        on_file = {"path": comment["path"], "body": comment["body"], "commit_id": commit, "subject_type": "file"}
        return any(self._takes("POST", f"{place}/comments", one) for one in (alone, on_file))

    def _rules(self, name: str) -> Rules:
        """What the branch asks for, as far as the token may see: the protection itself is for administrators."""
        place = f"{self._repo}/branches/{quote(name)}"
        branch = self._client.get(place)
        protection = None
        if branch["protected"]:
            with contextlib.suppress(PolicyRefused, NotFound):
                protection = self._client.get(f"{place}/protection")
        try:
            rulesets = self._list(f"{self._repo}/rules/branches/{quote(name)}")
        except NotFound:  # a server from before there were rulesets
            rulesets = []
        return rules_of(branch, protection, rulesets)

    def _request(self, draft: Draft) -> Request | None:
        """Forks may have a branch of the same name."""
        pulls = self._list(
            f"{self._repo}/pulls", state="all", head=f"{self._owner}:{draft.branch}", base=draft.target
        )  # fmt: skip
        ours = [p for p in pulls if p["head"]["ref"] == draft.branch and p["base"]["ref"] == draft.target]
        ours = [p for p in ours if login(p) == self.account and not said.from_fork(p)]
        return max(ours, key=lambda p: (p["state"] == "open", p["number"]), default=None)

    def _as_proposal(self, pull: Request, rules: Rules | None = None) -> Proposal:
        number, state, head = str(pull["number"]), said.state_of(pull), pull["head"]["sha"]
        last = said.last_words(self._list(f"{self._repo}/pulls/{number}/reviews"), head)
        counted = {who for who in last if self.rights(who) in (Rights.WRITE, Rights.ADMIN)}
        approved = tuple(sorted(who for who in counted if last[who] == "APPROVED"))
        against = tuple(sorted(who for who in counted if last[who] == "CHANGES_REQUESTED"))
        blockers: tuple[str, ...] = ()
        if state == "open":
            rules = rules or self._rules(pull["base"]["ref"])
            blockers = rules.blockers(pull, approved, against, self._not_passed(head, rules.checks))
        return Proposal(
            number=number, url=pull["html_url"], branch=pull["head"]["ref"], state=state,
            commit=pull["merge_commit_sha"] if state == "merged" else head,
            approved_by=approved, changes_asked_by=against, blockers=blockers,
        )  # fmt: skip

    def _not_passed(self, head: str, wanted: Sequence[str]) -> tuple[str, ...]:
        """Checks that the branch requires and that have not passed."""
        if not wanted:
            return ()
        place = f"{self._repo}/commits/{head}"
        statuses = self._client.get(f"{place}/status", **self.page)["statuses"]
        runs = self._client.get(f"{place}/check-runs", **self.page)["check_runs"]
        passed = {status["context"] for status in statuses if status["state"] == "success"}
        passed |= {run["name"] for run in runs if run["conclusion"] in ("success", "neutral", "skipped")}
        return tuple(name for name in wanted if name not in passed)

    def _of_change(self, number: int, since: str) -> list[News]:
        """What is new of a request: its state, and its reviews."""
        pull = self._whole(str(number))
        return [said.as_change(pull), *said.as_reviews(pull, self._list(f"{self._repo}/pulls/{number}/reviews"), since)]
