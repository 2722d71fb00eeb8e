"""A plain git server: what is proposed is a branch, what lands is a push."""

from __future__ import annotations

import contextlib

from appliance.errors import FactoryError
from appliance.ports import Workspace


class PlainForge:
    """See ports.Forge."""

    kind = "plain"

    def propose(self, workspace: Workspace, commit: str, branch: str, title: str, story: str) -> str:  # noqa: ARG002 - a branch has no text
        """Push the change's own branch. It is the box's alone, so a repeated run may replace what it left there."""
        workspace.publish(commit, branch)
        return f"branch {branch}"

    def land(self, workspace: Workspace, commit: str, target: str) -> None:
        """Push to the target branch, never by force."""
        workspace.push(commit, target)

    def withdraw(self, workspace: Workspace, branch: str) -> None:
        """Delete the change's own branch. One that the server keeps is untidy, and no reason to stop."""
        with contextlib.suppress(FactoryError):
            workspace.delete(branch)
