"""A forge behind its port for the line's own tests: it notes what it is told, and says what a test wrote down. The real
adapters have their contract suite in tests/contracts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.errors import FactoryError
from appliance.news import News
from appliance.ports import Checked, Draft, Rights, Workspace
from appliance.work import Finding, Origin, Proposal, Result


class NotedForge:
    """See ports.Forge."""

    kind = "gitea"
    account = "factory"

    def __init__(self) -> None:
        self.people = {"ann": Rights.WRITE, "guest": Rights.READ, "owner": Rights.ADMIN}
        self.request: Proposal | None = None
        self.broken: FactoryError | None = None
        self.heard: list[tuple[Any, ...]] = []

    def _note(self, *what: Any) -> None:
        if self.broken:
            raise self.broken
        self.heard.append(what)

    def propose(self, workspace: Workspace, commit: str, draft: Draft) -> Proposal:
        self._note("propose", draft.branch)
        return self.request or Proposal(number="9", branch=draft.branch, commit=commit)

    def proposal(self, draft: Draft) -> Proposal | None:
        if self.broken:
            raise self.broken
        return self.request

    def land(self, workspace: Workspace, commit: str, draft: Draft) -> str:
        self._note("land", draft.branch)
        return commit

    def withdraw(self, workspace: Workspace, draft: Draft, why: str) -> None:
        self._note("withdraw", draft.branch, draft.over, why)

    def status(self, commit: str, gate: str, verdict: Result | None, text: str, url: str) -> None:
        self._note("status", commit, gate, verdict)

    def say(self, origin: Origin, mark: str, text: str) -> None:
        self._note("say", origin.kind, origin.number, mark, text)

    def review(self, proposal: Proposal, findings: Sequence[Finding]) -> None:
        self._note("review", proposal.number, tuple(one.rule for one in findings))

    def close(self, origin: Origin) -> None:
        self._note("close", origin.number)

    def rights(self, login: str) -> Rights:
        if self.broken:
            raise self.broken
        return self.people.get(login, Rights.NONE)

    def news(self, cursor: str) -> tuple[tuple[News, ...], str]:
        return (), cursor

    def check(self, branch: str, hook_url: str) -> tuple[Checked, ...]:
        return ()
