"""Forgejo: it speaks Gitea's API."""

from __future__ import annotations

from appliance.mirror.forges.gitea import GiteaForge


class ForgejoForge(GiteaForge):
    """See ports.Forge."""

    kind = "forgejo"
