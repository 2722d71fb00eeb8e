"""Forgejo: Gitea under another name. It sends Gitea's and GitHub's headers too, so its own are looked for first."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.intake import gitea
from appliance.intake.gitea import read
from appliance.intake.signatures import Headers

__all__ = ["read", "recognise", "verify"]

NAME = "forgejo"


def recognise(headers: Headers) -> tuple[str, str] | None:
    """Event and delivery id; None when it is not from here."""
    return gitea.recognise(headers, NAME)


def verify(headers: Headers, body: bytes, secrets: Sequence[str]) -> bool:
    """Is the signature right?"""
    return gitea.verify(headers, body, secrets, NAME)
