"""Webhooks sent as forms, which GitHub does by default and Gitea on demand: one field holds the JSON. Pure."""

from __future__ import annotations

from urllib.parse import parse_qsl

from appliance.errors import UsageError

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
SENDERS = frozenset({"github", "gitea", "forgejo"})
"""Those that send forms; all of them sign what they send."""
FIELD = "payload"


def is_known(source: str, media: str) -> bool:
    """Does this kind of sender send such?"""
    return media == JSON or (media == FORM and source in SENDERS)


def payload(media: str, body: bytes) -> bytes:
    """The JSON in a message of a known type. Raises UsageError for a form that does not hold it."""
    if media != FORM:
        return body
    try:
        fields = parse_qsl(
            body.decode("ascii"), strict_parsing=True, encoding="utf-8", errors="strict", max_num_fields=8
        )
    except ValueError as error:
        raise UsageError(f"the message is no form: {str(error)[:100]}", f"send {JSON}") from error
    found = [value for name, value in fields if name == FIELD]
    if len(found) != 1:
        raise UsageError(f"the form has {len(found)} fields called {FIELD}", f"send {JSON}")
    return found[0].encode()
