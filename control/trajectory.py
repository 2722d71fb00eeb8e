"""A droid's trajectory (Agent Trajectory Interchange Format) as a page tells it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from appliance.errors import VerificationFailed
from appliance.work import Noun

SPEAKERS: Mapping[str, str] = {"system": "told first", "user": "asked", "agent": "the model"}
"""The format's sources, in words."""


class Step(Noun):
    """One message, and what was seen when it was acted upon."""

    number: int
    speaker: str
    at: str = ""
    message: str = ""
    seen: str = ""
    model: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Run(Noun):
    """One attempt of a droid."""

    session: str
    agent: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    steps: tuple[Step, ...]


def told(document: bytes) -> Run:
    """Raises VerificationFailed when the document is no trajectory."""
    try:
        whole = json.loads(document)
        agent, sums = whole["agent"], whole["final_metrics"]
        return Run(
            session=whole["session_id"],
            agent=f"{agent['name']} {agent['version']}",
            model=agent["model_name"],
            prompt_tokens=sums["total_prompt_tokens"],
            completion_tokens=sums["total_completion_tokens"],
            steps=tuple(_step(step) for step in whole["steps"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise VerificationFailed(
            f"this file is no trajectory: {error}", "it can be saved as it is: .../evidence/NAME"
        ) from error


def _step(step: Mapping[str, Any]) -> Step:
    results = step.get("observation", {}).get("results", ())
    metrics = step.get("metrics", {})
    return Step(
        number=step["step_id"],
        speaker=SPEAKERS.get(step["source"], step["source"]),
        at=step.get("timestamp", ""),
        message=step.get("message", ""),
        seen="\n".join(str(one.get("content", "")) for one in results),
        model=step.get("model_name", ""),
        prompt_tokens=metrics.get("prompt_tokens"),
        completion_tokens=metrics.get("completion_tokens"),
    )
