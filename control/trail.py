"""What people ask of the audit chain, for the pages and the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from appliance.errors import UsageError
from appliance.ledger.audit import Search, whole
from control.desk import Desk

FIELDS = tuple(name for name in Search.model_fields if name != "before")
"""What narrows a search; `before` only leads on to older events."""


def asked_for(given: Mapping[str, str]) -> Search:
    """A search from an address or a form. Raises UsageError for a time or number that cannot be."""
    named = {name: given[name].strip() for name in Search.model_fields if given.get(name, "").strip()}
    try:
        return Search.model_validate(named)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"{first['loc'][0]}: {first['msg']}", "a time is like 2026-11-26 or 2026-11-26T14:30"
        ) from error


def lines(desk: Desk, search: Search) -> Iterator[str]:
    """Events with their hashes, a JSON object a line, oldest first."""
    for event in whole(desk.ledger, search):
        yield event.model_dump_json() + "\n"
