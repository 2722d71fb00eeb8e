"""Lets go of lessons that are not worth a prompt any more: unused for long, or about code that is gone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from appliance.errors import FactoryError
from appliance.ledger import Ledger
from appliance.lesson import LessonState
from appliance.ports import Repository
from appliance.work import TrackedRepository

log = logging.getLogger("appliance.line")


@dataclass(frozen=True)
class Forgetting:
    """One line's look at its lessons."""

    ledger: Ledger
    repository_of: Callable[[TrackedRepository], Repository]
    days: float

    def look(self) -> list[str]:
        """Let go of what has had its time. Returns the lessons' ids."""
        gone = [(one.id, f"unused for {self.days:g} days") for one in self.ledger.lessons.unused(self.days)]
        for tracked in self.ledger.repositories():
            gone += [
                (id, f"nothing on {tracked.branch} is called {path} any more") for id, path in self._homeless(tracked)
            ]
        return [self.ledger.lessons.decay(id, why).id for id, why in dict(gone).items()]

    def _homeless(self, tracked: TrackedRepository) -> list[tuple[str, str]]:
        """Lessons of places that the repository's branch has no more; none when it cannot be read now."""
        alive = (LessonState.PROPOSED, LessonState.CONFIRMED)
        living = [one for state in alive for one in self.ledger.lessons.all(state, tracked.name)]
        placed = [one for one in living if one.scope.repo == tracked.name and one.scope.path]
        if not placed:
            return []
        try:
            repository = self.repository_of(tracked)
            paths = repository.paths(repository.head())
        except FactoryError as error:
            log.info("%s: its lessons stay, %s", tracked.name, error.message)
            return []
        return [(one.id, one.scope.path) for one in placed if not one.scope.touches(paths)]
