"""Trying candidates: which tests decide, how long each may take, and the two runners that answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from appliance.repair.edits import Edit
from appliance.repair.problem import Problem
from appliance.repair.runners import Job, Runner
from appliance.repair.spectrum import Spectrum, near_first

PLAN = "known"
SLOWDOWN = 8.0
"""How many times its usual time a test may take under a candidate."""
SHORTEST, LONGEST = 0.05, 3.0
"""Bounds of one test's CPU time under a candidate, in seconds. An endless loop costs the shortest at least."""


@dataclass
class Bench:
    """The known tests in the order in which they decide, and the runners that run them."""

    hot: Runner
    cold: Runner
    tests: tuple[str, ...]
    first: int
    """So many of them are acceptance tests."""
    cpu: tuple[float, ...]
    tried: int = 0
    cold_started: bool = False
    left: list[Edit] = field(default_factory=list)
    """Edits that only the cold runner can try."""
    stale: list[Edit] = field(default_factory=list)
    """Edits of functions that ran at import; they failed with what these had computed before."""

    @property
    def cpu_seconds(self) -> float:
        return self.hot.cpu_seconds + self.cold.cpu_seconds

    def job(self, edit: Edit, always: int = 1, patience: float = 1.0) -> Job:
        """Run the known tests under an edit; the first `always` whatever happens."""
        wall = (sum(self.cpu) * 1.5 + 5.0) * patience
        request = {"op": "run", "plan": PLAN, "edits": edit.wire(), "always": always, "stop": True, "stream": False,
                   "cpu": [one * patience for one in self.cpu], "wall": min(wall, 60.0), "start_cpu": 10.0}  # fmt: skip
        return Job(request, tag=edit)

    def validate(self, edits: Iterable[Edit], always: int = 1, patience: float = 1.0) -> Iterator[tuple[Edit, Job]]:
        """Try edits with the hot runner. Those that change what runs at import are put aside, in `left`, or in `stale`
        when they were tried all the same and failed; a stale one that passes is tried again by the cold runner."""
        for job in self.hot.run(self.job(edit, always, patience) for edit in edits):
            if job.status == "cold":
                self.left.append(job.tag)
                continue
            self.tried += 1
            if not job.reply.get("stale"):
                yield job.tag, job
            elif self.passes(job):
                self.start_cold()
                yield job.tag, self.cold.one(self.job(job.tag, always, patience))
            else:
                self.stale.append(job.tag)
                yield job.tag, job

    def validate_cold(self, edits: Iterable[Edit]) -> Iterator[tuple[Edit, Job]]:
        """Try edits that change what runs at import."""
        self.start_cold()
        for job in self.cold.run(self.job(edit) for edit in edits):
            self.tried += 1
            yield job.tag, job

    def start_cold(self) -> None:
        """The cold runner starts when it is first needed."""
        if not self.cold_started:
            self.cold.collect(self.hot.args)
            self.cold.plan(PLAN, self.tests)
            self.cold_started = True

    def passes(self, job: Job) -> bool:
        return job.passed_all(len(self.tests))

    def accepted(self, job: Job) -> int:
        """How many acceptance tests pass."""
        return sum(outcome == "passed" for index, outcome in job.outcomes.items() if index < self.first)


def bench(problem: Problem, spectrum: Spectrum, hot: Runner, cold: Runner) -> Bench:
    """Acceptance tests first, quickest first; then what passed before, nearest first."""
    unstable = set(spectrum.unstable)
    known = set(spectrum.collected)
    wanted = [test for test in problem.acceptance if test in known or test in spectrum.unseen]
    wanted.sort(key=lambda test: (test in spectrum.hanging, spectrum.seconds.get(test, 0.0)))
    kept = [
        test
        for test, outcome in problem.baseline.items()
        if outcome == "passed" and test in known and test not in unstable and test not in wanted
    ]
    tests = (*wanted, *near_first(kept, problem.acceptance))
    cpu = tuple(allowed(spectrum, test) for test in tests)
    hot.plan(PLAN, tests)
    return Bench(hot, cold, tests, len(wanted), cpu)


def allowed(spectrum: Spectrum, test: str) -> float:
    """CPU seconds a test may use under a candidate."""
    if test in spectrum.hanging:
        return SHORTEST  # every edit that does not mend it costs this; those that seem slow run again later
    return min(LONGEST, max(SHORTEST, SLOWDOWN * spectrum.seconds.get(test, 0.0) / 3))
