"""Making the fixed set of a repository: past items that can be replayed, and slips that its tests notice."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from appliance.errors import FactoryError, UsageError
from appliance.line.diffs import diff_of
from appliance.line.plan import cannot_start
from appliance.line.replay.ground import Ground
from appliance.line.replay.slips import Mutant, mutants
from appliance.line.replay.tasks import Left, Task, TaskSet
from appliance.repair.problem import is_test, python_files
from appliance.work import State, TestReport, WorkItem

HELD = frozenset({State.SHIPPED, State.MONITORED, State.CLOSED})
"""States of an item whose change is on the server."""
TRIES = 6
"""Slips tried, by running the tests, for each that is wanted."""
MOST_PER_FILE = 60
MOST_ACCEPTANCE = 40
"""Failing tests shown of one slip; some break hundreds."""
SHOWN = 3
"""Failures quoted in a slip's report."""
LONGEST_FAILURE = 1200
"""Characters of each."""


def make(ground: Ground, items: Sequence[WorkItem], count: int, seed: int) -> TaskSet:
    """A set of about `count` tasks: past items first, up to half of them, and slips for the rest.

    Raises:
        UsageError: the repository's tests cannot judge anything.
        NotFound, Unavailable: as the mirror's and the sandbox's.
    """
    base = ground.repository.sync()
    past, left = past_items(ground, items, max(1, count // 2))
    slips, why = seeded(ground, base, count - len(past), seed)
    mixed = [task for pair in zip_longest(past, slips) for task in pair if task is not None]
    return TaskSet(repo=ground.tracked.name, base=base, seed=seed, tasks=tuple(mixed), left=(*left, *why))


def past_items(ground: Ground, items: Sequence[WorkItem], count: int) -> tuple[list[Task], list[Left]]:
    """Tasks of shipped items, the newest first, and why others are none."""
    tasks: list[Task] = []
    left: list[Left] = []
    for item in items:
        if len(tasks) >= count:
            break
        if item.state not in HELD or item.plan is None or item.change is None or not item.plan.acceptance:
            continue
        ground.progress(f"looking whether {item.id} can be replayed")
        task = Task(
            id=f"P-{item.id.removeprefix('W-')}", kind="past", repo=item.repo, base=item.plan.base, title=item.title,
            body=item.body, mended=item.change.diff, tests=item.plan.tests, acceptance=item.plan.acceptance,
            why=f"past item {item.id}, shipped {item.change.at:%Y-%m-%d} as {item.change.author_model or 'a change'}",
        )  # fmt: skip
        trouble = cannot_replay(ground, task)
        if trouble:
            left.append(Left(what=item.id, why=trouble))
        else:
            tasks.append(task)
    return tasks, left


def cannot_replay(ground: Ground, task: Task) -> str:
    """Why a past item makes no task; "" when its change still does what it did."""
    try:
        with ground.place("past") as into:
            report = ground.suite(ground.lay(task.base, task.mended, into), task.acceptance)
    except FactoryError as error:
        return f"its commit {task.base[:12]} cannot be had, or its change put on it: {error.message}"
    failing = [test for test in task.acceptance if report.outcomes.get(test) != "passed"]
    return f"its tests do not pass with its own change here: {', '.join(failing[:3])}" if failing else ""


def seeded(ground: Ground, base: str, count: int, seed: int) -> tuple[list[Task], list[Left]]:
    """Tasks of slips in the commit's code that its own tests notice, and what became of the other slips.

    Raises UsageError when the tests cannot judge.
    """
    with ground.place("base") as into:
        tree = ground.repository.checkout(base, into)
        sound = ground.suite_of(base, tree)
        trouble = cannot_start(sound) or ("" if sound.passed else "none of the repository's tests passes")
        if trouble:
            raise UsageError(f"{ground.tracked.name} can have no tasks: {trouble}", "then make the set again")
        tasks: list[Task] = []
        unfit: Counter[str] = Counter()
        for path, mutant in drawn(tree, seed, count * TRIES):
            if len(tasks) >= count:
                break
            ground.progress(f"slip {len(tasks) + 1} of {count}: {mutant.kind} in {path}:{mutant.line}")
            diff = diff_of(tree, {path: mutant.text})
            before = (tree / path).read_text(encoding="utf-8")
            (tree / path).write_text(mutant.text, encoding="utf-8")
            report = ground.suite(tree)
            (tree / path).write_text(before, encoding="utf-8")
            why = unnoticed(sound, report)
            if why:
                unfit[why] += 1
            else:
                tasks.append(slip(ground.tracked.name, base, path, mutant, diff, sound, report))
    return tasks, [Left(what=f"{number} slip(s)", why=why) for why, number in unfit.most_common()]


def drawn(tree: Path, seed: int, most: int) -> Iterator[tuple[str, Mutant]]:
    """Slips in the code outside the tests, mixed, the same for the same seed."""
    dice = random.Random(seed)  # noqa: S311 - a sample, not a secret
    pool: list[tuple[str, Mutant]] = []
    for path in sorted(python_files(tree)):
        if is_test(path):
            continue
        try:
            text = (tree / path).read_text(encoding="utf-8")
            pool += [(path, one) for one in mutants(text, lambda _: True, dice, MOST_PER_FILE)]
        except (SyntaxError, ValueError):
            continue  # what cannot be read cannot be mended either
    yield from dice.sample(pool, min(most, len(pool)))


def unnoticed(sound: TestReport, broken: TestReport) -> str:
    """Why a slip makes no task; "" when the tests notice it and most still run."""
    if broken.limit or not broken.complete:
        return "the tests no longer come to their end"
    lost = lost_by(sound, broken)
    if not lost:
        return "no test notices it"
    few_left = len(lost) * 2 > len(sound.passed) > SHOWN
    return "hardly anything works any more" if few_left or not set(broken.failed) & set(lost) else ""


def lost_by(sound: TestReport, broken: TestReport) -> list[str]:
    """Tests that passed and do not pass now."""
    return [test for test in sound.passed if broken.outcomes.get(test) != "passed"]


def slip(
    repo: str, base: str, path: str, mutant: Mutant, diff: str, sound: TestReport, broken: TestReport
) -> Task:  # fmt: skip
    """The task of one slip: some of the tests it breaks are shown, the others held back."""
    id = f"M-{hashlib.sha256(f'{repo} {diff}'.encode()).hexdigest()[:10]}"
    failing = [test for test in lost_by(sound, broken) if test in broken.failed]
    shown = [test for test in failing if hashlib.sha256(f"{id} {test}".encode()).digest()[0] % 2] or failing[:1]
    shown = shown[:MOST_ACCEPTANCE]
    return Task(
        id=id, kind="slip", repo=repo, base=base, title=f"{shown[0]} fails", body=told(shown, broken.messages),
        broken=diff, acceptance=tuple(shown),
        why=f"a slip ({mutant.kind}) in {path}:{mutant.line}; {len(shown)} of the {len(failing)} tests it breaks shown",
    )  # fmt: skip


def told(tests: Sequence[str], messages: Mapping[str, str]) -> str:
    """The report of a slip: the failures, as whoever ran the tests would paste them."""
    quoted = [f"{test}\n{messages.get(test, '')[:LONGEST_FAILURE]}".rstrip() for test in tests[:SHOWN]]
    more = [f"and {len(tests) - SHOWN} more"] if len(tests) > SHOWN else []
    return "\n\n".join(["These tests fail:", *quoted, *more])
