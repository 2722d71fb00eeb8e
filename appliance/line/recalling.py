"""Looks up the lessons that a prompt gets, in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.ledger import Ledger
from appliance.lesson import Recalled, Situation
from appliance.settings import LearningSettings
from appliance.work import WorkItem


@dataclass(frozen=True)
class Recalling:
    """See parts.Recall."""

    ledger: Ledger
    settings: LearningSettings

    def __call__(self, item: WorkItem, stage: str, role: str, paths: Sequence[str], words: str) -> tuple[Recalled, ...]:
        situation = Situation(repo=item.repo, stage=stage, role=role, paths=tuple(paths), words=words)
        return self.ledger.lessons.recall(situation, self.settings.lessons, self.settings.lesson_tokens)
