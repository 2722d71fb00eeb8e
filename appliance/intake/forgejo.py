"""Forgejo: it sends Gitea's and GitHub's headers as well, so its own are looked for first."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.intake.gitea import read
from appliance.intake.signatures import Headers, signed

__all__ = ["read", "recognise", "verify"]


def recognise(headers: Headers) -> tuple[str, str] | None:
    """Event and delivery id; None when it is not from here."""
    if "x-forgejo-event" not in headers:
        return None
    event = headers["x-forgejo-event"] or headers.get("x-forgejo-event-type", "")
    return event, headers.get("x-forgejo-delivery", "")


def verify(headers: Headers, body: bytes, secrets: Sequence[str]) -> bool:
    """Is the signature right?"""
    return signed(headers.get("x-forgejo-signature", ""), body, secrets)
