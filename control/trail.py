"""What people ask of the audit chain, for the pages and the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from appliance.errors import ConfigError, UsageError
from appliance.ledger.audit import Search, Verification, verify, whole
from control.desk import Desk

FIELDS = ("kind", "subject", "person", "words", "since", "until")


def asked_for(given: Mapping[str, str]) -> Search:
    """A search from an address or a form. Raises UsageError for a time or number that cannot be."""
    named = {name: given[name].strip() for name in (*FIELDS, "before") if given.get(name, "").strip()}
    try:
        return Search.model_validate(named)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"{first['loc'][0]}: {first['msg']}", "a time is like 2026-11-26 or 2026-11-26T14:30"
        ) from error


def verified(desk: Desk) -> Verification:
    """Walk the whole chain, about 100,000 events a second. Raises ConfigError without the audit key, or
    VerificationFailed when the anchor itself was altered."""
    try:
        key = (desk.home.secrets / "audit.key").read_bytes()
    except OSError as error:
        raise ConfigError("this home has no audit key", "`appliance init` makes one") from error
    return verify(desk.ledger, desk.home.secrets / "ledger.anchor", key)


def lines(desk: Desk, search: Search) -> Iterator[str]:
    """Events with their hashes, a JSON object a line, oldest first."""
    for event in whole(desk.ledger, search):
        yield event.model_dump_json() + "\n"
