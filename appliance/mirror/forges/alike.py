"""What the APIs of Gitea and GitHub have in common: the one was modelled on the other."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import quote

from appliance.errors import FactoryError
from appliance.mirror.forges.client import Client
from appliance.mirror.forges.words import mark_of, number_of
from appliance.ports import Draft, Rights, Workspace
from appliance.work import Origin, Result

LONGEST = 65_536
"""Characters of a comment or text."""

STATES = {Result.PASS: "success", Result.FAIL: "failure", Result.INCONCLUSIVE: "error", None: "pending"}
RIGHTS = {"owner": Rights.ADMIN, "admin": Rights.ADMIN, "write": Rights.WRITE, "read": Rights.READ}


class Alike(ABC):
    """The verbs of ports.Forge that go the same way on both."""

    page: ClassVar[Mapping[str, int]] = {}
    """What asks for long pages."""

    def __init__(self, client: Client, project: str) -> None:
        self._client = client
        self._repo = f"/repos/{quote(project)}"

    @cached_property
    def account(self) -> str:
        """See ports.Forge."""
        return str(self._client.get("/user")["login"])

    def withdraw(self, workspace: Workspace, draft: Draft, why: str) -> None:
        """See ports.Forge. A branch that the server keeps is untidy, and no reason to stop."""
        pull = self._pull(draft)
        if pull and pull["state"] == "open":
            self.say(Origin(kind="change", number=str(pull["number"])), f"{draft.item}:withdrawn", why)
            self._client.call("PATCH", f"{self._repo}/pulls/{pull['number']}", {"state": "closed"})
        with contextlib.suppress(FactoryError):
            workspace.delete(draft.branch, draft.over)

    def status(self, commit: str, gate: str, verdict: Result | None, text: str, url: str) -> None:
        """See ports.Forge."""
        body = {"context": f"factory/{gate}", "state": STATES[verdict], "description": text[:140]}
        link = {"target_url": url} if url.startswith(("http://", "https://")) else {}  # GitHub refuses anything else
        self._client.call("POST", f"{self._repo}/statuses/{commit}", {**body, **link})

    def say(self, origin: Origin, mark: str, text: str) -> None:
        """See ports.Forge. A mark that somebody else wrote counts for nothing."""
        body = f"{mark_of(mark)}\n{text}"[:LONGEST].rstrip()
        place = f"{self._repo}/issues/{number_of(origin.number)}/comments"
        for comment in self._list(place):
            if login(comment) == self.account and (comment["body"] or "").startswith(mark_of(mark)):
                if comment["body"] != body:
                    self._client.call("PATCH", f"{self._repo}/issues/comments/{comment['id']}", {"body": body})
                return
        self._client.call("POST", place, {"body": body})

    def close(self, origin: Origin) -> None:
        """See ports.Forge."""
        self._client.call("PATCH", f"{self._repo}/issues/{number_of(origin.number)}", {"state": "closed"})

    def rights(self, login: str) -> Rights:
        """See ports.Forge."""
        found = self._client.find(f"{self._repo}/collaborators/{quote(login, safe='')}/permission")
        return RIGHTS.get(found["permission"], Rights.NONE) if found else Rights.NONE

    @abstractmethod
    def _pull(self, draft: Draft) -> dict[str, Any] | None:
        """The newest request of the box's branch, open ones first."""

    def _list(self, path: str, **params: str | int) -> list[Any]:
        return self._client.pages(path, **self.page, **params)


def login(said: Mapping[str, Any]) -> str:
    """Who said it; "" for an account that was deleted."""
    return str((said.get("user") or {}).get("login", ""))
