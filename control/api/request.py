"""Reading what a program sent."""

from __future__ import annotations

from flask import request

from appliance.errors import UsageError

MOST_ROWS = 1000


def body() -> dict[str, object]:
    """The JSON object in the request. Raises UsageError when there is none."""
    content = request.get_json(silent=True)
    if not isinstance(content, dict):
        raise UsageError("the request carries no JSON object", "send one, with Content-Type: application/json")
    return content


def limit() -> int:
    """`?limit=`, 100 when not given. Raises UsageError."""
    given = request.args.get("limit", "100")
    if not given.isdecimal() or not 1 <= int(given[:9]) <= MOST_ROWS:
        raise UsageError(f"limit cannot be {given!r}", f"a number from 1 to {MOST_ROWS}")
    return int(given)


def said(name: str) -> bool:
    """Is a switch of the address on (`?name=true`)? Raises UsageError for other words."""
    given = request.args.get(name, "false")
    if given not in ("true", "false", "1", "0"):
        raise UsageError(f"{name} cannot be {given!r}", "true or false")
    return given in ("true", "1")
