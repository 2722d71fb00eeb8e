"""Reading what a program sent."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from flask import Response, jsonify, request

from appliance.errors import UsageError
from control.paging import onward
from control.refusals import Changed

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


def page(name: str, rows: Sequence[tuple[int, dict[str, Any]]], **more: Any) -> Response:
    """A page of a list that goes from newest to oldest, as `{name: [...], "next": "…"}`.

    `rows` are numbers with what is told of each, up to one more than `limit()`: that one only says that the list goes
    on. `next` is the address of the next page, "" on the last, and is a `Link` header (RFC 8288) too.
    """
    shown = rows[: limit()]
    address = onward(shown[-1][0]) if len(rows) > len(shown) else ""
    response = jsonify({name: [told for _, told in shown], "next": address, **more})
    if address:
        response.headers["Link"] = f'<{address}>; rel="next"'
    return response


def if_unchanged(told: dict[str, Any]) -> None:
    """Hold the request to `If-Match`, where it is sent: `told` is what a GET answers now. Raises Changed (412)."""
    if request.if_match and not request.if_match.contains(_tag(jsonify(told))):
        raise Changed("this was changed since it was read", "read it again, then decide anew")


def tagged(response: Response) -> Response:
    """Give an answer its ETag, and 304 to who has it already (`If-None-Match`). Programs may keep it and must ask
    whether it still holds; a browser's session keeps nothing."""
    if request.method not in ("GET", "HEAD") or response.status_code != 200 or response.is_streamed:
        return response
    response.set_etag(_tag(response))
    response.make_conditional(request)
    return response


def _tag(response: Response) -> str:
    return hashlib.sha256(response.get_data()).hexdigest()[:32]


def said(name: str) -> bool:
    """Is a switch of the address on (`?name=true`)? Raises UsageError for other words."""
    given = request.args.get(name, "false")
    if given not in ("true", "false", "1", "0"):
        raise UsageError(f"{name} cannot be {given!r}", "true or false")
    return given in ("true", "1")
