"""What an attempt has used up and seen: its limits, its circles, and its trajectory."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from appliance.ports import Completion
from appliance.settings import DroidSettings
from appliance.work import utcnow


class Ended(Exception):
    """The attempt ends here, for the reason given."""


class Account:
    """Counts, and says when to stop. Limits are hard: they are asked before anything is spent."""

    def __init__(self, settings: DroidSettings) -> None:
        self.settings = settings
        self.started = time.monotonic()
        self.steps: list[dict[str, Any]] = []
        self.answers = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.model_seconds = 0.0
        self.unusable = 0
        """Answers in a row that could not be used."""
        self._seen: Counter[str] = Counter()

    def allow(self, prompt_tokens: int) -> int:
        """Tokens the next answer may have. Raises Ended when a limit is reached."""
        self.in_time()
        if self.answers >= self.settings.steps:
            raise Ended(f"the limit of {self.settings.steps} answers is reached")
        left = self.settings.total_tokens - self.prompt_tokens - self.completion_tokens - prompt_tokens
        if left < 64:
            raise Ended(f"the limit of {self.settings.total_tokens} tokens is reached")
        return min(self.settings.answer_tokens, left)

    def in_time(self) -> None:
        """Raises Ended when the time is over."""
        if time.monotonic() - self.started >= self.settings.seconds:
            raise Ended(f"the limit of {self.settings.seconds:g} s is reached")

    def spent(self, answer: Completion, prompt_tokens: int, completion_tokens: int) -> None:
        """Count an answer; the estimates stand in where the server does not count."""
        self.answers += 1
        self.prompt_tokens += answer.prompt_tokens or prompt_tokens
        self.completion_tokens += answer.completion_tokens or completion_tokens
        self.model_seconds += answer.seconds

    def usable(self, problem: str) -> None:
        """Whether an answer could be used. Raises Ended after too many in a row that could not."""
        self.unusable = self.unusable + 1 if problem else 0
        if self.unusable >= self.settings.format_errors:
            raise Ended(f"{self.unusable} answers in a row could not be used; the last: {problem[:300]}")

    def repeated(self, action: str, outcome: str) -> None:
        """Notice a circle. Raises Ended when the same action has had the same outcome too often."""
        key = hashlib.sha256(f"{action}\0{outcome}".encode(errors="replace")).hexdigest()
        self._seen[key] += 1
        if self._seen[key] >= self.settings.repeats:
            raise Ended(f"the model gave the same answer with the same result {self._seen[key]} times")

    def note(
        self, source: str, message: str, observation: str = "", answer: Completion | None = None, outcome: str = ""
    ) -> None:
        """Keep one step of the trajectory, in the shape of the Agent Trajectory Interchange Format 1.8. `outcome` is a
        word for what came of it: passed, failed, unusable, cut, gave up, context."""
        step: dict[str, Any] = {
            "step_id": len(self.steps) + 1,
            "timestamp": utcnow().isoformat(),
            "source": source,
            "message": message,
        }
        if answer is not None:
            step["model_name"] = answer.model
            step["metrics"] = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
        if outcome:
            step["extra"] = {"outcome": outcome}
        if observation:
            step["observation"] = {"results": [{"content": observation}]}
        self.steps.append(step)


def trajectory(session: str, version: str, model: str, steps: list[Mapping[str, Any]]) -> dict[str, Any]:
    """A whole trajectory document around the steps of a result."""
    metrics = [step["metrics"] for step in steps if "metrics" in step]
    return {
        "schema_version": "ATIF-v1.8",
        "session_id": session,
        "agent": {"name": "appliance-droid", "version": version, "model_name": model},
        "steps": steps,
        "final_metrics": {
            "total_prompt_tokens": sum(one["prompt_tokens"] for one in metrics),
            "total_completion_tokens": sum(one["completion_tokens"] for one in metrics),
            "total_steps": len(steps),
        },
    }
