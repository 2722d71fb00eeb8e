"""What the console turned away, as it wrote it down last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from appliance.config import Home
from appliance.errors import Unavailable
from control.turned_away import FILE


def turned_away(home: Home, repo: str) -> dict[str, Any] | None:
    """Webhooks that were refused since the console started, counted, of one repository or all; None before its first
    start. Raises Unavailable for a file that cannot be read."""
    file = home.run / FILE
    try:
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {**told, "counts": [one for one in told["counts"] if repo in ("", one["repo"])]}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"what was turned away cannot be read: {file}", "the console writes it anew") from error


def in_words(told: Mapping[str, Any] | None) -> list[str]:
    """Lines for people."""
    if told is None:
        return ["The console has not run yet: nothing was turned away."]
    if not told["counts"]:
        return [f"Nothing was turned away since the console started ({told['since'][:19]})."]
    return [f"Turned away since the console started ({told['since'][:19]}):", *(
        f"  {one['count']} for {one['repo']}: {one['reason'].replace('_', ' ')}, the last at {one['last'][:19]}"
        for one in told["counts"]
    )]  # fmt: skip
