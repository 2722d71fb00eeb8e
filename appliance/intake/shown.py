"""What a kept message looks like to people: its bytes as text without secrets, and what it is read as. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.errors import FactoryError
from appliance.intake.generic import Places
from appliance.intake.reading import read
from appliance.news import Delivery
from appliance.secrets import redact
from appliance.work import Noun

LONGEST = 128 * 1024
"""Characters shown of a message."""
LONGEST_WORDS = 8192
"""Characters shown of one field of what it is read as."""
MOST = 50
"""News shown of one message."""
MARGIN = 4096
"""Looked at beyond them, so that a secret at the end is not shown in half."""


class Shown(Noun):
    """A message as it may be shown."""

    text: str
    cut: bool = False
    kept: bool = True
    """False when its bytes were never taken, or are kept no longer."""
    told: tuple[Mapping[str, Any], ...] = ()
    """The news it is read as, without their time."""
    problem: str = ""
    """Why it cannot be read."""


def shown(delivery: Delivery, raw: bytes, mapping: Places) -> Shown:
    """One message as it may be shown, read with its repository's mapping."""
    if not raw and delivery.size:
        return Shown(text="", kept=False)
    text = redact(raw[: LONGEST + MARGIN].decode("utf-8", "replace"))[0].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    cut = len(raw) > LONGEST + MARGIN or len(text) > LONGEST
    told: tuple[Mapping[str, Any], ...] = ()
    problem = ""
    try:
        news = read(delivery, raw, mapping)
        told = tuple(_safe(one.model_dump(mode="json", exclude={"at"})) for one in news[:MOST])
        cut = cut or len(news) > MOST
    except FactoryError as error:
        problem = error.message
    return Shown(text=text[:LONGEST], cut=cut, told=told, problem=problem)


def _safe(value: Any) -> Any:
    """The same with its texts cut short and without secrets."""
    if isinstance(value, str):
        return redact(value[: LONGEST_WORDS + MARGIN])[0][:LONGEST_WORDS]
    if isinstance(value, dict):
        return {name: _safe(inner) for name, inner in value.items()}
    return [_safe(inner) for inner in value] if isinstance(value, list) else value


def as_data(delivery: Delivery, seen: Shown) -> dict[str, Any]:
    """A message for programs."""
    return {
        **delivery.model_dump(mode="json"), "told": [dict(one) for one in seen.told], "problem": seen.problem,
        "raw": seen.text, "raw_kept": seen.kept, "raw_cut": seen.cut,
    }  # fmt: skip
