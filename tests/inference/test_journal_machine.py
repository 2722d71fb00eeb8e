"""Workers call, end, report, die and rewrite in any order, on one real file: the sums are those of a plain ledger."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from inference.counts import ENDED, PROGRESS, RESERVED, day_of
from inference.journal import Alive, Journal, read_counts
from inference.limits import Grant, Limits, Need, decide

LIMITS = Limits(requests_per_minute=12, tokens_per_minute=150, parallel=4, tokens_per_day=600)
WORKERS = 3


@dataclass
class Worker:
    journal: Journal
    alive: Alive
    mine: dict[str, int] = field(default_factory=dict)
    """Calls under way and what was reserved for them."""
    reported: dict[str, int] = field(default_factory=dict)


class Workers(RuleBasedStateMachine):
    """The ledger (`spent`, `promised`, `began`) is kept here by plain sums; the workers keep theirs in the file."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.now = 1_795_737_500.0  # a few minutes before midnight
        self.number = 0
        self.spent: list[tuple[float, int]] = []
        self.began: dict[str, tuple[float, int]] = {}
        self.workers = [self.hire() for _ in range(WORKERS)]

    def hire(self) -> Worker:
        return Worker(Journal(self.path), Alive(self.path / "run"))

    def under_way(self) -> dict[str, int]:
        return {id: tokens for worker in self.workers for id, tokens in worker.mine.items()}

    @rule(n=st.integers(0, WORKERS - 1), prompt=st.integers(1, 30), completion=st.none() | st.integers(1, 30))
    def call(self, n: int, prompt: int, completion: int | None) -> None:
        worker, under_way = self.workers[n], self.under_way()
        window = [tokens for at, tokens in self.began.values() if self.now - at < 60]
        today = sum(tokens for at, tokens in self.spent if day_of(at) == day_of(self.now))
        least = prompt + (completion or 1)
        allowed = (
            len(window) < 12 and len(under_way) < 4 and sum(window) + least <= 150
            and today + sum(under_way.values()) + least <= 600
        )  # fmt: skip
        with worker.journal.turn() as counts:
            granted = decide(counts.key("k"), LIMITS, Need(prompt, completion), self.now)
            assert isinstance(granted, Grant) == allowed
            if isinstance(granted, Grant):
                self.number += 1
                id, tokens = f"c{self.number}", granted.prompt + granted.completion
                worker.journal.append([RESERVED, self.now, id, "k", "m", worker.alive.name, tokens, 0])
                worker.mine[id] = tokens
                self.began[id] = (self.now, tokens)

    @rule(n=st.integers(0, WORKERS - 1), share=st.floats(0, 1))
    def end(self, n: int, share: float) -> None:
        worker = self.workers[n]
        if worker.mine:
            id, tokens = worker.mine.popitem()
            worker.reported.pop(id, None)
            used = round(tokens * share)
            with worker.journal.turn():
                worker.journal.append([ENDED, self.now, id, 0, used, 5])
            self.settled(id, used)

    @rule(n=st.integers(0, WORKERS - 1), share=st.floats(0, 1))
    def report(self, n: int, share: float) -> None:
        worker = self.workers[n]
        if worker.mine:
            id, tokens = next(iter(worker.mine.items()))
            worker.reported[id] = round(tokens * share)
            with worker.journal.turn():
                worker.journal.append([PROGRESS, id, 0, worker.reported[id], 5])

    @rule(n=st.integers(0, WORKERS - 1), torn=st.binary(max_size=20))
    def die(self, n: int, torn: bytes) -> None:
        """In the middle of a record, perhaps; another one takes over, and a new one is hired."""
        dead = self.workers[n]
        with dead.journal.file.open("ab") as out:
            out.write(torn.replace(b"\n", b""))
        os.close(dead.alive._handle)
        dead.journal.close()
        heir = self.workers[n - 1]
        assert heir.alive.bury(heir.journal, self.now) == ([dead.alive.name] if dead.mine else [])
        for id in dead.mine:
            self.settled(id, dead.reported.get(id, 0))
        self.workers[n] = self.hire()

    @rule(n=st.integers(0, WORKERS - 1))
    def write_anew(self, n: int) -> None:
        self.workers[n].journal.compact(limit=0)

    @rule(seconds=st.floats(0, 45))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    def settled(self, id: str, used: int) -> None:
        self.spent.append((self.now, used))
        self.began[id] = (self.began[id][0], used)

    @invariant()
    def every_reader_finds_the_same_sums(self) -> None:
        under_way = self.under_way()
        count = read_counts(self.path).key("k")
        assert (count.open, count.open_tokens) == (len(under_way), sum(under_way.values()))
        assert (count.total.calls, count.total.tokens) == (len(self.spent), sum(tokens for _, tokens in self.spent))
        today = sum(tokens for at, tokens in self.spent if day_of(at) == day_of(self.now))
        assert count.tally(day_of(self.now)).tokens == today
        count.forget(self.now)
        assert count.window_tokens == sum(tokens for at, tokens in self.began.values() if self.now - at < 60)

    def teardown(self) -> None:
        for worker in self.workers:
            worker.alive.close()
            worker.journal.close()
        self.folder.cleanup()


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
