"""A forge whose answers may be anything: what is not as its API has it is told in words, and never as a traceback."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

from appliance.errors import Unavailable
from appliance.mirror.forges.client import Client
from appliance.news import News
from appliance.ports import Checked, Draft, Forge, Rights, Workspace
from appliance.work import Finding, Origin, Proposal, Result

log = logging.getLogger("appliance.mirror")


class Understood(Forge):
    """An adapter, each verb of it over one connection."""

    def __init__(self, inner: Forge, client: Client) -> None:
        self._inner, self._client, self.kind = inner, client, inner.kind

    @property
    def account(self) -> str:
        """See ports.Forge."""
        with self._verb("account"):
            return self._inner.account

    def propose(self, workspace: Workspace, commit: str, draft: Draft) -> Proposal:
        """See ports.Forge."""
        with self._verb("propose"):
            return self._inner.propose(workspace, commit, draft)

    def proposal(self, draft: Draft) -> Proposal | None:
        """See ports.Forge."""
        with self._verb("proposal"):
            return self._inner.proposal(draft)

    def land(self, workspace: Workspace, commit: str, draft: Draft) -> str:
        """See ports.Forge."""
        with self._verb("land"):
            return self._inner.land(workspace, commit, draft)

    def withdraw(self, workspace: Workspace, draft: Draft, why: str) -> None:
        """See ports.Forge."""
        with self._verb("withdraw"):
            self._inner.withdraw(workspace, draft, why)

    def status(self, commit: str, gate: str, verdict: Result | None, text: str, url: str) -> None:
        """See ports.Forge."""
        with self._verb("status"):
            self._inner.status(commit, gate, verdict, text, url)

    def say(self, origin: Origin, mark: str, text: str) -> None:
        """See ports.Forge."""
        with self._verb("say"):
            self._inner.say(origin, mark, text)

    def review(self, proposal: Proposal, findings: Sequence[Finding]) -> None:
        """See ports.Forge."""
        with self._verb("review"):
            self._inner.review(proposal, findings)

    def close(self, origin: Origin) -> None:
        """See ports.Forge."""
        with self._verb("close"):
            self._inner.close(origin)

    def rights(self, login: str) -> Rights:
        """See ports.Forge."""
        with self._verb("rights"):
            return self._inner.rights(login)

    def news(self, cursor: str) -> tuple[tuple[News, ...], str]:
        """See ports.Forge."""
        with self._verb("news"):
            return self._inner.news(cursor)

    def check(self, branch: str, hook_url: str) -> tuple[Checked, ...]:
        """See ports.Forge."""
        with self._verb("check"):
            return self._inner.check(branch, hook_url)

    @contextlib.contextmanager
    def _verb(self, name: str) -> Iterator[None]:
        try:
            with self._client.connected():
                yield
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:  # pydantic's are ValueErrors
            # no warning: on the command line that would be shown
            log.info("an answer of the forge was not understood (%s)", name, exc_info=True)
            raise Unavailable(
                f"the forge's answer is not as {self.kind}'s API has it ({name}: {type(error).__name__})",
                "check the address given with --api, and the kind given with --forge; the line's log has more",
            ) from error
