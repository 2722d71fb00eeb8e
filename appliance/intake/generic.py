"""Any JSON at all: a repository's mapping says where in it the title, the text and the rest are. Pure.

A mapping is field → places, tried in order. A place is a JSON pointer (RFC 6901: `/alert/name`, `/items/0/id`), or
`=words` for words that are always the same. Fields without places of their own have the usual names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from appliance.errors import UsageError
from appliance.intake.fields import LONGEST_TEXT, LONGEST_TITLE, Fields, loaded
from appliance.intake.signatures import Headers, authorised, signed, signed_with_time
from appliance.news import ReportNews
from appliance.work import Kind

Places = Mapping[str, Sequence[str]]

USUAL: Places = {
    "repository": ("/repository", "/repo", "/project"),
    "each": (),
    "key": ("/key", "/id", "/uuid", "/fingerprint"),
    "title": ("/title", "/subject", "/summary", "/name", "/message"),
    "body": ("/body", "/description", "/text", "/details", "/message"),
    "kind": ("/kind", "/type"),
    "severity": ("/severity", "/priority", "/level"),
    "resolved": ("/resolved", "/status", "/state"),
    "by": ("/by", "/author", "/reporter", "/user"),
}
"""Where fields are looked for. `each` names a list, each element of which is a report of its own."""

OF_THE_WHOLE = frozenset({"repository", "each"})
"""Fields of the whole message, not of one report: its repository counts where the address names none."""

OVER = frozenset({"resolved", "ok", "closed", "fixed", "done", "recovered", "normal", "true", "yes"})
"""What says in words that something is over; `true` does too."""

MOST_PLACES = 16
LONGEST_PLACE = 200
LONGEST_KEY = 200


def recognise(headers: Headers) -> tuple[str, str] | None:
    """Event and delivery id, where the sender has names for them."""
    names = ("x-delivery", "webhook-id", "idempotency-key", "x-request-id")
    return headers.get("x-event", "") or "report", next((headers[name] for name in names if headers.get(name)), "")


def verify(headers: Headers, body: bytes, secrets: Sequence[str]) -> bool:
    """Is the body signed, or the secret shown? A signature that is wrong is not made up for."""
    if "webhook-signature" in headers:
        return signed_with_time(headers, body, secrets)
    for name in ("x-hub-signature-256", "x-signature-256", "x-signature"):
        if name in headers:
            return signed(headers[name].removeprefix("sha256="), body, secrets)
    return authorised(headers.get("authorization", ""), secrets)


def places_of(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The mapping in FIELD=PLACE, several of one field in their order. Raises UsageError."""
    found: dict[str, tuple[str, ...]] = {}
    for one in words:
        field, given, place = one.partition("=")
        if not given:
            raise UsageError(f"{one!r} names no place", "write it like title=/alert/name")
        found[field] = (*found.get(field, ()), place)
    return found


def check(mapping: Places) -> None:
    """Can a repository have this mapping? Raises UsageError."""
    for field, places in mapping.items():
        if field not in USUAL:
            raise UsageError(f"a report has no {field!r}", f"known: {', '.join(USUAL)}")
        if not 1 <= len(places) <= MOST_PLACES:
            raise UsageError(f"{field} has {len(places)} places", f"name 1 to {MOST_PLACES}")
        for place in places:
            _check_place(field, place)


def _check_place(field: str, place: str) -> None:
    if len(place) > LONGEST_PLACE:
        raise UsageError(f"a place of {field} has more than {LONGEST_PLACE} characters", "name a shorter one")
    if place.startswith("=") and field != "each":
        if field == "kind" and place[1:] not in set(Kind):
            raise UsageError(f"there is no kind {place[1:]!r}", f"known: {', '.join(Kind)}")
        return
    if place and not place.startswith("/"):
        raise UsageError(f"{place!r} is no JSON pointer", "write it like /alert/name, or =words for fixed words")
    if "~" in place.replace("~0", "").replace("~1", ""):
        raise UsageError(f"{place!r} has a ~ by itself", "a JSON pointer writes ~ as ~0, and / in a name as ~1")


def read(body: Fields, mapping: Places) -> tuple[ReportNews, ...]:
    """The reports in a message. Raises UsageError."""
    return reports(body.content, mapping)


def read_any(raw: bytes, mapping: Places) -> tuple[ReportNews, ...]:
    """The reports in a file, which may also be a list of them. Raises UsageError."""
    content = loaded(raw)
    if isinstance(content, list) and "each" not in mapping:
        return tuple(_report(one, mapping, f"[{number}]") for number, one in enumerate(content))
    return reports(content, mapping)


def repository(content: Any, mapping: Places) -> str:
    """What a message calls the repository it is about; "" when it does not say."""
    found = _first(content, mapping.get("repository", USUAL["repository"]), _is_word)
    return _text(found).strip()


def reports(content: Any, mapping: Places) -> tuple[ReportNews, ...]:
    """The reports in JSON that was parsed already."""
    if not mapping.get("each"):
        return (_report(content, mapping, ""),)
    found = _first(content, mapping["each"])
    if not isinstance(found, list):
        raise UsageError(f"there is no list at {_named(mapping['each'])}", "see the raw message, and the mapping")
    return tuple(_report(one, mapping, f"[{number}]") for number, one in enumerate(found))


def _report(content: Any, mapping: Places, which: str) -> ReportNews:
    places = {**USUAL, **mapping}
    title = " ".join(_text(_first(content, places["title"], _is_word)).split())[:LONGEST_TITLE]
    if not title:
        raise UsageError(
            f"the message{which} has no title: no words at {_named(places['title'])}",
            "see the raw message; `appliance repo mapping NAME --set title=/its/place` says where it is",
        )
    key = _text(_first(content, places["key"], _is_word))
    return ReportNews(
        key=(key if 0 < len(key) <= LONGEST_KEY else _fingerprint(content)),
        title=title, body=_body(content, places), by=_text(_first(content, places["by"], _is_word))[:LONGEST_TITLE],
        kind=_kind(_first(content, places["kind"], _is_word)),
        resolved=_is_over(_first(content, places["resolved"])),
    )  # fmt: skip


def _body(content: Any, places: Places) -> str:
    """The text, or all of the message when it has none; what it says of severity goes with it, for triage to read."""
    found = _first(content, places["body"])
    body = _text(found if found is not None else content)
    severity = _text(_first(content, places["severity"], _is_word))
    return f"{body}\n\nseverity: {severity}"[:LONGEST_TEXT] if severity else body[:LONGEST_TEXT]


def _kind(found: Any) -> Kind | None:
    word = _text(found).strip().casefold()
    return Kind(word) if word in set(Kind) else None


def _is_over(found: Any) -> bool:
    return found is True or (isinstance(found, str) and found.strip().casefold() in OVER)


def _is_word(found: Any) -> bool:
    return isinstance(found, str | int | float) and not isinstance(found, bool) and bool(str(found).strip())


def _text(found: Any) -> str:
    if found is None:
        return ""
    if isinstance(found, dict | list):
        found = orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()
    return str(found).replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _first(content: Any, places: Sequence[str], wanted: Any = None) -> Any:
    """What is at the first place that has something (that is wanted)."""
    for place in places:
        found = place[1:] if place.startswith("=") else at(content, place)
        if found is not None and (wanted is None or wanted(found)):
            return found
    return None


def at(content: Any, pointer: str) -> Any:
    """What a JSON pointer points at; None when there is nothing.

    >>> at({"a": [{"b/c": 1}]}, "/a/0/b~1c")
    1
    """
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(content, dict):
            content = content.get(name)
        elif isinstance(content, list) and name.isascii() and name.isdecimal() and int(name[:9]) < len(content):
            content = content[int(name[:9])]
        else:
            return None
    return content


def _fingerprint(content: Any) -> str:
    return f"sha256:{hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()}"


def _named(places: Sequence[str]) -> str:
    return ", ".join(place or "the message itself" for place in places)
