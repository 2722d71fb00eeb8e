"""The server's side of a change, one file per forge (ports.Forge)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from appliance.config import Home
from appliance.errors import NotFound, UsageError, VerificationFailed
from appliance.mirror.address import ca_file
from appliance.mirror.forges.client import Client
from appliance.mirror.forges.forgejo import ForgejoForge
from appliance.mirror.forges.gitea import GiteaForge
from appliance.mirror.forges.github import GithubForge
from appliance.mirror.forges.gitlab import GitlabForge
from appliance.mirror.forges.plain import PlainForge
from appliance.mirror.forges.understood import Understood
from appliance.ports import Forge
from appliance.settings import MirrorSettings
from appliance.work import TrackedRepository

API_SECONDS = 30.0
"""Longest wait for one answer of a forge's API."""


class ApiForge(Forge, Protocol):
    """A forge with an API."""

    def __init__(self, client: Client, project: str) -> None: ...

    @staticmethod
    def base_of(api: str) -> str:
        """Where the API begins, from the forge's address."""
        ...

    @staticmethod
    def headers_of(token: str) -> dict[str, str]:
        """How a token is shown."""
        ...


ADAPTERS: dict[str, type[ApiForge]] = {
    "gitea": GiteaForge, "forgejo": ForgejoForge, "gitlab": GitlabForge, "github": GithubForge,
}  # fmt: skip


def adapter(home: Home, tracked: TrackedRepository, settings: MirrorSettings) -> Forge:
    """The forge of a repository. Nothing is asked of it yet.

    Raises NotFound for a token that is not there, VerificationFailed for a file that holds none.
    """
    if tracked.forge == "plain":
        return PlainForge()
    made = ADAPTERS.get(tracked.forge)
    if made is None:
        raise UsageError(f"there is no adapter for {tracked.forge!r}", f"use plain, {', '.join(ADAPTERS)}")
    file = token_file(home.secrets, tracked.name)
    if not file.exists():
        raise NotFound(
            f"{tracked.name} has no token for its forge", f"`appliance repo set {tracked.name} --api-token-file FILE`"
        )
    seconds = min(API_SECONDS, settings.timeout_seconds)
    base = made.base_of(tracked.api.rstrip("/"))
    client = Client(base, made.headers_of(_token(file)), ca_file(home.secrets, tracked.name), seconds)
    return Understood(made(client, tracked.project), client)


def token_file(secrets: Path, name: str) -> Path:
    """Where the token for the API of a repository's forge lies, if it has one."""
    return secrets / f"forge-{name}.token"


def _token(file: Path) -> str:
    """The token, checked before it becomes a header: what refuses a broken header would show it."""
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch(r"[!-~]+", text):
        raise VerificationFailed(f"secrets/{file.name} holds no token", "put the token alone into it, on one line")
    return text
