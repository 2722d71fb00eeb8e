"""The search: localise, try edits in the order of their odds, collect several that pass, choose.

First plausible is not correct, so the search goes on for a while after the first passing patch, and `choose` compares
what was found by behaviour. Budgets are CPU seconds in the sandbox.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from appliance import ports
from appliance.errors import LimitExceeded, Unavailable
from appliance.repair import choose, pairs
from appliance.repair.accident import CONSTANT, accident
from appliance.repair.edits import Edit, new_contents, unified
from appliance.repair.localise import Fault, locate, suspects
from appliance.repair.ngram import load
from appliance.repair.priors import read_past
from appliance.repair.problem import Found, Problem
from appliance.repair.rank import fitted, ranked
from appliance.repair.runners import Job, Runner, limits_for
from appliance.repair.spectrum import Line, gather
from appliance.repair.templates import edits_of
from appliance.repair.validate import Bench, bench
from appliance.settings import RepairSettings

MOST_AFTER, ENOUGH_AFTER = 500, 3.0
"""After the first passing patch, the search tries at most so many more edits, or this many times as many in all."""
LEAST_AFTER = 400
"""It tries so many more at least, then stops when all edits that are left weigh too little to matter. With 60, wrong
patches were shipped before the right one had been tried."""
LEAST_PLACES, MOST_ALIKE = 3, 3
"""Enough patches pass when they are of so many statements, or so many times as many as are wanted: where tests hardly
look, any edit of one statement passes, and the right one may be of another."""
LEFT = 0.005
"""The odds that the right edit is still to come, against those of the best patch, that do not matter any more."""
TAIL = 0.08
"""Odds of the edit at place n of the order are at least `TAIL / n` of all."""
COLD_SHARE = 0.35
"""Share of the budget for edits of what runs at import, while nothing passes yet."""
COLD_LEAST, COLD_AFTER = 2.0, 0.5
"""CPU seconds at least, and share of what was spent so far, once something passes."""
PATIENCE, MOST_SLOW = 8.0, 120
"""How much longer, and how many, edits run again that the first limit on time stopped, when nothing else passes."""
HELPERS = 300
"""Likeliest edits that are tried on several failing tests each before pairs are made."""
MOST_FORCED = 40
"""Conditions made constant, to see whether tests need them."""
ENOUGH_PAIRS = 3
SAY_SECONDS = 1.5
WALL_LEAST, WALL_PER_CPU = 15.0, 4.0
"""Wall seconds a budget may take: at least, and for each CPU second of it."""


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
    wide = limits_for(limits, (WALL_PER_CPU + 1.0) * budget + 180.0)
    processes = settings.processes or os.cpu_count() or 1
    with (
        Runner(sandbox, problem.tree, wide, python, hot=True, processes=processes) as hot,
        Runner(sandbox, problem.tree, wide, python, hot=False, processes=processes) as cold,
    ):
        hot.pulse = lambda: progress("running the tests once more to see which code they run")
        try:
            spectrum = gather(problem, hot, say=progress)
        except LimitExceeded as error:
            wall = time.monotonic() - started
            return Found("none", f"the search could not start: {error.message}", wall_seconds=wall)
        fault = locate(problem, spectrum)
        mine = _Search(problem, fault, bench(problem, spectrum, hot, cold), settings, progress, started)
        hot.pulse = cold.pulse = mine.say
        return mine.run(home_policy)


class _Search:
    """One search's state."""

    def __init__(
        self,
        problem: Problem,
        fault: Fault,
        bench: Bench,
        settings: RepairSettings,
        progress: ports.Progress,
        started: float,
    ) -> None:
        self.problem, self.fault, self.bench, self.settings = problem, fault, bench, settings
        self.progress, self.started = progress, started
        self.texts = {path: source.text for path, source in fault.sources.items()}
        self.passing: list[Edit] = []
        self.partial: list[tuple[float, Edit]] = []
        self.slow: list[Edit] = []
        self.forced: set[Line] = set()
        self.said, self.what = 0.0, ""
        self.begun = bench.cpu_seconds  # what tracing cost is no part of the budget

    def run(self, home_policy: Path | None) -> Found:
        edits = self.candidates(home_policy)
        self.progress(f"{len(edits)} candidate edits at {len(self.fault.lines)} suspicious statements")
        try:
            self.try_singles(edits)
            if not self.passing and self.settings.pair_seconds > 0:
                self.try_pairs(edits)
            total = all_odds(edits) if len(self.passing) and not self.passing[0].also else -math.inf
            self.passing = far_down(self.passing, edits, total)
            self.try_forced(edits)
            decided = choose.decide(self.fault, self.bench, self.passing, self.progress, total, self.forced)
        except (Unavailable, LimitExceeded) as error:
            decided = choose.Decided("none", f"the search was broken off: {error.message}; {self.account(edits)}")
        return Found(
            decision=decided.decision,
            reason=decided.reason or self.account(edits),
            candidates=decided.candidates,
            tried=self.bench.tried,
            cpu_seconds=round(self.bench.cpu_seconds, 2),
            wall_seconds=round(time.monotonic() - self.started, 2),
            suspects=suspects(self.fault),
        )

    def candidates(self, home_policy: Path | None) -> list[Edit]:
        """Every edit of suspicious statements, ranked."""
        by_file: dict[str, dict[int, float]] = {}
        for (path, line), suspicion in self.fault.lines.items():
            by_file.setdefault(path, {})[line] = suspicion.score
        edits: list[Edit] = []
        for path, lines in by_file.items():
            edits += edits_of(self.fault.sources[path], lines)
        past = read_past(home_policy, self.problem.repo, fitted().shares)
        if past.said:
            self.progress(past.said)
        return ranked(edits, self.fault, load(home_policy), fitted(), past)

    def try_singles(self, edits: Sequence[Edit]) -> None:
        """One edit at a time; then those that are dear to try; then those that were too slow."""
        first_at, ahead = 0, Ahead(edits)
        for edit, job in self.bench.validate(self.within(edits, self.begun + self.settings.cpu_seconds)):
            if self.accept(edit, job):
                first_at = first_at or self.bench.tried
            elif job.status == "timeout":
                self.slow.append(edit)
            elif self.bench.accepted(job):
                self.partial.append((self.bench.accepted(job) / self.bench.first, edit))
            if self.enough(first_at, edit, ahead):
                break
        self.try_cold()
        if not self.passing and self.slow:
            self.what = "slow edits once more, "
            limit = self.bench.cpu_seconds + self.settings.cpu_seconds / 2
            again = self.within(self.slow[:MOST_SLOW], limit)
            for edit, job in self.bench.validate(again, patience=PATIENCE):
                self.accept(edit, job)

    def accept(self, edit: Edit, job: Job) -> bool:
        """Keep an edit that passes all tests, unless a later gate turned it down before."""
        self.say()
        if not self.bench.passes(job) or self.refused(edit):
            return False
        self.passing.append(replace(edit, found=self.bench.tried))
        return True

    def try_cold(self) -> None:
        """Edits of what runs at import: 20 to 50 times dearer, so within a share of the budget."""
        left = sorted(self.bench.left, key=lambda edit: -edit.score)
        left += [] if self.passing else sorted(self.bench.stale, key=lambda edit: -edit.score)
        self.bench.left, self.bench.stale = [], []
        spent = self.bench.cpu_seconds - self.begun
        share = max(COLD_LEAST, COLD_AFTER * spent) if self.passing else COLD_SHARE * self.settings.cpu_seconds
        best = max((edit.score for edit in self.passing), default=None)
        worth = [edit for edit in left if best is None or edit.score > best - choose.FAR]
        if not worth:
            return
        self.what = "edits of what runs at import, "
        for edit, job in self.bench.validate_cold(self.within(worth, self.begun + spent + share)):
            self.accept(edit, job)
            if len(self.passing) >= self.settings.plausible:
                break

    def try_forced(self, edits: Sequence[Edit]) -> None:
        """Find the conditions among what passes that may as well be always true or never."""
        spots = {(part.path, part.line) for edit in self.passing for part in edit.all}
        forcing = [edit for edit in edits if edit.template == CONSTANT and (edit.path, edit.line) in spots]
        for edit, job in self.bench.validate(forcing[:MOST_FORCED]):
            if self.bench.passes(job):
                self.forced.add((edit.path, edit.line))

    def try_pairs(self, edits: Sequence[Edit]) -> None:
        """Two edits at once, from those that made some acceptance tests pass."""
        self.what = "pairs of edits, "
        limit = self.bench.cpu_seconds + self.settings.pair_seconds
        if self.bench.first > 1:  # which edits help some test, though not the first one?
            known = {edit.key for _, edit in self.partial}
            likeliest = [edit for edit in edits[:HELPERS] if edit.function and edit.key not in known]
            for edit, job in self.bench.validate(self.within(likeliest, limit), always=min(self.bench.first, 4)):
                if self.bench.accepted(job):
                    self.partial.append((self.bench.accepted(job) / self.bench.first, edit))
                self.say()
        for edit, job in self.bench.validate(self.within(pairs.propose(self.partial, edits), limit)):
            self.accept(edit, job)
            if len(self.passing) >= ENOUGH_PAIRS:
                break
        self.bench.left, self.bench.stale = [], []

    def within(self, edits: Iterator[Edit] | Sequence[Edit], limit: float) -> Iterator[Edit]:
        """Hand out edits until the CPU budget is used up, or the wall time that tests which sleep or wait may take."""
        end = time.monotonic() + max(WALL_LEAST, WALL_PER_CPU * (limit - self.bench.cpu_seconds))
        for edit in edits:
            if self.bench.cpu_seconds > limit or time.monotonic() > end:
                return
            yield edit

    def enough(self, first_at: int, last: Edit, ahead: Ahead) -> bool:
        """Stop when enough passing patches were found, or what is left can hardly weigh against the best of them."""
        if len(self.passing) >= self.settings.plausible and (
            len({(edit.path, edit.line) for edit in self.passing}) >= LEAST_PLACES
            or len(self.passing) >= MOST_ALIKE * self.settings.plausible
        ):
            return True
        if not first_at or self.bench.tried <= first_at + LEAST_AFTER:
            return False
        if last.score < max(edit.score for edit in self.passing) - choose.FAR:
            return True
        best = max(edit.score - math.log(accident(self.fault, edit)) for edit in self.passing)
        little = ahead.odds(last.score) < best + math.log(LEFT)
        return little or self.bench.tried > max(first_at + MOST_AFTER, ENOUGH_AFTER * first_at)

    def refused(self, edit: Edit) -> bool:
        """Was this very diff turned down before?"""
        diff = unified(self.texts, new_contents(edit, self.texts))
        return hashlib.sha256(diff.encode()).hexdigest() in self.problem.refused

    def say(self) -> None:
        """A line at least every two seconds."""
        now = time.monotonic()
        if now - self.said >= SAY_SECONDS:
            self.said = now
            self.progress(
                f"{self.what}{self.bench.tried} candidates tried, {len(self.passing)} pass, "
                f"{self.bench.cpu_seconds:.0f} of {self.settings.cpu_seconds:.0f} s CPU"
            )

    def account(self, edits: Sequence[Edit]) -> str:
        """Where it looked and what it tried, when nothing came of it."""
        if not self.fault.lines:
            return "the failing tests run no code of the repository that could be edited"
        places = "; ".join(f"{one.path}:{one.line} {one.function}" for one in suspects(self.fault)[:5])
        return (
            f"{self.bench.tried} of {len(edits)} edits were tried in {self.bench.cpu_seconds:.0f} s of CPU and none "
            f"passes all {len(self.bench.tests)} known tests; looked first at {places}"
        )


class Ahead:
    """What the edits that are still to come weigh together."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        """`edits` in the order of trying, best first."""
        self._scores = [edit.score for edit in edits]
        self._top = self._scores[0] if edits else 0.0
        shares = [math.exp(score - self._top) for score in reversed(self._scores)]
        self._after = [0.0, *itertools.accumulate(shares)][::-1]

    def odds(self, score: float) -> float:
        """Logarithm of the odds of all edits that score less."""
        at = bisect.bisect_right(self._scores, -score, key=lambda one: -one)
        return self._top + math.log(max(self._after[at], 1e-300))


def far_down(passing: Sequence[Edit], edits: Sequence[Edit], total: float) -> list[Edit]:
    """Passing edits with the odds of their place in the order, where these are better than those of their score: far
    down, the ranking is too sure of itself. That odds fall as the place rises is an assumption, not a measurement."""
    wanted = {edit.key for edit in passing}
    at: dict[object, int] = {}
    for number, edit in enumerate(edits, start=1):
        if edit.key in wanted:
            at.setdefault(edit.key, number)
    return [
        replace(edit, score=max(edit.score, total + math.log(TAIL / at[edit.key]))) if edit.key in at else edit
        for edit in passing
    ]


def all_odds(edits: Sequence[Edit]) -> float:
    """Logarithm of the sum of the odds of all edits."""
    best = max(edit.score for edit in edits)
    return best + math.log(sum(math.exp(edit.score - best) for edit in edits))
