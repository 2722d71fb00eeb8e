"""The search: localise, try edits in the order of their odds, collect several that pass, choose.

First plausible is not correct, so the search goes on for a while after the first passing patch, and `choose` compares
what was found by behaviour. Budgets are CPU seconds in the sandbox.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance import ports
from appliance.config import RepairSettings
from appliance.errors import LimitExceeded
from appliance.repair import choose, pairs
from appliance.repair.edits import Edit, new_contents, unified
from appliance.repair.localise import Fault, locate, suspects
from appliance.repair.ngram import load
from appliance.repair.problem import Found, Problem
from appliance.repair.rank import Weights, fitted, ranked
from appliance.repair.runners import Runner, limits_for
from appliance.repair.spectrum import gather
from appliance.repair.templates import edits_of
from appliance.repair.validate import Bench, bench

MOST_EDITS = 30_000
"""Edits that are ranked; of more, those of the most suspicious lines."""
ENOUGH_AFTER = 3.0
"""After the first passing patch, the search goes on until it has tried so many times as many."""
AT_LEAST_AFTER = 250
COLD_SHARE = 0.35
"""Share of the budget for edits of what runs at import, while nothing passes yet."""
COLD_LEAST, COLD_AFTER = 2.0, 0.5
"""CPU seconds at least, and share of what was spent so far, once something passes."""
SAY_SECONDS = 2.0


def search(
    problem: Problem,
    sandbox: ports.Sandbox,
    limits: ports.Limits,
    settings: RepairSettings,
    python: str,
    progress: ports.Progress,
    home_policy: Path | None,
) -> Found:
    """Look for a change that makes the acceptance tests pass and loses no test.

    Raises:
        UsageError: no test is named that must pass.
        Unavailable: the sandbox or its runner did not work.
    """
    started = time.monotonic()
    budget = settings.cpu_seconds + settings.pair_seconds
    wide = limits_for(limits, 2 * budget + 120.0)
    processes = settings.processes or os.cpu_count() or 1
    with (
        Runner(sandbox, problem.tree, wide, python, hot=True, processes=processes) as hot,
        Runner(sandbox, problem.tree, wide, python, hot=False, processes=processes) as cold,
    ):
        try:
            return _Search(problem, hot, cold, settings, progress, home_policy, fitted()).run(started)
        except LimitExceeded as error:
            return Found(
                "none", f"the search could not start: {error.message}", wall_seconds=time.monotonic() - started
            )


class _Search:
    """One search's state."""

    def __init__(
        self,
        problem: Problem,
        hot: Runner,
        cold: Runner,
        settings: RepairSettings,
        progress: ports.Progress,
        home_policy: Path | None,
        weights: Weights,
    ) -> None:
        self.problem, self.hot, self.cold, self.settings = problem, hot, cold, settings
        self.progress, self.weights = progress, weights
        self.model = load(home_policy)
        self.passing: list[Edit] = []
        self.partial: list[tuple[float, Edit]] = []
        self.said = 0.0

    def run(self, started: float) -> Found:
        spectrum = gather(self.problem, self.hot, say=self.progress)
        fault = locate(self.problem, spectrum)
        found_suspects = suspects(fault)
        self.bench = bench(self.problem, spectrum, self.hot, self.cold)
        edits = self.candidates(fault)
        self.progress(f"{len(edits)} candidate edits at {len(fault.lines)} suspicious statements")
        self.try_singles(edits, fault)
        if not self.passing and self.settings.pair_seconds > 0:
            self.try_pairs(edits)
        decided = choose.decide(self.problem, fault, self.bench, self.passing, self.progress)
        return Found(
            decision=decided.decision,
            reason=decided.reason or self.account(fault, edits),
            candidates=decided.candidates,
            tried=self.bench.tried,
            cpu_seconds=round(self.bench.cpu_seconds, 2),
            wall_seconds=round(time.monotonic() - started, 2),
            suspects=found_suspects,
        )

    def candidates(self, fault: Fault) -> list[Edit]:
        """Every edit of suspicious statements, ranked."""
        by_file: dict[str, dict[int, float]] = {}
        for (path, line), suspicion in fault.lines.items():
            by_file.setdefault(path, {})[line] = suspicion.score
        edits: list[Edit] = []
        for path, lines in by_file.items():
            edits += edits_of(fault.sources[path], lines)
        if len(edits) > MOST_EDITS:
            edits.sort(key=lambda edit: -fault.lines[edit.path, edit.line].score)
            del edits[MOST_EDITS:]
        return ranked(edits, fault, self.model, self.weights)

    def try_singles(self, edits: Sequence[Edit], fault: Fault) -> None:
        """One edit at a time, hot ones as they come, cold ones in between."""
        texts = {path: source.text for path, source in fault.sources.items()}
        first_at = 0
        for edit, job in self.bench.validate(
            self.within(edits, self.settings.cpu_seconds), always=min(self.bench.first, 3)
        ):
            if self.bench.passes(job) and not self.refused(edit, texts):
                self.passing.append(edit)
                first_at = first_at or self.bench.tried
            elif self.bench.accepted(job):
                self.partial.append((self.bench.accepted(job) / self.bench.first, edit))
            self.say()
            if self.enough(first_at):
                break
        self.try_cold(texts)

    def try_cold(self, texts: dict[str, str]) -> None:
        """Edits of what runs at import: 20 to 50 times dearer, so within a share of the budget."""
        left = sorted(self.bench.left, key=lambda edit: -edit.score)
        self.bench.left = []
        spent = self.bench.cpu_seconds
        share = max(COLD_LEAST, COLD_AFTER * spent) if self.passing else COLD_SHARE * self.settings.cpu_seconds
        best = max((edit.score for edit in self.passing), default=None)
        worth = [edit for edit in left if best is None or edit.score > best - choose.FAR]
        if not worth:
            return
        for edit, job in self.bench.validate_cold(self.within(worth, spent + share)):
            if self.bench.passes(job) and not self.refused(edit, texts):
                self.passing.append(edit)
            self.say()
            if len(self.passing) >= self.settings.plausible:
                break

    def try_pairs(self, edits: Sequence[Edit]) -> None:
        """Two edits at once, from those that made some acceptance tests pass."""
        limit = self.bench.cpu_seconds + self.settings.pair_seconds
        proposed = pairs.propose(self.partial, edits)
        for edit, job in self.bench.validate(self.within(proposed, limit)):
            if self.bench.passes(job):
                self.passing.append(edit)
            self.say("pairs of edits, ")
            if len(self.passing) >= 3:
                break

    def within(self, edits: Iterator[Edit] | Sequence[Edit], limit: float) -> Iterator[Edit]:
        """Hand out edits until the CPU budget is used up."""
        for edit in edits:
            if self.bench.cpu_seconds > limit:
                return
            yield edit

    def enough(self, first_at: int) -> bool:
        """Stop when enough passing patches were found, or when long after the first no other has come."""
        if len(self.passing) >= self.settings.plausible:
            return True
        return bool(first_at) and self.bench.tried > max(first_at + AT_LEAST_AFTER, ENOUGH_AFTER * first_at)

    def refused(self, edit: Edit, texts: dict[str, str]) -> bool:
        """Was this very diff turned down before?"""
        diff = unified(texts, new_contents(edit, texts))
        return hashlib.sha256(diff.encode()).hexdigest() in self.problem.refused

    def say(self, what: str = "") -> None:
        """A line at least every two seconds."""
        now = time.monotonic()
        if now - self.said >= SAY_SECONDS:
            self.said = now
            self.progress(
                f"{what}{self.bench.tried} candidates tried, {len(self.passing)} pass, "
                f"{self.bench.cpu_seconds:.0f} of {self.settings.cpu_seconds:.0f} s CPU"
            )

    def account(self, fault: Fault, edits: Sequence[Edit]) -> str:
        """Where it looked and what it tried, when nothing came of it."""
        if not fault.lines:
            return "the failing tests run no code of the repository that could be edited"
        places = "; ".join(f"{one.path}:{one.line} {one.function}" for one in suspects(fault)[:5])
        return (
            f"{self.bench.tried} of {len(edits)} edits were tried in {self.bench.cpu_seconds:.0f} s of CPU and none "
            f"passes all {len(self.bench.tests)} known tests; looked first at {places}"
        )
