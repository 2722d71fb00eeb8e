"""Prompts and answers, kept as long as `gateway.transcript_days` says: not at all, unless the operator wants it.

Secrets and pictures are taken out before anything is written. A kept line has the id of its call, which headers and the
usage line have too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gevent

from appliance.secrets import redact
from inference.gateway.chat import PICTURE
from inference.gateway.daily import Daily

log = logging.getLogger("inference.gateway")

SAID = ("messages", "tools", "prompt", "input", "query", "documents")
"""Parts of a call's payload that hold what somebody wrote."""
TEXTS = ("content", "reasoning_content", "text")
LOOK_SECONDS = 3600.0
"""Pause between two looks for files that are too old."""


class Transcripts:
    """What was said by all calls of one worker."""

    def __init__(self, folder: Path, days: int) -> None:
        self._lines = Daily(folder, "transcripts")
        self._days = days

    @property
    def on(self) -> bool:
        """Whether anything is kept at all."""
        return self._days > 0

    def keep(self, about: Mapping[str, Any], payload: Mapping[str, Any], answer: Any) -> bool:
        """Write down a call that is over; False when the disk did not take it. `about` says which one it was."""
        asked = {name: payload[name] for name in SAID if name in payload}
        return self._lines.append({**about, "asked": cleaned(asked), "answered": cleaned(answer)})

    def start(self) -> None:
        """Begin to remove what is too old, now and for as long as the process lives."""
        gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            try:
                self._lines.forget(self._days)
            except OSError as error:
                log.error("transcripts that are too old cannot be removed: %s", error)
            gevent.sleep(LOOK_SECONDS)


class Heard:
    """What a stream says, put together choice by choice."""

    def __init__(self) -> None:
        self._choices: dict[int, dict[str, Any]] = {}

    def take(self, chunk: Mapping[str, Any]) -> None:
        """A shaped chunk."""
        for choice in chunk["choices"]:
            said = self._choices.setdefault(choice["index"], {})
            delta = choice.get("delta") or choice
            for name in TEXTS:
                if text := delta.get(name):
                    said[name] = said.get(name, "") + text
            for call in delta.get("tool_calls") or ():
                known = said.setdefault("tool_calls", {}).setdefault(call["index"], {"name": "", "arguments": ""})
                known["name"] = call["function"].get("name") or known["name"]
                known["arguments"] += call["function"].get("arguments") or ""

    def whole(self) -> list[dict[str, Any]]:
        """All choices as far as they came."""
        return [
            {**said, "tool_calls": list(said["tool_calls"].values())} if "tool_calls" in said else said
            for _, said in sorted(self._choices.items())
        ]


def answer_in(answer: Any) -> list[Any] | None:
    """What a whole answer says; None for one without words, as vectors are."""
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    if not isinstance(choices, list):
        return None
    return [choice.get("message") or choice.get("text") for choice in choices if isinstance(choice, Mapping)]


def cleaned(value: Any) -> Any:
    """The same without secrets and pictures."""
    if isinstance(value, str):
        return "[picture]" if PICTURE.fullmatch(value) else redact(value)[0]
    if isinstance(value, Mapping):
        return {key: cleaned(inner) for key, inner in value.items()}
    return [cleaned(inner) for inner in value] if isinstance(value, list) else value
