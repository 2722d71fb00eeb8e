"""The scorecard of a model: what was measured when it was asked in earnest, and what that admits it for."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from appliance.work import Noun, utcnow


class Check(Noun):
    """One thing that was tried."""

    name: str = Field(description="what was tried; see models.admission")
    passed: bool
    at: datetime = Field(default_factory=utcnow)
    said: str = Field(description="what was seen, in a line for people")


class Score(Noun):
    """All that was measured in one admission."""

    at: datetime = Field(default_factory=utcnow)
    digest: str = Field("", description="first digits of the SHA-256 of the weights that were tried")
    engine: str = Field("", description="kind of the engine that served it")
    context_tokens: int = Field(0, description="context of one request while it was tried")
    checks: tuple[Check, ...] = ()
    tasks: tuple[str, ...] = Field((), description="tasks for which every check they need was passed")
    first_token_seconds: float | None = Field(None, description="from the request to the first token, in seconds")
    tokens_per_second: float | None = Field(None, description="written by one request alone")
    prompt_tokens_per_second: float | None = Field(None, description="read by one request alone")

    def passed(self, name: str) -> bool:
        """Whether this check was made and passed."""
        return any(check.name == name and check.passed for check in self.checks)

    def failed(self) -> tuple[Check, ...]:
        """What was tried and not passed."""
        return tuple(check for check in self.checks if not check.passed)
