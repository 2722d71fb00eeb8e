"""Replays in the ledger: the fixed set of each repository, the runs, and each result as it ended.

All events of a repository's replays have one subject, `replay:NAME`, so that one look tells its whole story.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from appliance.events import Event, Fact
from appliance.ledger import Ledger
from appliance.ledger.chain import Recorded
from appliance.line.replay.tasks import NO_SETUP, Setup, Task, TaskSet, Tried


@dataclass
class Run:
    """One replay as the ledger knows it."""

    number: int
    contenders: tuple[str, ...]
    tasks: tuple[str, ...]
    rows: list[Tried] = field(default_factory=list)
    ended: bool = False
    setup: Setup = NO_SETUP
    at: datetime | None = None
    why: str = ""
    """Why it was due; empty when somebody asked for it."""
    words: str = ""
    """How the two contenders compare, once it has ended."""


@dataclass
class Story:
    """All there is of one repository's replays."""

    fixed: TaskSet | None = None
    runs: list[Run] = field(default_factory=list)

    def open_run(self, contenders: Sequence[str], tasks: Iterable[Task], setup: Setup) -> Run | None:
        """The newest run, when it is just this one and was cut off."""
        last = self.runs[-1] if self.runs else None
        if last is None or last.ended:
            return None
        mine = (tuple(contenders), tuple(one.id for one in tasks), setup)
        return last if (last.contenders, last.tasks, last.setup) == mine else None

    def earlier(self, contender: str, tasks: Iterable[Task]) -> list[Tried]:
        """The newest earlier result of a contender at each task, from runs that came to their end."""
        wanted = {task.id for task in tasks}
        newest = {
            row.task: row for run in self.runs if run.ended for row in run.rows
            if row.contender == contender and row.task in wanted
        }  # fmt: skip
        return list(newest.values())


def subject(repo: str) -> str:
    """What the events of a repository's replays are about."""
    return f"replay:{repo}"


def read(ledger: Ledger, repo: str) -> Story:
    """The story so far."""
    return story(ledger.history(subject(repo)))


def story(events: Iterable[Recorded]) -> Story:
    """The story that events tell. Pure."""
    told = Story()
    for event in events:
        if event.kind == Fact.TASKS_FIXED:
            told.fixed = TaskSet.model_validate(event.payload)
        elif event.kind == Fact.REPLAY_STARTED:
            said = event.payload
            setup = Setup.model_validate(said.get("setup", {}))
            told.runs.append(
                Run(
                    int(said["run"]), tuple(said["contenders"]), tuple(said["tasks"]), setup=setup,
                    at=datetime.fromisoformat(event.at), why=said.get("why", ""),
                )
            )  # fmt: skip
        elif event.kind == Fact.REPLAY_RAN and told.runs:
            told.runs[-1].rows.append(Tried.model_validate(event.payload))
        elif event.kind == Fact.REPLAY_ENDED and told.runs:
            told.runs[-1].ended, told.runs[-1].words = True, event.payload["words"]
    return told


def fix(ledger: Ledger, tasks: TaskSet) -> None:
    """Keep a set."""
    ledger.append(
        Event(kind=Fact.TASKS_FIXED, subject=subject(tasks.repo), payload=tasks.model_dump(mode="json"))
    )  # fmt: skip


def start(ledger: Ledger, repo: str, run: Run) -> None:
    """Note that a run begins."""
    payload = {"run": run.number, "contenders": run.contenders, "tasks": run.tasks, "why": run.why,
               "setup": run.setup.model_dump(mode="json")}  # fmt: skip
    ledger.append(Event(kind=Fact.REPLAY_STARTED, subject=subject(repo), payload=payload))


def keep(ledger: Ledger, row: Tried) -> None:
    """Keep one result."""
    ledger.append(
        Event(kind=Fact.REPLAY_RAN, subject=subject(row.repo), payload=row.model_dump(mode="json"))
    )  # fmt: skip


def end(ledger: Ledger, repo: str, number: int, words: str) -> None:
    """Note that a run is over, and what it says."""
    ledger.append(
        Event(kind=Fact.REPLAY_ENDED, subject=subject(repo), payload={"run": number, "words": words})
    )  # fmt: skip
