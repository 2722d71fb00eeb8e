# ruff: noqa: ARG002 - a plain server can do little with what it is told
"""A plain git server: what is proposed is a branch, what lands is a push, and there is nobody to talk to."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from appliance.errors import FactoryError
from appliance.news import News
from appliance.ports import Checked, Draft, Rights, Workspace
from appliance.work import Finding, Origin, Proposal, Result


class PlainForge:
    """See ports.Forge."""

    kind = "plain"
    account = ""

    def propose(self, workspace: Workspace, commit: str, draft: Draft) -> Proposal:
        """Push the change's own branch. It is the box's alone, so a repeated run may replace what it left there."""
        workspace.publish(commit, draft.branch, draft.over)
        return Proposal(number="", branch=draft.branch, commit=commit)

    def proposal(self, draft: Draft) -> Proposal | None:
        """A branch is not a request."""

    def land(self, workspace: Workspace, commit: str, draft: Draft) -> str:
        """Push to the target branch, never by force."""
        workspace.push(commit, draft.target)
        return commit

    def withdraw(self, workspace: Workspace, draft: Draft, why: str) -> None:
        """Delete the change's own branch. One that the server keeps is untidy, and no reason to stop."""
        with contextlib.suppress(FactoryError):
            workspace.delete(draft.branch, draft.over)

    def status(self, commit: str, gate: str, verdict: Result | None, text: str, url: str) -> None:
        """Nobody to tell."""

    def say(self, origin: Origin, mark: str, text: str) -> None:
        """Nobody to tell."""

    def review(self, proposal: Proposal, findings: Sequence[Finding]) -> None:
        """Nobody to tell."""

    def close(self, origin: Origin) -> None:
        """Nothing to close."""

    def rights(self, login: str) -> Rights:
        """A plain server knows no people."""
        return Rights.NONE

    def news(self, cursor: str) -> tuple[tuple[News, ...], str]:
        """Pushes alone, and a fetch sees these."""
        return (), cursor

    def check(self, branch: str, hook_url: str) -> tuple[Checked, ...]:
        """The mirror's own check says all there is to say."""
        return ()
