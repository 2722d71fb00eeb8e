"""The two ways to build a change, each as the build stage calls them (`parts.Strategy`): search, and a droid."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import __version__
from appliance.computers.sandbox import BoxedSandbox
from appliance.computers.suite import run_suite
from appliance.config import Home
from appliance.droids.account import trajectory
from appliance.droids.loop import Feedback, Task, attempt
from appliance.evidence import keep
from appliance.line.diffs import fingerprint
from appliance.line.grading import grade
from appliance.line.parts import Suite
from appliance.ports import Limits, Model, Progress, Sandbox
from appliance.repair.localise import localise
from appliance.repair.problem import Problem
from appliance.repair.search import search
from appliance.settings import Settings
from appliance.work import Attempt, Kept, Plan, Result, Suspect, TestReport, TrackedRepository, WorkItem


def limits_of(settings: Settings) -> Limits:
    """The site's limits for one sandboxed run."""
    site = settings.computers
    return Limits(
        seconds=site.seconds,
        cpu_seconds=site.seconds,
        memory_mb=site.memory_mb,
        processes=site.processes,
        disk_mb=site.disk_mb,
        output_kb=site.output_kb,
    )


def suite_in(sandbox: BoxedSandbox, tracked: TrackedRepository, settings: Settings, progress: Progress) -> Suite:
    """What runs a repository's tests in the sandbox."""
    limits = limits_of(settings)

    def suite(tree: Path, only: Sequence[str] = ()) -> TestReport:
        return run_suite(
            sandbox, tree, tracked.test, limits, sandbox.python, only, progress,
            plugins=settings.computers.pytest_plugins,
        )  # fmt: skip

    return suite


def problem_of(tree: Path, item: WorkItem, similarity: Mapping[str, float], settings: Settings) -> Problem:
    """An item as the repair room sees it."""
    plan = item.plan or Plan()
    return Problem(
        tree=tree,
        acceptance=plan.acceptance,
        baseline=plan.baseline,
        report=f"{item.title}\n{minded(item)}",
        similarity=similarity,
        refused=frozenset(item.refused_diffs),
        repo=item.repo,
        protected=tuple(settings.autonomy.protected_paths),
    )


def minded(item: WorkItem) -> str:
    """The report with what a person wants minded, which stands in the plan."""
    notes = item.plan.notes if item.plan else ""
    return f"{item.body}\n\n{notes}" if notes else item.body


@dataclass(frozen=True)
class Searching:
    """Repair without a model."""

    sandbox: Sandbox
    settings: Settings
    home: Home
    python: str
    progress: Progress

    def localise(self, tree: Path, item: WorkItem, similarity: Mapping[str, float]) -> tuple[Suspect, ...]:
        """See parts.Localise."""
        problem = problem_of(tree, item, similarity, self.settings)
        return localise(problem, self.sandbox, limits_of(self.settings), self.python, self.progress)

    def __call__(
        self,
        tree: Path,
        item: WorkItem,
        model: str,  # noqa: ARG002 - search uses none
        similarity: Mapping[str, float],
        lessons: Sequence[str] = (),  # noqa: ARG002 - nobody reads them here
    ) -> Attempt:
        # the whole search is one session, so its wall time is the search's budget and not that of one test run
        budget = self.settings.repair.cpu_seconds + self.settings.repair.pair_seconds
        limits = limits_of(self.settings)
        limits = limits.with_(seconds=2 * budget + limits.seconds, cpu_seconds=budget + limits.cpu_seconds)
        problem = problem_of(tree, item, similarity, self.settings)
        found = search(
            problem, self.sandbox, limits, self.settings.repair, self.python, self.progress, self.home.policy
        )
        return Attempt(
            n=0,
            strategy="search",
            outcome={"ship": "plausible", "ask": "ambiguous", "none": "none"}[found.decision],
            wall_seconds=found.wall_seconds,
            tried=found.tried,
            detail=found.reason,
            sandbox=self.sandbox.describe(limits),
            candidates=found.candidates,
        )


@dataclass(frozen=True)
class Droid:
    """A model that edits; the tests judge."""

    model: Model
    suite: Suite
    settings: Settings
    sandbox: Sandbox
    progress: Progress
    evidence: Path | None = None
    """Where each item's trajectories are kept; None keeps none."""

    def __call__(
        self,
        tree: Path,
        item: WorkItem,
        model: str,
        similarity: Mapping[str, float],  # noqa: ARG002 - the plan's suspects hold it
        lessons: Sequence[str] = (),
    ) -> Attempt:
        assert item.plan is not None
        plan, started = item.plan, time.monotonic()
        task = Task(
            tree=tree,
            title=item.title,
            report=minded(item),
            acceptance=plan.acceptance,
            suspects=plan.suspects,
            failures=self.suite(tree, plan.acceptance).messages,
            protected=tuple(self.settings.autonomy.protected_paths),
            model=model,
            episode=item.id,
            lessons=tuple(lessons),
        )
        result = attempt(
            task, self.model, lambda files: self.validate(tree, plan, files), self.settings.droid, self.progress
        )
        fresh = tuple(one for one in result.candidates if fingerprint(one.diff) not in item.refused_diffs)
        return Attempt(
            n=0,
            strategy="droid",
            model=model,
            outcome="plausible" if fresh else "none",
            wall_seconds=time.monotonic() - started,
            tried=result.validated,
            prompt_tokens=result.prompt_tokens,
            completion_tokens=result.completion_tokens,
            model_seconds=result.model_seconds,
            detail=result.reason,
            sandbox=self.sandbox.describe(limits_of(self.settings)),
            candidates=fresh,
            trajectory=self._kept(item, model, result.steps),
        )

    def _kept(self, item: WorkItem, model: str, steps: Sequence[Mapping[str, Any]]) -> Kept | None:
        """Its steps, in which secrets are marks already, as a file of the item's evidence."""
        if self.evidence is None:
            return None
        document = trajectory(f"{item.id}-{len(item.attempts) + 1}", __version__, model, list(steps))
        return keep(self.evidence / item.id, "trajectory", "json", json.dumps(document, indent=1).encode())

    def validate(self, tree: Path, plan: Plan, files: Mapping[str, str]) -> Feedback:
        """Run all tests on a copy of the tree with the model's files."""
        trial = tree.with_name("trial")
        shutil.rmtree(trial, ignore_errors=True)
        shutil.copytree(tree, trial, symlinks=True)
        for path, content in files.items():
            (trial / path).parent.mkdir(parents=True, exist_ok=True)
            (trial / path).write_text(content, encoding="utf-8")
        report = self.suite(trial)
        verdict, why = grade(plan, report)
        passed_before = [test for test, outcome in plan.baseline.items() if outcome == "passed"]
        wanted = {*plan.acceptance, *passed_before}
        failures = {test: report.messages.get(test, why) for test in wanted if report.outcomes.get(test) != "passed"}
        lost = tuple(test for test in passed_before if test in failures)
        return Feedback(passed=verdict.verdict is Result.PASS, failures=failures, lost=lost)
