"""What a droid is given, what it hears back, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.work import Candidate, Suspect


@dataclass(frozen=True)
class Task:
    """One fault to repair."""

    tree: Path
    """A checkout; it is read, never written."""
    title: str
    report: str
    acceptance: tuple[str, ...]
    """Ids of the tests that must pass."""
    suspects: tuple[Suspect, ...]
    failures: Mapping[str, str]
    """How the acceptance tests fail now: test id → message."""
    protected: tuple[str, ...]
    """Glob patterns of paths that no edit may touch."""
    model: str
    episode: str = ""
    """What its calls belong to: the item."""
    lessons: tuple[str, ...] = ()
    """What earlier work taught; data like the report."""


@dataclass(frozen=True)
class Feedback:
    """What the tests say of a change."""

    passed: bool
    failures: Mapping[str, str] = field(default_factory=dict)
    """Tests that should pass and do not → message."""
    lost: tuple[str, ...] = ()
    """Of these, the tests that passed before the change."""


Validate = Callable[[Mapping[str, str]], Feedback]
"""Runs the tests on the tree with path → whole new content put in. Every edit goes through it; no model runs tests."""


@dataclass(frozen=True)
class DroidResult:
    """What came of an attempt."""

    candidates: tuple[Candidate, ...]
    reason: str
    """What it did and why it ended, for people."""
    steps: tuple[Mapping[str, Any], ...] = ()
    """Its trajectory, as steps of the Agent Trajectory Interchange Format."""
    validated: int = 0
    """Different changes that the tests judged."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model_seconds: float = 0.0
