"""GitHub Enterprise Server, by its REST API at /api/v3."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from appliance.errors import Conflict, FactoryError, NotFound, PolicyRefused, Unavailable
from appliance.mirror.forges import github_said as said
from appliance.mirror.forges.alike import LONGEST, Alike, login
from appliance.mirror.forges.client import Client
from appliance.mirror.forges.github_rules import Rules, rules_of
from appliance.mirror.forges.words import number_of, shown, text_of
from appliance.news import News
from appliance.ports import Checked, Draft, Rights, Workspace
from appliance.work import Finding, Origin, Proposal

VERSION = "2022-11-28"
"""Of the API; servers that are older than it know one alone, and do not look."""

EVENTS = (
    "issues", "issue_comment", "pull_request", "pull_request_review", "pull_request_review_comment", "push", "status",
)  # fmt: skip
"""What a webhook must send."""

TO_WRITE = (
    "Settings → Collaborators and teams: add {account} with the role Write; its token: classic with the scope repo, or "
    "fine-grained with Contents, Issues, Pull requests and Commit statuses (read and write) and Metadata (read)"
)
TO_HOOK = (
    "Settings → Webhooks → Add webhook: Payload URL {url}, Content type application/json, the secret of "
    f"`appliance repo hook`, events {', '.join(EVENTS)}"
)


class GithubForge(Alike):
    """See ports.Forge."""

    kind = "github"
    page: ClassVar[Mapping[str, int]] = {"per_page": 100}

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

    def propose(self, workspace: Workspace, commit: str, draft: Draft) -> Proposal:
        """See ports.Forge."""
        workspace.publish(commit, draft.branch, draft.over)
        text = text_of(draft.with_(text=draft.text[: LONGEST - 500]))  # what closes the issue stands at its end
        words = {"title": draft.title.strip()[:256], "body": text.strip()}
        known = self._pull(draft)
        if known is None or known["state"] != "open":
            known = self._opened(draft, words)
        if (known["title"], known["body"]) != (words["title"], words["body"]):
            known = self._client.call("PATCH", f"{self._repo}/pulls/{known['number']}", words)
        return self._as_proposal(self._whole(known["number"])).with_(commit=commit)  # a list tells less

    def proposal(self, draft: Draft) -> Proposal | None:
        """See ports.Forge."""
        pull = self._pull(draft)
        return self._as_proposal(self._whole(pull["number"])) if pull else None

    def land(self, workspace: Workspace, commit: str, draft: Draft) -> str:
        """Where no rule guards the branch and no request is open, push; else through the request, and only when the
        target has nothing that the tested commit lacks."""
        pull = self._pull(draft)
        state = said.state_of(pull) if pull else "closed"
        if pull and state == "merged" and pull["head"]["sha"] == commit:
            return str(pull["merge_commit_sha"])
        rules = self._rules(draft.target)
        if state != "open" and rules.free:
            workspace.push(commit, draft.target)
            return commit
        if pull and state == "open" and pull["head"]["sha"] == commit:
            number = str(pull["number"])
        else:
            number = self.propose(workspace, commit, draft).number
        tested = draft.onto or commit
        ahead = self._client.get(f"{self._repo}/compare/{tested}...{quote(draft.target)}")["ahead_by"]
        if ahead:
            raise Conflict(f"{draft.target} moved on the server", "the box tries again from a fresh base")
        return self._merge(number, commit, rules)

    def review(self, proposal: Proposal, findings: Sequence[Finding]) -> None:
        """See ports.Forge. A review is taken whole or not at all, and a line outside of the diff is refused: then
        each finding goes alone to its line, else to its file, else into a comment."""
        place = f"{self._repo}/pulls/{number_of(proposal.number)}"
        there = {
            (comment["path"], comment["body"])
            for comment in self._list(f"{place}/comments")
            if login(comment) == self.account
        }
        words = dict.fromkeys((finding.path, finding.line, shown(finding)) for finding in findings)
        fresh = [
            {"path": path, "line": line, "side": "RIGHT", "body": body}
            for path, line, body in words
            if (path, body) not in there
        ]
        if not fresh:
            return
        opening = f"The factory found {len(fresh)} thing{'s' if len(fresh) > 1 else ''} to look at."
        whole = {"commit_id": proposal.commit, "event": "COMMENT", "body": opening, "comments": fresh}
        if self._takes("POST", f"{place}/reviews", whole):
            return
        left = [one for one in fresh if not self._placed(place, proposal.commit, one)]
        if left:
            lines = [f"- `{one['path']}` line {one['line']}: {one['body']}" for one in left]
            self.say(Origin(kind="change", number=proposal.number), "findings", "\n".join(lines))

    def news(self, cursor: str) -> tuple[tuple[News, ...], str]:
        """See ports.Forge. The cursor is the forge's own time before this look: what happens meanwhile comes twice."""
        self._client.get(self._repo)
        account, now = self.account, self._client.clock.strftime("%Y-%m-%dT%H:%M:%SZ")
        if not cursor:
            return (), now
        heard: list[News] = []
        for issue in self._list(f"{self._repo}/issues", state="all", since=cursor, sort="updated", direction="asc"):
            heard += self._of_change(issue["number"], cursor) if "pull_request" in issue else [said.as_issue(issue)]
        for kind in ("issues", "pulls"):
            for comment in self._list(f"{self._repo}/{kind}/comments", since=cursor, sort="updated", direction="asc"):
                heard.append(said.as_comment(comment))
        return tuple(sorted((one for one in heard if one.by != account), key=lambda one: one.at)), now

    def check(self, branch: str, hook_url: str) -> tuple[Checked, ...]:
        """See ports.Forge."""
        account = "the box's account"
        try:
            account = self.account
            project = self._client.get(self._repo)
        except NotFound as error:  # also what a token without the scope is told
            return (Checked(what="reach", result="fail", found=error.message, fix=TO_WRITE.format(account=account)),)
        except FactoryError as error:
            return (Checked(what="reach", result="fail", found=error.message, fix=error.hint),)
        writes = project.get("permissions", {}).get("push", False)
        found = f"{account} may {'write' if writes else 'only read'}"
        fix = "" if writes else TO_WRITE.format(account=account)
        return (
            Checked(what="reach", result="pass", found=f"{self.kind} answers; the box is {account} there"),
            Checked(what="rights", result="pass" if writes else "fail", found=found, fix=fix),
            self._check_branch(branch),
            self._check_hook(hook_url),
        )

    def _check_branch(self, name: str) -> Checked:
        try:
            rules = self._rules(name)
        except FactoryError as error:
            return Checked(what="branch", result="fail", found=error.message, fix=error.hint)
        if rules.queued:
            found = f"{name} is merged into by a merge queue, which this API cannot put requests into"
            fix = "let people queue the box's requests, or let its account bypass the queue"
            return Checked(what="branch", result="warn", found=found, fix=fix)
        return Checked(what="branch", result="pass", found=f"{name} {rules.in_words()}")

    def _check_hook(self, url: str) -> Checked:
        fix = TO_HOOK.format(url=url)
        try:
            hooks = self._list(f"{self._repo}/hooks")
        except (PolicyRefused, NotFound):
            found = "the token may not see the project's webhooks"
            return Checked(what="webhook", result="warn", found=found, fix=fix)
        except FactoryError as error:
            return Checked(what="webhook", result="warn", found=error.message, fix=error.hint)
        ours = [hook for hook in hooks if hook["config"].get("url") == url]
        wrong = said.wrong_with(ours[0], EVENTS) if ours else "there is none to this box: it polls"
        return Checked(what="webhook", result="warn" if wrong else "pass", found=wrong or url, fix=fix if wrong else "")

    def _opened(self, draft: Draft, words: dict[str, str]) -> dict[str, Any]:
        """A new request, or the one that somebody was quicker to open."""
        try:
            new = {"head": draft.branch, "base": draft.target, **words}
            return dict(self._client.call("POST", f"{self._repo}/pulls", new))
        except FactoryError as error:
            known = self._pull(draft) if "already exists" in error.message else None
            if known is None:
                raise
            return self._whole(known["number"])

    def _merge(self, number: str, commit: str, rules: Rules) -> str:
        """Merge by a method that is allowed. `sha` makes the forge refuse any other head."""
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

    def _whole(self, number: int | str) -> dict[str, Any]:
        """A request with all fields; a list leaves out whether it merges."""
        return dict(self._client.get(f"{self._repo}/pulls/{number}"))

    def _pull(self, draft: Draft) -> dict[str, Any] | None:
        """The newest request of the box's branch, open ones first. Forks may have a branch of the same name."""
        pulls = self._list(
            f"{self._repo}/pulls", state="all", head=f"{self._owner}:{draft.branch}", base=draft.target
        )  # fmt: skip
        ours = [p for p in pulls if p["head"]["ref"] == draft.branch and p["base"]["ref"] == draft.target]
        ours = [p for p in ours if login(p) == self.account and not said.from_fork(p)]
        return max(ours, key=lambda p: (p["state"] == "open", p["number"]), default=None)

    def _as_proposal(self, pull: dict[str, Any], rules: Rules | None = None) -> Proposal:
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
        pull = self._whole(number)
        return [said.as_change(pull), *said.as_reviews(pull, self._list(f"{self._repo}/pulls/{number}/reviews"), since)]
