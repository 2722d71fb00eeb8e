"""What a person or program may send as a signal, checked the same for the form and the API. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

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
