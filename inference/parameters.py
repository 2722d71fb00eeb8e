"""Parameters of a call that a rule may take away or set: which there are, and what values they take. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, field_validator, model_validator

from inference.conditions import Part, Words, nearest


@dataclass(frozen=True)
class Kind:
    """The values a parameter takes."""

    words: str
    types: tuple[type, ...]
    least: float | None = None

    def takes(self, value: Any) -> bool:
        """Whether this is such a value. A boolean is no number."""
        if type(value) not in self.types:
            return False
        if isinstance(value, float) and not math.isfinite(value):
            return False
        return self.least is None or bool(value >= self.least)


NUMBER = Kind("a number", (int, float))
POSITIVE = Kind("a number of at least 0", (int, float), 0)
WHOLE = Kind("a whole number", (int,))
COUNT = Kind("a whole number of at least 1", (int,), 1)
FROM_ZERO = Kind("a whole number of at least 0", (int,), 0)
YES_NO = Kind("true or false", (bool,))
TABLE = Kind("a table", (dict,))

PARAMETERS: Mapping[str, Kind] = {
    "max_tokens": COUNT, "temperature": POSITIVE, "top_p": POSITIVE, "top_k": FROM_ZERO, "min_p": POSITIVE,
    "n": COUNT, "stop": Kind("a text or a list of texts", (str, list)), "seed": WHOLE, "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER, "repeat_penalty": POSITIVE, "repetition_penalty": POSITIVE, "typical_p": POSITIVE,
    "min_tokens": FROM_ZERO, "ignore_eos": YES_NO, "logit_bias": TABLE, "logprobs": Kind("true, false or a number",
    (bool, int)), "top_logprobs": FROM_ZERO, "parallel_tool_calls": YES_NO, "chat_template_kwargs": TABLE,
}  # fmt: skip
"""Names and values. What a call is about (messages, tools, schemas) is the caller's alone."""


_ABSENT = object()


class Parameters(Part):
    """What a rule does to the parameters of calls that write text: first strip, then set."""

    strip: Words = Field((), description="taken away when a client sends them")
    set: dict[str, Any] = Field(default_factory=dict, description="put in, whatever a client sent")

    @field_validator("strip")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in PARAMETERS:
                raise ValueError(f"unknown parameter {name!r}; {nearest(name, PARAMETERS)}")
        return names

    @field_validator("set")
    @classmethod
    def _fitting(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, value in values.items():
            if name not in PARAMETERS:
                raise ValueError(f"unknown parameter {name!r}; {nearest(name, PARAMETERS)}")
            if not PARAMETERS[name].takes(value):
                raise ValueError(f"{name} must be {PARAMETERS[name].words}, not {value!r}")
        return values

    @model_validator(mode="after")
    def _not_both(self) -> Parameters:
        if both := sorted(set(self.strip) & set(self.set)):
            raise ValueError(f"{both[0]} is both stripped and set; to set it is enough")
        return self

    def applied(self, payload: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """A call's payload after this, and what a client sent in vain."""
        in_vain = tuple(
            name for name in (*self.strip, *self.set)
            if name in payload and payload[name] != self.set.get(name, _ABSENT)
        )  # fmt: skip
        kept = {name: value for name, value in payload.items() if name not in self.strip}
        return {**kept, **self.set}, in_vain
