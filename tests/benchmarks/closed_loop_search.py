"""Three repositories whose faults repeat by class; what search tries before and after it has learned of them.

Each repository holds a copy of real code, with tests made of recorded calls, and its people make one kind of slip more
than all others. Search repairs the training faults of each; what won is told to the ledger as the line tells it, the
learning process makes `policy/repair.json` of it, and the same unseen faults are searched before and after, by replays.
Real git, the real sandbox and search, the real learning store. Which faults, is decided by the seed.

Two counts are told. An order can only change how soon the right change is found; how long the search looks on after it,
to see whether another change fits as well, is the price of not being wrong, and no order makes that less.
"""

from __future__ import annotations

import ast
import math
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from repair_recording import examples, install, is_subject, write_tests
from repair_subjects import SUBJECTS

from appliance.computers.probe import open_sandbox
from appliance.config import Home
from appliance.events import Event, Fact
from appliance.learning.service import Learning
from appliance.ledger import Ledger, open_ledger
from appliance.line.diffs import diff_of
from appliance.line.learn import won
from appliance.line.replay.book import read
from appliance.line.replay.ground import Ground
from appliance.line.replay.making import slip, unnoticed
from appliance.line.replay.run import replay
from appliance.line.replay.slips import Mutant, mutants
from appliance.line.replay.tasks import Task, Tried
from appliance.line.replay.trial import standing
from appliance.line.strategies import Searching
from appliance.mirror.mirror import Mirror
from appliance.ports import Progress
from appliance.repair.ngram import ensure_ngram
from appliance.settings import RepairSettings, Settings
from appliance.work import Change, TrackedRepository
from tests.contracts.model import ScriptedModel
from tests.e2e.world import remote


class Habit(NamedTuple):
    """A repository's code, and what its people get wrong: a kind of slip (`appliance/line/replay/slips.py`)."""

    module: str
    slip: str
    functions: tuple[str, ...] = ()
    """Those whose faults the recorded calls can show; none named means all."""


HABITS: Mapping[str, Habit] = {
    "shop": Habit("textwrap", "negation"),
    "wms": Habit("posixpath", "literal", ("normpath", "join", "split", "relpath", "commonpath")),
    "core": Habit("colorsys", "operator"),
}
EXAMPLES = 12
"""Recorded calls of each function that are tests."""
HABITUAL = 0.7
"""Share of a repository's faults that are of its habit; the others are of any kind."""


@dataclass(frozen=True)
class Spared:
    """One repository's unseen faults, each as it was tried before and after."""

    name: str
    learned_from: int
    pairs: tuple[tuple[Tried, Tried], ...]

    def count(self, what: str) -> tuple[int, int]:
        """How many faults had this said of them, before and after."""
        before, now = (sum(getattr(pair[n], what) for pair in self.pairs) for n in (0, 1))
        return before, now

    @property
    def found(self) -> list[tuple[int, int]]:
        """Candidates until the right change, of the faults whose likeliest change was right both times."""
        return [(one.found, other.found) for one, other in self.pairs if one.first and other.first]

    @property
    def tried(self) -> list[tuple[int, int]]:
        """All candidates of each fault."""
        return [(one.tried, other.tried) for one, other in self.pairs]


def left(pairs: Sequence[tuple[int, int]]) -> float:
    """What is left of a count, summed over pairs of before and after; 1 where there was nothing.

    >>> left([(10, 5), (30, 5)])
    0.25
    """
    before = sum(one for one, _ in pairs)
    return sum(other for _, other in pairs) / before if before else 1.0


def interval(pairs: Sequence[tuple[int, int]], seed: int = 0, rounds: int = 2000) -> tuple[float, float]:
    """The 95 % interval of `left`, by drawing pairs anew (the percentile bootstrap, Efron and Tibshirani 1993, ch. 13).

    >>> interval([(10, 5)] * 4)
    (0.5, 0.5)
    """
    if not pairs:
        return 0.0, math.inf
    dice = random.Random(seed)
    drawn = sorted(left(dice.choices(pairs, k=len(pairs))) for _ in range(rounds))
    return drawn[int(0.025 * rounds)], drawn[int(0.975 * rounds) - 1]


class Site:
    """One repository with a habit, mirrored."""

    def __init__(self, home: Home, ledger: Ledger, name: str, folder: Path, seed: int, cpu_seconds: float) -> None:
        self.name, self.home, self.seed, self.habit = name, home, seed, HABITS[name]
        with tempfile.TemporaryDirectory(dir=folder) as made:
            file = install(self.habit.module, Path(made))
            self.path, self.code = file.relative_to(made).as_posix(), file.read_text(encoding="utf-8")
            for number, one in enumerate(one for one in SUBJECTS if one.module == self.habit.module):
                recorded = examples(one, Path(made), random.Random(repr(one)))
                write_tests(Path(made), one, recorded[:EXAMPLES], number)
            files = {one.relative_to(made).as_posix(): one.read_text("utf-8") for one in Path(made).rglob("*.py")}
        tracked = TrackedRepository(name=name, url=f"file://{remote(folder, name, files)}", branch="main")
        ledger.add_repository(tracked)
        settings = Settings().model_copy(update={"repair": RepairSettings(cpu_seconds=cpu_seconds, pair_seconds=0.0)})
        mirror, model = Mirror.of(home, tracked, settings.mirror), ScriptedModel()
        sandbox = open_sandbox(settings.computers, home)
        self.ground = Ground(
            home, settings, tracked, mirror, sandbox, model, model, home.root / "replay", lambda _: None
        )
        self.base = mirror.sync()

    def tasks(self) -> Iterator[Task]:
        """Faults of this repository's habit that its tests notice, mixed by seed."""
        path, dice, lines = self.path, random.Random(f"{self.seed}-{self.name}"), self.lines()
        with self.ground.place("make") as into:
            tree = self.ground.repository.checkout(self.base, into)
            sound = self.ground.suite_of(self.base, tree)
            for mutant in self.mixed(list(mutants(self.code, lines.__contains__, dice, 5000)), dice):
                diff = diff_of(tree, {path: mutant.text})
                (tree / path).write_text(mutant.text, encoding="utf-8")
                broken = self.ground.suite(tree)
                (tree / path).write_text(self.code, encoding="utf-8")
                if not unnoticed(sound, broken):
                    yield slip(self.name, self.base, path, mutant, diff, sound, broken)

    def mixed(self, pool: Sequence[Mutant], dice: random.Random) -> Iterator[Mutant]:
        """Slips in an order by chance, `HABITUAL` of them of the habit, until either kind is used up."""
        own = [one for one in pool if one.kind == self.habit.slip]
        others = [one for one in pool if one.kind != self.habit.slip]
        dice.shuffle(own)
        dice.shuffle(others)
        while own and others:
            yield (own if dice.random() < HABITUAL else others).pop()

    def lines(self) -> set[int]:
        """The lines in which slips are made."""
        wanted = self.habit.functions
        found = [node for node in ast.walk(ast.parse(self.code)) if isinstance(node, ast.FunctionDef)]
        spans = [range(node.lineno, (node.end_lineno or 0) + 1) for node in found if not wanted or node.name in wanted]
        return {line for span in spans for line in span}

    def teach(self, ledger: Ledger, task: Task) -> bool:
        """Search for a training fault; what won is told as the line's last stage tells it."""
        ground = self.ground
        with standing(ground, task, 0, for_droids=False) as stand:
            searching = Searching(ground.sandbox, ground.settings, ground.home, ground.sandbox.python, ground.progress)
            attempt = searching(stand.tree, stand.item, "", {})
        if not attempt.candidates:
            return False
        best = attempt.candidates[0]
        change = Change(branch="", base=task.base, diff=best.diff, author_model=f"search:{best.origin}")
        facts = {"repo": self.name, "strategy": "search", "model": "", "without_a_person": True,
                 "seconds_from_signal": 1.0, **won(stand.item.with_(attempts=(attempt,), change=change))}  # fmt: skip
        payload = {"stage": "learn", "from": "monitored", "to": "closed", "reason": "taught", "by": "rule",
                   "wall_seconds": 1.0, "facts": facts}  # fmt: skip
        ledger.append(Event(kind=Fact.OUTCOME_LEARNED, subject=f"T-{task.id}", payload=payload))
        return True


def spared(
    folder: Path, names: Sequence[str], seed: int, train: int, test: int, cpu_seconds: float, say: Progress
) -> list[Spared]:
    """Search unseen faults of these repositories, learn from others, search them again."""
    home = Home(folder / "home")
    for inner in (home.root, *home.folders):
        inner.mkdir()
    ensure_ngram(home.policy, lambda _: None, leave_out=is_subject)  # it must not know the right answers
    ledger = open_ledger(home)
    sites = [Site(home, ledger, name, folder, seed, cpu_seconds) for name in names]
    unseen: dict[str, list[Task]] = {}
    taught: dict[str, int] = {}
    for site in sites:
        found = list(islice(site.tasks(), test + train))
        unseen[site.name] = found[:test]
        say(f"{site.name}: {len(found)} faults, of which {len(unseen[site.name])} are unseen")
        replay(ledger, site.ground, unseen[site.name], ["search"], say)
        taught[site.name] = sum(site.teach(ledger, task) for task in found[test:])
        say(f"{site.name}: {taught[site.name]} of {len(found[test:])} repairs learned from")
    learning = Learning(home, Settings())
    learning.catch_up()
    learning.publish_priors()
    learning.close()
    rows = [after(ledger, site, unseen[site.name], taught[site.name], say) for site in sites]
    ledger.close()
    return rows


def after(ledger: Ledger, site: Site, tasks: list[Task], taught: int, say: Progress) -> Spared:
    """The same faults once more, each beside what it took before."""
    replay(ledger, site.ground, tasks, ["search"], say)
    before, now = ({row.task: row for row in run.rows} for run in read(ledger, site.name).runs[-2:])
    return Spared(site.name, taught, tuple((before[one.id], now[one.id]) for one in tasks))
