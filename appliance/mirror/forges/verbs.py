"""The verbs of ports.Forge as they go on every forge with an API. What each says in its own way is abstract."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

from appliance.errors import Conflict, FactoryError, NotFound, PolicyRefused
from appliance.mirror.forges.client import Client
from appliance.mirror.forges.words import mark_of, number_of, shown, text_of
from appliance.news import News
from appliance.ports import Checked, Draft, Workspace
from appliance.work import Finding, Origin, Proposal

LONGEST = 65_536
"""Characters of a comment or text."""

Request = Mapping[str, Any]
"""A merge request in the forge's words."""

Grade = Literal["pass", "warn", "fail"]
"""How a check came out."""

Remark = tuple[str, int, str]
"""Path, line and words of a comment beside a line."""


class Verbs(ABC):
    """One project on one forge."""

    kind: str
    page: ClassVar[Mapping[str, int]] = {}
    """What asks for long pages."""
    changing: ClassVar[str] = "PATCH"
    """The verb that changes something."""
    closing: ClassVar[Mapping[str, str]] = {"state": "closed"}
    requests: ClassVar[str] = "pulls"
    number: ClassVar[str] = "number"
    """What a request's number is called."""
    to_write: ClassVar[str]
    """What lets `account` write, as a line for people."""
    to_hook: ClassVar[str]
    """What has webhooks sent to `url`, as a line for people."""

    def __init__(self, client: Client, repo: str, owners: Mapping[str, str]) -> None:
        """`repo` is the project's place in the API, `owners` those of the organisation or groups it belongs to, by
        their names, the nearest first."""
        self._client = client
        self._repo = repo
        self._owners = owners

    @cached_property
    def account(self) -> str:
        """See ports.Forge."""
        return self.login_of(self._client.get("/user"))

    def propose(self, workspace: Workspace, commit: str, draft: Draft) -> Proposal:
        """See ports.Forge."""
        workspace.publish(commit, draft.branch, draft.over)
        text = text_of(draft.with_(text=draft.text[: LONGEST - 500]))  # what closes the issue stands at its end
        words = self._words(draft.title.strip(), self.worded(text).strip())
        known = self._request(draft)
        if known is None or self.state_of(known) != "open":
            known = self._opened(draft, words)
        number = str(known[self.number])
        if any(known[field] != said for field, said in words.items()):
            self._client.call(self.changing, self._place(number), words)
        return self._as_proposal(self._whole(number)).with_(commit=commit)  # a list tells less

    def proposal(self, draft: Draft) -> Proposal | None:
        """See ports.Forge."""
        request = self._request(draft)
        return self._as_proposal(self._whole(str(request[self.number]))) if request else None

    def land(self, workspace: Workspace, commit: str, draft: Draft) -> str:
        """Where nothing guards the branch and no request is open, push; else through the request, and only when the
        target has nothing that the tested commit lacks."""
        request = self._request(draft)
        state = self.state_of(request) if request else "closed"
        same = request is not None and self.head_of(request) == commit
        if request and state == "merged" and same:
            return self.landed(request)
        if state != "open" and self._takes_pushes(draft.target):
            workspace.push(commit, draft.target)
            return commit
        if request and state == "open" and same:
            number = str(request[self.number])
        else:
            number = self.propose(workspace, commit, draft).number
        if self._moved(draft.onto or commit, draft.target):
            raise Conflict(f"{draft.target} moved on the server", "the box tries again from a fresh base")
        return self._merge(number, commit, draft)

    def withdraw(self, workspace: Workspace, draft: Draft, why: str) -> None:
        """See ports.Forge. A branch that the server keeps is untidy, and no reason to stop."""
        request = self._request(draft)
        if request and self.state_of(request) == "open":
            number = str(request[self.number])
            self.say(Origin(kind="change", number=number), f"{draft.item}:withdrawn", why)
            self._client.call(self.changing, self._place(number), self.closing)
        with contextlib.suppress(FactoryError):
            workspace.delete(draft.branch, draft.over)

    def say(self, origin: Origin, mark: str, text: str) -> None:
        """See ports.Forge. A mark that somebody else wrote counts for nothing."""
        body = self.worded(f"{mark_of(mark)}\n{text}")[:LONGEST].rstrip()
        place = self._comments(origin)
        for comment in self._list(place):
            if self.by(comment) == self.account and (comment["body"] or "").startswith(mark_of(mark)):
                if comment["body"] != body:
                    self._client.call(self.changing, self._comment(place, comment), {"body": body})
                return
        self._client.call("POST", place, {"body": body})

    def review(self, proposal: Proposal, findings: Sequence[Finding]) -> None:
        """See ports.Forge. What the forge takes on no line of the change goes into one comment."""
        number_of(proposal.number)  # it stands in paths
        remarks: dict[Remark, None] = dict.fromkeys((one.path, one.line, self.worded(shown(one))) for one in findings)
        there = self._remarked(proposal)
        fresh = [one for one in remarks if (one[0], one[2]) not in there]
        left = self._remark(proposal, fresh) if fresh else []
        if left:
            lines = [f"- `{path}` line {line}: {body}" for path, line, body in left]
            self.say(Origin(kind="change", number=proposal.number), "findings", "\n".join(lines))

    def close(self, origin: Origin) -> None:
        """See ports.Forge."""
        self._client.call(self.changing, f"{self._repo}/issues/{number_of(origin.number)}", self.closing)

    def news(self, cursor: str) -> tuple[tuple[News, ...], str]:
        """See ports.Forge. The cursor is the forge's own time before this look: what happens meanwhile comes twice."""
        self._client.get(self._repo)
        account, now = self.account, self._client.clock.strftime("%Y-%m-%dT%H:%M:%SZ")
        if not cursor:
            return (), now
        return tuple(sorted((one for one in self._heard(cursor) if one.by != account), key=lambda one: one.at)), now

    def check(self, branch: str, hook_url: str) -> tuple[Checked, ...]:
        """See ports.Forge."""
        account = "the box's account"
        try:
            account = self.account
            project = self._client.get(self._repo)
        except FactoryError as error:  # not found is also what a token without the scope is told
            fix = self.to_write.format(account=account) if isinstance(error, NotFound) else error.hint
            return (Checked(what="reach", result="fail", found=error.message, fix=fix),)
        return (
            Checked(what="reach", result="pass", found=f"{self.kind} answers; the box is {account} there"),
            self._check_rights(account, project),
            self._check_branch(branch),
            self._check_hook(hook_url),
        )

    def _check_rights(self, account: str, project: Mapping[str, Any]) -> Checked:
        result, said = self._rights_in_words(project)
        fix = "" if result == "pass" else self.to_write.format(account=account)
        return Checked(what="rights", result=result, found=f"{account} {said}", fix=fix)

    def _check_hook(self, url: str) -> Checked:
        """The project's own webhook to this box, else one of its organisation or groups, which goes to the address
        without a repository."""
        fix, hidden = self.to_hook.format(url=url), []
        for whose, place in {"the project": self._repo, **self._owners}.items():
            try:
                hooks = self._list(f"{place}/hooks")
            except (PolicyRefused, NotFound):
                hidden.append(whose)
                continue
            except FactoryError as error:
                return Checked(what="webhook", result="warn", found=error.message, fix=error.hint)
            ours = [hook for hook in hooks if self.sends_to(hook) in (url, url.rpartition("/")[0])]
            if ours:
                wrong, found = self.wrong_with(ours[0]), f"{self.sends_to(ours[0])}, a webhook of {whose}"
                return Checked(
                    what="webhook", result="warn" if wrong else "pass", found=wrong or found, fix=fix if wrong else ""
                )
        unseen = f"; the token may not see those of {' and '.join(hidden)}, where one may be" if hidden else ""
        return Checked(what="webhook", result="warn", found=f"none to this box is seen: it polls{unseen}", fix=fix)

    def _check_branch(self, name: str) -> Checked:
        try:
            said, fix = self._branch_in_words(name)
        except FactoryError as error:
            return Checked(what="branch", result="fail", found=error.message, fix=error.hint)
        return Checked(what="branch", result="warn" if fix else "pass", found=f"{name} {said}", fix=fix)

    # -- what requests, comments and hooks say ------------------------------------------------------------------------

    def worded(self, text: str) -> str:
        """A text without what the forge would take for more than a text."""
        return text

    @abstractmethod
    def login_of(self, person: Mapping[str, Any] | None) -> str:
        """A person's login; "" for an account that is gone."""

    @abstractmethod
    def by(self, said: Mapping[str, Any]) -> str:
        """Login of who said it."""

    @abstractmethod
    def state_of(self, request: Request) -> Literal["open", "merged", "closed"]:
        """How a request stands."""

    @abstractmethod
    def head_of(self, request: Request) -> str:
        """The commit that a request proposes."""

    @abstractmethod
    def landed(self, request: Request) -> str:
        """The commit that a merged request left on its target."""

    @abstractmethod
    def sends_to(self, hook: Mapping[str, Any]) -> str:
        """Where a webhook goes."""

    @abstractmethod
    def wrong_with(self, hook: Mapping[str, Any]) -> str:
        """What is wrong with a webhook to the box; "" when it works, as far as the forge tells."""

    @abstractmethod
    def _words(self, title: str, text: str) -> dict[str, str]:
        """Title and text of a request, by the names of its fields, as the forge keeps them."""

    # -- what is asked of the forge -----------------------------------------------------------------------------------

    @abstractmethod
    def _request(self, draft: Draft) -> Request | None:
        """The newest request of the box's branch, open ones first."""

    @abstractmethod
    def _open(self, draft: Draft, words: Mapping[str, str]) -> Request:
        """Open a request."""

    @abstractmethod
    def _as_proposal(self, request: Request) -> Proposal:
        """A request with all its fields, its reviews, and what it waits for."""

    @abstractmethod
    def _takes_pushes(self, branch: str) -> bool:
        """Does nothing speak against a push of the box?"""

    @abstractmethod
    def _moved(self, tested: str, target: str) -> bool:
        """Does the target hold commits that the tested one lacks?"""

    @abstractmethod
    def _merge(self, number: str, commit: str, draft: Draft) -> str:
        """Merge a request by a method that is allowed, if it still proposes the commit; what is on the target then."""

    @abstractmethod
    def _comments(self, origin: Origin) -> str:
        """Where comments lie."""

    @abstractmethod
    def _comment(self, place: str, comment: Mapping[str, Any]) -> str:
        """Where one comment of these lies."""

    @abstractmethod
    def _remarked(self, proposal: Proposal) -> set[tuple[str, str]]:
        """Path and words of the box's comments beside lines."""

    @abstractmethod
    def _remark(self, proposal: Proposal, remarks: Sequence[Remark]) -> list[Remark]:
        """Write beside lines; what was not taken."""

    @abstractmethod
    def _heard(self, since: str) -> Iterable[News]:
        """What happened since a time."""

    @abstractmethod
    def _rights_in_words(self, project: Mapping[str, Any]) -> tuple[Grade, str]:
        """May the account write, and what may it do?"""

    @abstractmethod
    def _branch_in_words(self, name: str) -> tuple[str, str]:
        """How changes come onto the branch, and what to mend."""

    def _opened(self, draft: Draft, words: Mapping[str, str]) -> Request:
        """A new request, or the one that somebody was quicker to open."""
        try:
            return self._open(draft, words)
        except FactoryError as error:
            known = self._request(draft) if "already exists" in error.message else None
            if known is None:
                raise
            return known

    def _whole(self, number: str) -> dict[str, Any]:
        """A request with all fields; a list leaves some out."""
        return dict(self._client.get(self._place(number)))

    def _place(self, number: str) -> str:
        return f"{self._repo}/{self.requests}/{number}"

    def _list(self, path: str, **params: str | int) -> list[Any]:
        return self._client.pages(path, **self.page, **params)
