"""Which tests run which lines, from traced runs in the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import UsageError
from appliance.repair.problem import Problem, is_test
from appliance.repair.runners import GOOD, Job, Runner

PASSING_TRACED = 250
"""Passing tests whose lines are recorded."""

CPU_SECONDS = 15.0
"""CPU time for the traced runs of passing tests."""

FAILING_CPU = 3.0
"""CPU time of one traced failing test; one that never ends is stopped there and tells where it was."""

WHOLLY, BRIEFLY = 3, 0.5
"""So many failing tests get that long; of more, each gets this many seconds: where one hangs, mostly all do."""

Line = tuple[str, int]


@dataclass
class Spectrum:
    """What the tests run now, before any change."""

    failing: dict[str, frozenset[Line]] = field(default_factory=dict)
    passing: dict[str, frozenset[Line]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """CPU time of each traced test; about three times what it takes untraced."""
    messages: dict[str, str] = field(default_factory=dict)
    steps: dict[str, tuple[Line, ...]] = field(default_factory=dict)
    """Steps of each failing test's traceback through the repository, outermost first."""
    hanging: frozenset[str] = frozenset()
    unseen: tuple[str, ...] = ()
    """Acceptance tests that pytest did not find: their file cannot be imported."""
    unstable: tuple[str, ...] = ()
    """Tests that passed before and do not now; nothing is asked of them."""
    collected: tuple[str, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


def gather(
    problem: Problem,
    runner: Runner,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> Spectrum:
    """Trace the failing tests, then passing ones, nearest to them first."""
    if not problem.acceptance:
        raise UsageError("no test is named that must pass", "give the ids of failing tests")
    collected = collect(problem, runner)
    known = set(collected.collected)
    spectrum = collected
    spectrum.unseen = tuple(test for test in problem.acceptance if test not in known)
    failing = [test for test in problem.acceptance if test in known]
    say(f"tracing {len(failing)} failing tests")
    _trace_failing(runner, failing, spectrum)
    passing = [test for test, outcome in problem.baseline.items() if outcome == "passed" and test in known]
    passing = near_first(passing, problem.acceptance)[:PASSING_TRACED]
    say(f"tracing {len(passing)} passing tests")
    _trace_passing(runner, [test for test in passing if test not in failing], spectrum)
    return spectrum


def collect(problem: Problem, runner: Runner) -> Spectrum:
    """Let pytest collect; when known ids are missing, again with the files they name and with doctests."""
    found = runner.collect()
    wanted = [*problem.acceptance, *problem.baseline]
    missing = [test for test in wanted if test not in set(found.tests)]
    if missing and any(test in set(found.tests) for test in wanted):
        files = {test.partition("::")[0] for test in wanted}
        args = sorted(file for file in files if (problem.tree / file).is_file())
        doctests = ["--doctest-modules"] if any(not is_test(file) and file.endswith(".py") for file in args) else []
        if any(test.partition("::")[0] not in {t.partition("::")[0] for t in found.tests} for test in missing):
            runner.close()
            found = runner.collect([*doctests, *args])
    return Spectrum(collected=found.tests, errors=found.errors)


def _shared(one: str, other: str) -> int:
    """How many characters two ids have in common at their beginning."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def near_first(tests: Sequence[str], failing: Sequence[str]) -> list[str]:
    """Tests in the order of how much their ids share with those that fail."""

    def nearness(test: str) -> int:
        return max((_shared(test, other) for other in failing), default=0)

    return sorted(tests, key=nearness, reverse=True)


def _traced(test: str, cpu: float) -> Job:
    request = {
        "op": "run",
        "tests": [test],
        "always": 1,
        "stop": True,
        "stream": False,
        "cpu": cpu,
        "wall": cpu * 4 + 10,
        "trace": True,
    }
    return Job(request, tag=test)


def _lines(job: Job) -> frozenset[Line]:
    return frozenset(
        (path, line) for path, lines in job.reply.get("lines", {}).items() if not is_test(path) for line in lines
    )


def _trace_failing(runner: Runner, tests: Sequence[str], spectrum: Spectrum) -> None:
    hanging = set()
    for job in runner.run(_traced(test, FAILING_CPU if n < WHOLLY else BRIEFLY) for n, test in enumerate(tests)):
        if job.status == "timeout":
            hanging.add(job.tag)
        if job.outcomes.get(0) in GOOD and job.status == "done":
            continue
        spectrum.failing[job.tag] = _lines(job)
        spectrum.seconds[job.tag] = job.cpu
        spectrum.messages[job.tag] = str(next(iter(job.reply.get("messages", {}).values()), ""))
        steps: list[Any] = next(iter(job.reply.get("places", {}).values()), [])
        spectrum.steps[job.tag] = tuple(_inside(steps))
    spectrum.hanging = frozenset(hanging)


def _inside(steps: Sequence[Sequence[object]]) -> list[Line]:
    """Steps through the code, without those through tests."""
    return [(str(path), int(str(line))) for path, line in steps if not is_test(str(path))]


def _trace_passing(runner: Runner, tests: Sequence[str], spectrum: Spectrum) -> None:
    unstable = []
    start = runner.cpu_seconds

    def jobs() -> list[Job]:
        return [_traced(test, FAILING_CPU) for test in tests]

    for job in runner.run(jobs()):
        spectrum.seconds[job.tag] = float(next((o[2] for o in job.reply.get("outcomes", [])), job.cpu))
        if job.status == "done" and job.outcomes.get(0) == "passed":
            spectrum.passing[job.tag] = _lines(job)
        else:
            unstable.append(job.tag)
        if runner.cpu_seconds - start > CPU_SECONDS:
            break
    spectrum.unstable = tuple(unstable)
