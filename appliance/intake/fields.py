"""Reading JSON that strangers wrote: parsed within limits, and every field asked for by its path.

What is missing or of another shape raises UsageError with the path, so that a person sees
what was wrong with a message.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from appliance.errors import UsageError

DEEPEST = 64
"""Levels of lists and objects. The forges' own messages have fewer than ten."""
LONGEST_TITLE = 300
LONGEST_TEXT = 256 * 1024
"""Characters kept of a title and of a text."""


class Fields:
    """One JSON object of a message."""

    def __init__(self, content: dict[str, Any], place: str = "") -> None:
        self._content = content
        self._place = place

    @property
    def content(self) -> dict[str, Any]:
        """The object itself."""
        return self._content

    def __contains__(self, name: str) -> bool:
        return self._content.get(name) is not None

    def at(self, name: str) -> Fields:
        """The object of this name. Raises UsageError."""
        found = self._content.get(name)
        if not isinstance(found, dict):
            raise self._wrong(name, "an object")
        return Fields(found, f"{self._place}{name}.")

    def maybe(self, name: str) -> Fields:
        """The object of this name, an empty one when it is missing."""
        return self.at(name) if name in self else Fields({}, f"{self._place}{name}.")

    def each(self, name: str) -> tuple[Fields, ...]:
        """The objects of a list; none when it is missing."""
        found = self._content.get(name)
        if found is None:
            return ()
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self._wrong(name, "a list of objects")
        return tuple(Fields(one, f"{self._place}{name}[{place}].") for place, one in enumerate(found))

    def text(self, name: str) -> str:
        """A text; "" when it is missing."""
        found = self._content.get(name)
        if found is None:
            return ""
        if not isinstance(found, str):
            raise self._wrong(name, "a text")
        return found[:LONGEST_TEXT].replace("\x00", "\N{REPLACEMENT CHARACTER}")  # which no terminal and no file likes

    def some(self, name: str) -> str:
        """A text that has to be there."""
        if not self.text(name).strip():
            raise self._wrong(name, "a text that is not empty")
        return self.text(name)

    def title(self, name: str) -> str:
        """A text that has to be there, as one line."""
        return " ".join(self.some(name).split())[:LONGEST_TITLE]

    def number(self, name: str) -> str:
        """A whole number that has to be there, in digits."""
        found = self._content.get(name)
        if isinstance(found, bool) or not isinstance(found, int) or found < 0:
            raise self._wrong(name, "a number")
        return str(found)

    def texts(self, name: str) -> dict[str, str]:
        """An object of texts; an empty one when it is missing."""
        found = self._content.get(name) or {}
        if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
            raise self._wrong(name, "an object of texts")
        return found

    def true(self, name: str) -> bool:
        """Is it `true`?"""
        return self._content.get(name) is True

    def moment(self, name: str) -> datetime | None:
        """A time; None when it is missing, or is none that one can read."""
        try:
            found = datetime.fromisoformat(self.text(name).replace(" UTC", "Z"))
        except ValueError:
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def branch(self, name: str) -> str:
        """The branch that a full reference names; "" for a tag or anything else."""
        reference = self.text(name)
        return reference.removeprefix("refs/heads/") if reference.startswith("refs/heads/") else ""

    def commit(self, name: str) -> str:
        """A commit; "" for none, which senders also write as zeros."""
        found = self.text(name)
        return found if found.strip("0") else ""

    def _wrong(self, name: str, wanted: str) -> UsageError:
        return UsageError(
            f"the message's {self._place}{name} is not {wanted}", "see the raw message; its sender made it"
        )


def loaded(raw: bytes) -> Any:
    """The JSON in a message. Raises UsageError for anything else, and for what is nested too deep."""
    try:
        content = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"the message is not JSON: {error}", "let the sender send application/json") from error
    level: list[Any] = [content]
    for _ in range(DEEPEST):
        level = [
            inner for one in level if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]  # fmt: skip
        if not level:
            break
    else:
        raise UsageError(f"the message is nested deeper than {DEEPEST} levels", "no forge sends such a message")
    return content


def parse(raw: bytes) -> Fields:
    """A message's JSON object. Raises UsageError for anything else, and for one nested too deep."""
    content = loaded(raw)
    if not isinstance(content, dict):
        raise UsageError("the message is JSON, but no object", "see the raw message; its sender made it")
    return Fields(content)
