"""Is a message from whom it says? Compared in constant time, over the raw body, with each secret that is valid now."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

Headers = Mapping[str, str]
"""By name in small letters."""

STANDARD_PREFIX = "whsec_"
"""Before a secret in base64, as GitLab's signing tokens are written."""


def same(offered: str, secrets: Sequence[str]) -> bool:
    """Is this one of the secrets? An empty one never is."""
    given = offered.encode("utf-8", "replace")
    matches = [bool(secret) and hmac.compare_digest(given, secret.encode()) for secret in secrets]
    return any(matches)


def signed(offered: str, body: bytes, secrets: Sequence[str]) -> bool:
    """Is this the hexadecimal HMAC-SHA256 of the body?"""
    return same(
        offered.lower(), [hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() for secret in secrets if secret]
    )


def signed_with_time(headers: Headers, body: bytes, secrets: Sequence[str]) -> bool:
    """Does `webhook-signature` hold a `v1,` signature over id, time and body?"""
    told = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode("utf-8", "replace") + body
    offered = [one.removeprefix("v1,") for one in headers.get("webhook-signature", "").split() if one.startswith("v1,")]
    right = [
        base64.b64encode(hmac.new(_key(secret), told, hashlib.sha256).digest()).decode() for secret in secrets if secret
    ]
    return any(same(one, right) for one in offered[:8])


def out_of_time(headers: Headers, now: datetime, minutes: float) -> str:
    """Why the time that was signed is none of now, in words; "" when it is, or when no time was signed.

    A message's name is known for long, so that a second one is told from the first; this is for what is older still
    (Standard Webhooks, "Verifying webhook authenticity").
    """
    if "webhook-signature" not in headers:
        return ""
    said = headers.get("webhook-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,12}", said):
        return f"it was signed with {said[:40]!r} for a time, which is no number of seconds since 1970"
    away = now.timestamp() - int(said)
    if abs(away) <= minutes * 60:
        return ""
    span = timedelta(seconds=round(abs(away)))
    return (
        f"it was signed {span} {'before' if away > 0 else 'after'} the box's time; {minutes:g} min are allowed "
        "(intake.clock_minutes): a replay, or one of the two clocks is wrong"
    )


def _key(secret: str) -> bytes:
    if not secret.startswith(STANDARD_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(STANDARD_PREFIX), validate=True)
    except binascii.Error:
        return secret.encode()


def authorised(header: str, secrets: Sequence[str]) -> bool:
    """Does an Authorization header carry a secret, as a bearer token or as the password of any name?"""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return same(rest.strip(), secrets)
    if scheme.lower() != "basic":
        return False
    try:
        said = base64.b64decode(rest.strip(), validate=True).decode()
    except ValueError:
        return False
    return same(said.partition(":")[2], secrets)
