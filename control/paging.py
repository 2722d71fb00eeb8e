"""Lists that go from newest to oldest, a page at a time: `?before=NUMBER` leads on, for the pages and the API alike."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import request

from appliance.errors import UsageError

LONGEST_NUMBER = 18
"""Digits; more than a row's number ever has, and still one that the database takes."""


def before() -> int:
    """The number below which a page begins; 0 when the address has none. Raises UsageError."""
    given = request.args.get("before", "") or "0"
    if not given.isdecimal() or not given.isascii() or len(given) > LONGEST_NUMBER:
        raise UsageError(f"before cannot be {given!r}", "a number, or follow `next` of the page before")
    return int(given)


def onward(last: int) -> str:
    """The address of the page after the one that ends with this number, narrowed alike. Numbers only grow, so that
    what comes in meanwhile moves nothing from one page to another."""
    return f"{request.path}?{urlencode({**request.args.to_dict(), 'before': str(last)})}"
