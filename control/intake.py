"""What people and programs may send, and how messages from outside are shown; the same for pages and API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from appliance.errors import UsageError
from appliance.intake.shown import Shown, shown
from appliance.ledger import Ledger
from appliance.news import Delivery, DeliveryState
from appliance.work import Kind, Signal

LONGEST_TITLE = 300
LONGEST_BODY = 256 * 1024


class NewSignal(BaseModel):
    """A signal before the ledger numbers it."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    repo: str = Field(min_length=1, max_length=64)
    title: str = Field(min_length=1, max_length=LONGEST_TITLE)
    body: str = Field("", max_length=LONGEST_BODY)
    kind: Kind | None = None

    @field_validator("kind", mode="before")
    @classmethod
    def _empty_means_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("title")
    @classmethod
    def _one_line(cls, value: str) -> str:
        return " ".join(value.split())

    def as_signal(self, source: str) -> Signal:
        """The noun the ledger takes."""
        return Signal(id="", repo=self.repo, title=self.title, body=self.body, kind=self.kind, source=source)


SAY = {
    "repo": "Choose a repository.",
    "title": f"Give it a title of 1 to {LONGEST_TITLE} characters.",
    "body": f"At most {LONGEST_BODY // 1024} KiB of text.",
    "kind": "Choose one of the kinds, or let triage decide.",
}


def problems_of(sent: Mapping[str, str]) -> dict[str, str]:
    """Field → what to do about it; empty when all is well."""
    try:
        NewSignal.model_validate(dict(sent))
    except ValidationError as error:
        fields = [str(problem["loc"][0]) if problem["loc"] else "title" for problem in error.errors()]
        return {field: SAY.get(field, "Mend this field.") for field in fields}
    return {}


def delivery_state(word: str) -> DeliveryState | None:
    """The state that a filter names; None for "". Raises UsageError."""
    if word and word not in set(DeliveryState):
        raise UsageError(f"there is no state {word!r}", f"one of: {', '.join(DeliveryState)}")
    return DeliveryState(word) if word else None


def delivery_shown(ledger: Ledger, number: int) -> tuple[Delivery, Shown]:
    """A message from outside as it may be shown. Raises NotFound."""
    delivery = ledger.deliveries.get(number)
    return delivery, shown(delivery, ledger.deliveries.raw(number), ledger.deliveries.mapping(delivery))
