"""What the APIs of Gitea and GitHub have in common: the one was modelled on the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from appliance.mirror.forges.client import Client
from appliance.mirror.forges.verbs import Grade, Request, Verbs
from appliance.mirror.forges.words import number_of
from appliance.ports import Draft, Rights
from appliance.work import Origin, Result

STATES = {Result.PASS: "success", Result.FAIL: "failure", Result.INCONCLUSIVE: "error", None: "pending"}
RIGHTS = {"owner": Rights.ADMIN, "admin": Rights.ADMIN, "write": Rights.WRITE, "read": Rights.READ}


class Alike(Verbs):
    """The verbs of ports.Forge that go the same way on both."""

    def __init__(self, client: Client, project: str) -> None:
        owner = project.partition("/")[0]
        super().__init__(client, f"/repos/{quote(project)}", {owner: f"/orgs/{quote(owner)}"})

    def status(self, commit: str, gate: str, verdict: Result | None, text: str, url: str) -> None:
        """See ports.Forge."""
        body = {"context": f"factory/{gate}", "state": STATES[verdict], "description": text[:140]}
        link = {"target_url": url} if url.startswith(("http://", "https://")) else {}  # GitHub refuses anything else
        self._client.call("POST", f"{self._repo}/statuses/{commit}", {**body, **link})

    def rights(self, login: str) -> Rights:
        """See ports.Forge."""
        found = self._client.find(f"{self._repo}/collaborators/{quote(login, safe='')}/permission")
        return RIGHTS.get(found["permission"], Rights.NONE) if found else Rights.NONE

    def login_of(self, person: Mapping[str, Any] | None) -> str:
        """See Verbs."""
        return str((person or {}).get("login", ""))

    def by(self, said: Mapping[str, Any]) -> str:
        """See Verbs."""
        return login(said)

    def head_of(self, request: Request) -> str:
        """See Verbs."""
        return str(request["head"]["sha"])

    def landed(self, request: Request) -> str:
        """See Verbs."""
        return str(request["merge_commit_sha"])

    def sends_to(self, hook: Mapping[str, Any]) -> str:
        """See Verbs."""
        return str(hook["config"].get("url", ""))

    def _words(self, title: str, text: str) -> dict[str, str]:
        return {"title": title[:256], "body": text}

    def _open(self, draft: Draft, words: Mapping[str, str]) -> Request:
        return dict(
            self._client.call("POST", f"{self._repo}/pulls", {"head": draft.branch, "base": draft.target, **words})
        )

    def _comments(self, origin: Origin) -> str:
        return f"{self._repo}/issues/{number_of(origin.number)}/comments"

    def _comment(self, place: str, comment: Mapping[str, Any]) -> str:  # noqa: ARG002 - they lie together
        return f"{self._repo}/issues/comments/{comment['id']}"

    def _moved(self, tested: str, target: str) -> bool:
        return bool(self._ahead(self._client.get(f"{self._repo}/compare/{tested}...{quote(target)}")))

    @abstractmethod
    def _ahead(self, compared: Mapping[str, Any]) -> int:
        """Commits that the second of two has over the first."""

    def _rights_in_words(self, project: Mapping[str, Any]) -> tuple[Grade, str]:
        writes = project.get("permissions", {}).get("push", False)
        return ("pass", "may write") if writes else ("fail", "may only read")


def login(said: Mapping[str, Any]) -> str:
    """Who said it; "" for an account that was deleted."""
    return str((said.get("user") or {}).get("login", ""))
