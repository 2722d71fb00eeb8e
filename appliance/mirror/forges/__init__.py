"""The server's side of a change, one file per forge (ports.Forge)."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.config import Home, MirrorSettings
from appliance.errors import NotFound, UsageError, VerificationFailed
from appliance.mirror.address import ca_file
from appliance.mirror.forges.client import Client
from appliance.mirror.forges.forgejo import ForgejoForge
from appliance.mirror.forges.gitea import GiteaForge
from appliance.mirror.forges.plain import PlainForge
from appliance.ports import Forge
from appliance.work import TrackedRepository

API_SECONDS = 30.0
"""Longest wait for one answer of a forge's API."""

GITEA_LIKE = {"gitea": GiteaForge, "forgejo": ForgejoForge}


def adapter(home: Home, tracked: TrackedRepository, settings: MirrorSettings) -> Forge:
    """The forge of a repository. Nothing is asked of it yet.

    Raises NotFound for a token that is not there, VerificationFailed for a file that holds none.
    """
    if tracked.forge == "plain":
        return PlainForge()
    made = GITEA_LIKE.get(tracked.forge)
    if made is None:
        raise UsageError(f"there is no adapter for {tracked.forge!r}", f"use plain, {', '.join(GITEA_LIKE)}")
    file = home.secrets / f"forge-{tracked.name}.token"
    if not file.exists():
        raise NotFound(f"{tracked.name} has no token for its forge", f"put it into secrets/{file.name}, mode 0600")
    headers = {"Authorization": f"token {_token(file)}"}
    seconds = min(API_SECONDS, settings.timeout_seconds)
    client = Client(f"{tracked.api.rstrip('/')}/api/v1", headers, ca_file(home.secrets, tracked.name), seconds)
    return made(client, tracked.project)


def _token(file: Path) -> str:
    """The token, checked before it becomes a header: what refuses a broken header would show it."""
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch(r"[!-~]+", text):
        raise VerificationFailed(f"secrets/{file.name} holds no token", "put the token alone into it, on one line")
    return text
