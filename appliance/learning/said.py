"""What a payload says, read without trust: an odd value is nothing said, never an error."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]


def moment(at: str) -> datetime:
    """The ledger's time as UTC without a zone, which is what DuckDB's TIMESTAMP keeps."""
    return datetime.fromisoformat(at).astimezone(UTC).replace(tzinfo=None)


def text(value: Any) -> str:
    """A word or sentence; "" for nothing."""
    if isinstance(value, str):  # first, as nearly everything is: this is where most of a batch's time goes
        return value
    return "" if value is None else json.dumps(value, default=str)


def texts(value: Any) -> list[str]:
    """Words; none for anything that is no list."""
    return [text(one) for one in value] if isinstance(value, list | tuple) else []


def figure(value: Any) -> float:
    """A finite number to the ledger's three digits; 0 for anything else."""
    good = type(value) in (float, int) and math.isfinite(value)
    return round(float(value), 3) if good else 0.0


def whole(value: Any) -> int:
    """A whole number that an INTEGER holds; 0 for anything else."""
    number = figure(value)
    return int(number) if abs(number) < 2**31 else 0


def mapping(value: Any) -> Mapping[str, Any]:
    """An object; an empty one for anything else."""
    return value if isinstance(value, dict) or isinstance(value, Mapping) else {}  # noqa: SIM101 - a dict is quick to know


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a list; none for anything else."""
    return [one for one in value if isinstance(one, Mapping)] if value and isinstance(value, list | tuple) else []
