"""What a stage is handed: the ports, bound to the item's repository, and nothing it could write the ledger with."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.lesson import Recalled
from appliance.ports import Clock, Forge, Model, Progress, Repository, Scanner
from appliance.settings import Settings
from appliance.work import Attempt, Suspect, TestReport, TrackedRepository, WorkItem


class Suite(Protocol):
    """Runs a repository's tests in the sandbox."""

    def __call__(self, tree: Path, only: Sequence[str] = ()) -> TestReport: ...


class Localise(Protocol):
    """Where in the tree the fault may be; the item's plan names the failing tests."""

    def __call__(self, tree: Path, item: WorkItem, similarity: Mapping[str, float]) -> tuple[Suspect, ...]: ...


class Strategy(Protocol):
    """One way to build a change. `model` is "" for search. The attempt's `n` is given by the caller."""

    def __call__(
        self, tree: Path, item: WorkItem, model: str, similarity: Mapping[str, float], lessons: Sequence[str] = ()
    ) -> Attempt: ...


class Recall(Protocol):
    """The lessons that fit what a prompt is about, the best first; few."""

    def __call__(
        self, item: WorkItem, stage: str, role: str, paths: Sequence[str], words: str
    ) -> tuple[Recalled, ...]: ...


def noted(recalled: Sequence[Recalled], stage: str, role: str) -> list[dict[str, object]]:
    """Lessons that a stage used, as its facts tell them and the ledger keeps them."""
    return [
        {"lesson": one.lesson.id, "stage": stage, "role": role, "rank": one.rank, "score": one.score, "how": one.how}
        for one in recalled
    ]


def with_lessons(item: WorkItem, recalled: Sequence[Recalled]) -> WorkItem:
    """The item with the lessons it used, each once."""
    named = (*item.lessons_used, *(one.lesson.id for one in recalled))
    return item.with_(lessons_used=tuple(dict.fromkeys(named)))


@dataclass(frozen=True)
class Parts:
    """Everything a stage may use for one item."""

    settings: Settings
    tracked: TrackedRepository
    repository: Repository
    forge: Forge
    suite: Suite
    localise: Localise
    search: Strategy
    droid: Strategy
    model: Model
    scanners: tuple[Scanner, ...]
    clock: Clock
    progress: Progress
    open_items: tuple[WorkItem, ...]
    """Other items of the same repository that have not ended, oldest first."""
    scratch: Path
    """Folder for this run's disposable trees."""
    recall: Recall
    evidence: Path
    """Folder where this item's evidence is kept."""

    def folder(self, name: str) -> AbstractContextManager[Path]:
        """See fresh_folder."""
        return fresh_folder(self.scratch, name)


@contextmanager
def fresh_folder(within: Path, name: str) -> Iterator[Path]:
    """A path that does not exist yet, in a fresh folder that is gone afterwards."""
    within.mkdir(parents=True, exist_ok=True)
    outer = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=within))
    try:
        yield outer / "tree"
    finally:
        shutil.rmtree(outer, ignore_errors=True)
