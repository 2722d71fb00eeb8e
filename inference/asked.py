"""What is asked of the router: the facts of one call, never the prompt itself."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from appliance.work import Noun

AUTO = "auto"
NEEDS = ("tools", "vision", "json_schema", "stream")
"""What a call can need of a model beside the task."""


class Sensitivity(IntEnum):
    """How far content may spread, least first. A request that does not say is `internal`."""

    public = 0
    internal = 1
    confidential = 2
    secret = 3


def level(value: Any) -> Any:
    """A sensitivity from its name. Raises ValueError."""
    if isinstance(value, Sensitivity):
        return value
    if isinstance(value, str) and value in Sensitivity.__members__:
        return Sensitivity[value]
    if isinstance(value, int) and not isinstance(value, bool) and value in list(Sensitivity):
        return Sensitivity(value)
    raise ValueError("must be one of " + ", ".join(Sensitivity.__members__))


Level = Annotated[Sensitivity, BeforeValidator(level)]


class RouteRequest(Noun):
    """What the router needs to know of a call."""

    task: str = "chat"
    model: str = AUTO
    stage: str = Field("", description="stage of the line")
    language: str = ""
    repo: str = ""
    key: str = Field("", description="name of the caller's key")
    team: str = Field("", description="team of the caller's key")
    severity: int = Field(0, ge=0, le=4, description="of the item, 1 is worst; 0 when it is not known")
    attempt: int = Field(0, ge=0, description="which try at the item this is, from 1; 0 when it is not known")
    prompt_tokens: int = Field(0, ge=0, description="an estimate is enough")
    load: int = Field(0, ge=0, description="other calls the gateway has in flight")
    at: datetime | None = Field(None, description="when, in the box's own time; None when it is not known")
    sensitivity: Level = Sensitivity.internal
    needs: tuple[str, ...] = Field((), description=", ".join(NEEDS))
    answering: bool = Field(False, description="a model has to answer: `search` is left out")

    def facts(self) -> dict[str, Any]:
        """What was said, as JSON: a record from which the same question can be asked again."""
        made = self.model_dump(mode="json", exclude_defaults=True)
        return made | ({"sensitivity": self.sensitivity.name} if "sensitivity" in made else {})
