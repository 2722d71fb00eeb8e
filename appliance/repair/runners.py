"""The host's side of the runner: open it in a sandbox, ask, and keep it busy without ever waiting for ever."""

from __future__ import annotations

import collections
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from appliance import ports
from appliance.errors import FactoryError, LimitExceeded, Unavailable

FOLDER = Path(__file__).resolve().parent / "runner"

GOOD = frozenset({"passed", "xfailed", "skipped", "xpassed"})

ENV = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""As the gates run the tests: without the plugins that happen to be installed beside the Python."""

RESTARTS = 5
"""Times a runner that a candidate brought down is started again."""

AHEAD = 3
"""Jobs sent ahead for each process, so that none waits for us."""


@dataclass(frozen=True)
class Collected:
    """What pytest found."""

    tests: tuple[str, ...]
    errors: Mapping[str, str]


@dataclass
class Job:
    """One request to run or probe tests under a candidate, and what came of it."""

    request: dict[str, Any]
    tag: Any = None
    reply: dict[str, Any] = field(default_factory=dict)
    parts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def status(self) -> str:
        return str(self.reply.get("status", "died"))

    @property
    def cpu(self) -> float:
        return float(self.reply.get("cpu", 0.0))

    @property
    def outcomes(self) -> dict[int, str]:
        """Outcome by the test's index in the plan."""
        return {index: outcome for index, outcome, _ in self.reply.get("outcomes", [])}

    def passed_all(self, count: int) -> bool:
        outcomes = self.outcomes
        return self.status == "done" and len(outcomes) == count and all(o == "passed" for o in outcomes.values())


class Runner:
    """One runner process in a sandbox: hot (tests collected once) or cold (every job collects for itself)."""

    def __init__(
        self,
        sandbox: ports.Sandbox,
        tree: Path,
        limits: ports.Limits,
        python: str,
        *,
        hot: bool,
        processes: int,
        pulse: Callable[[], None] = lambda: None,
    ) -> None:
        self.pulse = pulse
        self.sandbox, self.tree, self.limits, self.python = sandbox, tree, limits, python
        self.hot, self.processes = hot, processes
        self.plans: dict[str, tuple[str, ...]] = {}
        self.cpu_seconds = 0.0
        self.args: tuple[str, ...] = ()
        self._restarts = 0
        self._number = 0
        self._session: ports.Session | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and everything in it."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def collect(self, args: Sequence[str] = (), seconds: float = 120.0) -> Collected:
        """Start and let pytest collect. Raises LimitExceeded when that takes too long, Unavailable when it dies."""
        self.args = tuple(args)
        share = max(256, self.limits.memory_mb * 3 // 4 // max(1, min(self.processes, 4)))
        argv = [self.python, "-X", "frozen_modules=off", str(FOLDER / "main.py"), "hot" if self.hot else "cold"]
        self._session = self.sandbox.open(
            [*argv, str(self.processes), str(share)], tree=self.tree, limits=self.limits, env=ENV, tools=(FOLDER,)
        )
        self._send({"op": "collect", "args": list(args)})
        told = self._receive(seconds)
        if told is None:
            self.close()
            raise LimitExceeded(
                f"collecting the tests took longer than {seconds:g} s",
                "look for code that blocks when a test file is imported",
            )
        for name, tests in self.plans.items():
            self._send({"op": "plan", "name": name, "tests": list(tests)})
        return Collected(tuple(told["tests"]), told["errors"])

    def plan(self, name: str, tests: Sequence[str]) -> None:
        """Name a list of tests."""
        self.plans[name] = tuple(tests)
        self._send({"op": "plan", "name": name, "tests": list(tests)})

    def run(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Do jobs, several at once; they come back as they end. Stop iterating to drop the rest."""
        source = iter(jobs)
        pending: dict[int, Job] = {}
        try:
            while True:
                more = self._fill(source, pending)
                if not pending and not more:
                    return
                yield from self._await(pending)
        finally:
            if pending:
                self._drop(pending)

    def one(self, job: Job) -> Job:
        """Do one job."""
        return next(iter(list(self.run([job]))))

    def _fill(self, source: Iterator[Job], pending: dict[int, Job]) -> bool:
        while len(pending) < self.processes * AHEAD:
            job = next(source, None)
            if job is None:
                return False
            self._number += 1
            pending[self._number] = job
            try:
                self._send({"job": self._number, **job.request})
            except Unavailable:
                return True  # noticed again, and mended, when we wait for its answer
        return True

    def _await(self, pending: dict[int, Job]) -> list[Job]:
        """The jobs that the next message ends; all of them, as died, when the runner is gone."""
        longest = max(job.request["wall"] for job in pending.values()) * (AHEAD + 1) + 30.0
        try:
            told = self._receive(longest)
        except Unavailable:
            told = None
        if told is None:
            lost = list(pending.values())
            pending.clear()
            self._again()
            return lost
        job = pending.get(told.pop("job", 0))
        if job is None:
            return []
        if "status" not in told:
            job.parts.append(told)
            return []
        job.reply = told
        self.cpu_seconds += job.cpu
        return [pending.pop(number) for number, held in list(pending.items()) if held is job]

    def _again(self) -> None:
        """A candidate brought the runner down: start it once more."""
        self._restarts += 1
        if self._restarts > RESTARTS:
            raise Unavailable(
                f"the runner in the sandbox ended {self._restarts} times",
                "a test or candidate ends processes it did not start",
            )
        self.close()
        self.collect(self.args)

    def _drop(self, pending: dict[int, Job]) -> None:
        """Forget what is waiting, and let what runs end."""
        try:
            self._send({"op": "forget"})
            running = collections.deque(maxlen=1)  # type: collections.deque[float]
            deadline = time.monotonic() + min(10.0, max(job.request["wall"] for job in pending.values()))
            while len(pending) > 0 and time.monotonic() < deadline:
                told = self._receive(0.3)
                if told is None:
                    break
                if "status" in told and (job := pending.pop(told.get("job", 0), None)):
                    self.cpu_seconds += float(told.get("cpu", 0.0))
                    running.append(job.cpu)
        except (Unavailable, LimitExceeded):
            self._again()

    def _send(self, message: dict[str, Any]) -> None:
        if self._session is None:
            raise Unavailable("the runner is not open", "open it first")
        self._session.send(json.dumps(message).encode())

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        assert self._session is not None
        deadline = time.monotonic() + seconds
        while (line := self._session.receive(min(1.0, seconds))) is None:
            self.pulse()
            if time.monotonic() >= deadline:
                return None
        try:
            told = json.loads(line)
        except ValueError as error:
            raise Unavailable(
                "the runner's answer is not JSON", "a test writes to descriptors it did not open"
            ) from error
        return told if isinstance(told, dict) else None


def limits_for(limits: ports.Limits, seconds: float) -> ports.Limits:
    """The limits of a session: it lives longer and says more than one run of the tests."""
    return limits.with_(
        seconds=max(limits.seconds, seconds),
        cpu_seconds=max(limits.cpu_seconds, seconds),
        output_kb=max(limits.output_kb, 1 << 18),
    )


class NothingToRepair(FactoryError):
    """The known tests do not show a fault that could be repaired here."""

    code = "nothing_to_repair"
