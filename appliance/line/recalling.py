"""Looks up the lessons that a prompt gets, and makes the vectors by which meaning finds them.

Without an embedding model places and words alone decide; what is recalled says by what it was found.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.errors import NotFound, Unavailable
from appliance.language import language_of
from appliance.ledger import Ledger
from appliance.lesson import Recalled, Situation
from appliance.ports import Embedded, Embedder
from appliance.settings import LearningSettings
from appliance.work import WorkItem

log = logging.getLogger("appliance.line")

LONGEST_WORDS = 2000
"""Characters of a situation that are embedded: a few pieces of what the model reads at once."""
AT_ONCE = 32
"""Lessons whose vectors are made in one turn."""


@dataclass(frozen=True)
class Recalling:
    """See parts.Recall."""

    ledger: Ledger
    embedder: Embedder
    settings: LearningSettings
    makers: dict[str, str] = field(default_factory=dict)
    """The embedding model that answered last: id and digest of the weights. It is asked when there is work for it."""

    def __call__(self, item: WorkItem, stage: str, role: str, paths: Sequence[str], words: str) -> tuple[Recalled, ...]:
        most, tokens = self.settings.lessons, self.settings.lesson_tokens
        if not most or not self.ledger.lessons.alive(item.repo):
            return ()  # a box that has learned nothing yet asks for no vectors
        situation = Situation(
            repo=item.repo, stage=stage, role=role, language=language_of(paths), paths=tuple(paths), words=words
        )
        made = self._embedded([words[:LONGEST_WORDS]])
        vector, digest = (made.vectors[0], made.digest) if made else ([], "")
        return self.ledger.lessons.recall(situation, most, tokens, vector, digest)

    def make_vectors(self) -> int:
        """Make the vectors that are missing or of another model, some at a time. Returns how many were made."""
        wanted = self.ledger.lessons.without_vector(
            self.makers.get("model", ""), self.makers.get("digest", ""), AT_ONCE
        )
        made = self._embedded([lesson.text for lesson in wanted]) if wanted else None
        if made is None:
            return 0
        for lesson, vector in zip(wanted, made.vectors, strict=True):
            self.ledger.lessons.keep_vector(lesson, made.model, made.digest, vector)
        return len(wanted)

    def _embedded(self, texts: Sequence[str]) -> Embedded | None:
        try:
            made = self.embedder.embedded(texts)
        except (NotFound, Unavailable) as error:
            log.info("lessons are found by places and words alone: %s", error.message)
            return None
        self.makers.update(model=made.model, digest=made.digest)
        return made
