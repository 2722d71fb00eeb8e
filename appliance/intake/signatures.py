"""Is a message from whom it says? Compared in constant time, over the raw body, with each secret that is valid now."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

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
