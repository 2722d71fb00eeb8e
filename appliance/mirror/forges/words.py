"""What adapters write and read alike: the box's marks, the text of a request, numbers and times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from appliance.errors import NotFound
from appliance.ports import Draft
from appliance.work import Finding


def number_of(text: str) -> str:
    """A number that may stand in a path. Raises NotFound: whatever else a sender put there names nothing."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise NotFound(f"{text!r} is no number of an issue or request", "use the number that the forge shows")
    return text


def mark_of(name: str) -> str:
    """The line, unseen by readers, by which the box finds what it wrote."""
    return f"<!-- factory:{name} -->"


def text_of(draft: Draft) -> str:
    """The request's text, with the item's mark and the issue that its merge settles."""
    closing = f"\n\nCloses #{draft.closes}" if draft.closes else ""
    return f"{mark_of(draft.item)}\n{draft.text}{closing}"


def shown(finding: Finding) -> str:
    """A finding as a comment."""
    return f"**{finding.tool or 'factory'} {finding.rule}** ({finding.severity}): {finding.message}"


def when(text: str) -> datetime:
    """A time as forges write it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def closed_at(issue: Mapping[str, Any]) -> datetime | None:
    """When an issue was closed; None for an open one, and where it is not told."""
    told = issue.get("closed_at")
    return when(told) if told else None
