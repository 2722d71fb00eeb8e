"""Going through the tasks: each contender tries each, and each result is in the ledger before the next one begins.

Killed at any instant, the same call goes on where it stopped. One replay runs in a home at a time.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from appliance.computers.probe import open_sandbox
from appliance.config import Home
from appliance.errors import Conflict, NotFound, UsageError, VerificationFailed
from appliance.gateway_client import GatewayModel
from appliance.language import language_of
from appliance.ledger import Ledger
from appliance.line.build import SEARCH
from appliance.line.replay import book
from appliance.line.replay.ground import Ground
from appliance.line.replay.making import HELD, make
from appliance.line.replay.scores import comparison, summary
from appliance.line.replay.tasks import AUTO, EARLIER, NO_SETUP, Setup, Task, TaskSet, Tried
from appliance.line.replay.trial import standing, trial
from appliance.mirror.mirror import Mirror
from appliance.ports import Model, Progress
from appliance.settings import Settings

PATIENCE = 60.0
"""Seconds a gateway that is away is asked again."""


@contextmanager
def grounds(home: Home, settings: Settings, progress: Progress) -> Iterator[Grounds]:
    """What every repository's replay needs. Raises Conflict when another replay runs here, NoSandbox."""
    with (home.run / "replay.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict("another replay runs in this home", "wait until it ends") from error
        folder = home.root / "replay"
        shutil.rmtree(folder, ignore_errors=True)  # what a killed one left
        model, embedder = (GatewayModel.of_the_line(home, patience, batch=True) for patience in (PATIENCE, 0.0))
        try:
            yield Grounds(home, settings, model, embedder, progress)
        finally:
            model.close()
            embedder.close()
            shutil.rmtree(folder, ignore_errors=True)


class Grounds:
    """Gives each repository its ground."""

    def __init__(
        self, home: Home, settings: Settings, model: GatewayModel, embedder: Model, progress: Progress
    ) -> None:
        self.home, self.settings, self.progress = home, settings, progress
        self.model, self.embedder = model, embedder
        self.sandbox = open_sandbox(settings.computers, home)

    def require(self, contenders: Sequence[str]) -> None:
        """Are there all of these? Raises NotFound, Unavailable."""
        wanted = [name for name in contenders if name not in (SEARCH, AUTO, EARLIER)]
        known = self.model.models("repair") if wanted else {}
        for name in wanted:
            if name not in known:
                there = ", ".join([*sorted(known), SEARCH, AUTO])
                raise NotFound(f"no model {name!r} serves repairs", f"there are: {there}")

    def setup(self, ground: Ground, contenders: Sequence[str]) -> Setup:
        """What decides now who repairs this repository's faults; search alone needs no gateway. Raises Unavailable."""
        if set(contenders) <= {SEARCH, EARLIER}:
            return NO_SETUP
        known = self.model.models("repair")
        try:
            language = language_of(ground.repository.paths(ground.repository.head()))
            order = self.model.route(
                task="repair", stage="build", language=language, repo=ground.tracked.name
            ).candidates
        except NotFound:  # a box whose rules name nobody
            order = ()
        named = {name: f"{name}:{digest}".rstrip(":") for name, digest in known.items()}
        return Setup(order=tuple(named.get(name, name) for name in order), models=tuple(sorted(named.values())))

    def of(self, ledger: Ledger, repo: str) -> Ground:
        """A repository's ground. Raises NotFound."""
        tracked = ledger.repository(repo)
        return Ground(
            home=self.home, settings=self.settings, tracked=tracked,
            repository=Mirror.of(self.home, tracked, self.settings.mirror), sandbox=self.sandbox, model=self.model,
            embedder=self.embedder, folder=self.home.root / "replay", progress=self.progress,
        )  # fmt: skip


def tasks_of(ledger: Ledger, ground: Ground, count: int, seed: int, renew: bool = False) -> TaskSet:
    """The fixed set of a repository; made now when there is none, or a new one is wanted."""
    repo = ground.tracked.name
    fixed = book.read(ledger, repo).fixed
    if fixed is not None and not renew:
        return fixed
    made = make(ground, ledger.items(repo, sorted(HELD)), count, seed)
    book.fix(ledger, made)
    return made


def replay(
    ledger: Ledger,
    ground: Ground,
    tasks: Sequence[Task],
    contenders: Sequence[str],
    say: Progress,
    setup: Setup = NO_SETUP,
    why: str = "",
) -> dict[str, Any]:
    """Let the contenders try the tasks; their figures, and how the two compare. `setup` and `why` are kept.

    Raises:
        UsageError: there is nothing to try.
        Unavailable, NotFound, PolicyRefused: a model cannot be asked. What was tried is kept.
    """
    if not tasks:
        raise UsageError(f"{ground.tracked.name} has no tasks", "`appliance learn tasks` says why")
    repo, told = ground.tracked.name, book.read(ledger, ground.tracked.name)
    live = [name for name in contenders if name != EARLIER]
    before = told.earlier(live[0], tasks) if EARLIER in contenders else []
    if EARLIER in contenders and not before:
        raise NotFound(f"{live[0]} has tried none of these tasks before", "replay it once without --vs")
    run = told.open_run(live, tasks, setup)
    if run is None:
        run = book.Run(len(told.runs) + 1, tuple(live), tuple(task.id for task in tasks), setup=setup, why=why)
        book.start(ledger, repo, run)
    elif run.rows:
        say(f"run {run.number} goes on: {len(run.rows)} of {len(live) * len(tasks)} results are there already")
    for number, task in enumerate(tasks, start=1):
        for row in _tried(ledger, ground, task, run):
            say(f"{number} of {len(tasks)} {task.id} {row.contender}: {in_a_word(row)} ({row.seconds:.1f} s)")
    rows = [*run.rows, *(row.with_(contender=EARLIER) for row in before)]
    figures = figures_of(repo, run.number, contenders, rows)
    book.end(ledger, repo, run.number, figures["comparison"]["words"] if "comparison" in figures else "")
    return figures


def _tried(ledger: Ledger, ground: Ground, task: Task, run: book.Run) -> Iterator[Tried]:
    """The results of one task that are still missing, each kept as it ends."""
    done = {row.contender for row in run.rows if row.task == task.id}
    missing = [name for name in run.contenders if name not in done]
    if not missing:
        return
    try:
        with standing(ground, task, run.number, any(name != SEARCH for name in missing)) as stand:
            for name in missing:
                yield _kept(ledger, run, trial(ground, stand, name, run.number))
    except VerificationFailed as error:
        for name in missing:
            failed = Tried(
                repo=task.repo, run=run.number, task=task.id, kind=task.kind, contender=name, outcome="error",
                detail=error.message,
            )  # fmt: skip
            yield _kept(ledger, run, failed)


def _kept(ledger: Ledger, run: book.Run, row: Tried) -> Tried:
    book.keep(ledger, row)
    run.rows.append(row)
    return row


def figures_of(repo: str, run: int, contenders: Sequence[str], rows: Sequence[Tried]) -> dict[str, Any]:
    """What a run shows."""
    figures: dict[str, Any] = {
        "repo": repo, "run": run,
        "contenders": [summary(name, [row for row in rows if row.contender == name]) for name in contenders],
        "rows": [row.model_dump(mode="json") for row in rows],
    }  # fmt: skip
    if len(contenders) == 2:
        figures["comparison"] = comparison(contenders[0], contenders[1], rows)
    return figures


def in_a_word(row: Tried) -> str:
    """What came of one try."""
    if row.selected:
        return "right" if not row.restored else "right, the original code"
    if row.wrong:
        return "WRONG, and would have shipped"
    return {"ambiguous": "would ask a person", "error": f"error: {row.detail}"}.get(row.outcome, "no change found")
