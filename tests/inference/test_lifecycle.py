from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inference import lifecycle
from inference.lifecycle import LEGAL, Action, Life, Patience, Phase, Seen, decide, want

PATIENCE = Patience(start_seconds=10, stop_seconds=5, restart_limit=3, backoff_seconds=1, backoff_cap_seconds=4)
RUNS = (Phase.STARTING, Phase.READY, Phase.DRAINING)


def life(phase: Phase, **known: object) -> Life:
    return replace(Life(phase=phase, wanted=True), **known)  # type: ignore[arg-type]


def test_the_documented_table_is_the_one_in_force() -> None:
    rows = re.findall(r"^(\w+) +(stopped|starting|ready|draining|failed) ", lifecycle.__doc__ or "", re.MULTILINE)
    assert {(Phase(a), Phase(b)) for a, b in rows} == {(a, b) for a, onward in LEGAL.items() for b in onward}


@pytest.mark.parametrize(
    ("before", "seen", "phase", "action"),
    [
        (Life(), Seen(1), Phase.STOPPED, Action.NOTHING),
        (life(Phase.STOPPED), Seen(1), Phase.STARTING, Action.SPAWN),
        (life(Phase.STARTING, deadline=10.0), Seen(1), Phase.STARTING, Action.NOTHING),
        (life(Phase.STARTING, deadline=10.0), Seen(1, answers=True), Phase.READY, Action.NOTHING),
        (life(Phase.STARTING, deadline=10.0), Seen(1, ended="x"), Phase.FAILED, Action.NOTHING),
        (life(Phase.STARTING, deadline=10.0), Seen(11), Phase.FAILED, Action.KILL),
        (life(Phase.STARTING, deadline=10.0), Seen(11, answers=True), Phase.READY, Action.NOTHING),
        (life(Phase.STARTING, wanted=False), Seen(1), Phase.DRAINING, Action.TERMINATE),
        (life(Phase.STARTING, renew=True), Seen(1, answers=True), Phase.DRAINING, Action.TERMINATE),
        (life(Phase.READY), Seen(1), Phase.READY, Action.NOTHING),
        (life(Phase.READY), Seen(1, ended="x"), Phase.FAILED, Action.NOTHING),
        (life(Phase.READY), Seen(1, silent="x"), Phase.FAILED, Action.KILL),
        (life(Phase.READY, wanted=False), Seen(1), Phase.DRAINING, Action.TERMINATE),
        (life(Phase.READY, renew=True), Seen(1), Phase.DRAINING, Action.TERMINATE),
        (life(Phase.DRAINING, deadline=5.0), Seen(1, busy=True), Phase.DRAINING, Action.NOTHING),
        (life(Phase.DRAINING, deadline=5.0), Seen(1), Phase.DRAINING, Action.TERMINATE),
        (life(Phase.DRAINING, deadline=5.0), Seen(6, busy=True), Phase.DRAINING, Action.TERMINATE),
        (life(Phase.DRAINING, deadline=5.0, asked=True), Seen(1), Phase.DRAINING, Action.NOTHING),
        (life(Phase.DRAINING, deadline=5.0, asked=True), Seen(6, busy=True), Phase.DRAINING, Action.KILL),
        (life(Phase.DRAINING, deadline=5.0), Seen(1, ended="x"), Phase.STOPPED, Action.NOTHING),
        (life(Phase.FAILED, next_try=5.0), Seen(4), Phase.FAILED, Action.NOTHING),
        (life(Phase.FAILED, next_try=5.0), Seen(5), Phase.STARTING, Action.SPAWN),
        (life(Phase.FAILED, next_try=None), Seen(99), Phase.FAILED, Action.NOTHING),
        (life(Phase.FAILED, next_try=5.0, wanted=False), Seen(9), Phase.STOPPED, Action.NOTHING),
    ],
)  # fmt: skip
def test_each_row_of_the_table(before: Life, seen: Seen, phase: Phase, action: Action) -> None:
    after, done = decide(before, seen, PATIENCE)
    assert (after.phase, done) == (phase, action)


def test_work_in_flight_is_finished_within_its_time_and_then_it_is_asked_and_then_killed() -> None:
    patience = replace(PATIENCE, drain_seconds=20)
    steps = []
    one = life(Phase.READY, wanted=False)
    for now in (0, 19, 21, 25, 27):
        one, action = decide(one, Seen(now, busy=True), patience)
        steps.append(action)
    assert steps == [Action.NOTHING, Action.NOTHING, Action.TERMINATE, Action.NOTHING, Action.KILL]
    starting, action = decide(life(Phase.STARTING, wanted=False), Seen(0, busy=True), patience)
    assert action is Action.TERMINATE and starting.asked, "it has no work yet"


def test_a_start_that_takes_too_long_says_why() -> None:
    late, _ = decide(life(Phase.STARTING, deadline=10.0), Seen(11, said="connection refused"), PATIENCE)
    assert late.reason == "not ready after 10 s: connection refused"


def test_starts_that_fail_are_tried_again_later_and_later_and_then_parked() -> None:
    one, now, pauses = life(Phase.STOPPED), 0.0, []
    for _ in range(PATIENCE.restart_limit):
        one, action = decide(one, Seen(now), PATIENCE)
        assert action is Action.SPAWN
        one, _ = decide(one, Seen(now, ended="ended with status 1: no such file"), PATIENCE)
        if one.next_try is not None:
            pauses.append(one.next_try - now)
            now = one.next_try
    assert pauses == [1.0, 2.0] and one.parked
    assert "no such file" in one.reason and "3 times in a row; not tried again" in one.reason
    again = want(one, True, now)
    assert not again.parked and decide(again, Seen(now), PATIENCE)[1] is Action.SPAWN


def pauses_of(lived: float, times: int) -> list[float]:
    """Of one that is ready at once and ends after so long, again and again."""
    one, now, pauses = life(Phase.STARTING, deadline=10.0), 0.0, []
    for n in range(times):
        one, _ = decide(one, Seen(now, answers=True), PATIENCE)
        one, _ = decide(one, Seen(now + lived, ended="killed"), PATIENCE)
        assert one.next_try is not None and one.restarts == n
        pauses.append(one.next_try - now - lived)
        now = one.next_try
        one, _ = decide(one, Seen(now), PATIENCE)
    return pauses


def test_one_that_was_ready_is_never_parked_and_waits_longer_when_it_ends_again_at_once() -> None:
    assert pauses_of(0.25, 8) == [0.0, 0.75, 1.75, 3.75, 3.75, 3.75, 3.75, 3.75]


def test_one_that_served_for_a_while_is_started_again_at_once_however_often_it_is_killed() -> None:
    assert pauses_of(1.5, 20) == [0.0] * 20


def test_a_run_as_long_as_the_pause_would_be_ends_the_back_off() -> None:
    for lived, failures, pause in ((1.0, 6, 3.0), (4.0, 1, 0.0), (100.0, 1, 0.0)):
        one, _ = decide(life(Phase.READY, failures=5, since=0.0), Seen(lived, ended="killed"), PATIENCE)
        assert (one.failures, one.next_try) == (failures, lived + pause)


def test_one_that_is_silent_is_left_alone_for_a_moment() -> None:
    one, _ = decide(life(Phase.READY, since=0.0), Seen(100.0, silent="answers no longer"), PATIENCE)
    assert (one.failures, one.next_try) == (1, 101.0)


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_the_pause_stays_within_its_bounds(failures: int, jitter: float) -> None:
    assert 0.8 * 1 <= PATIENCE.backoff(failures, jitter) <= 1.2 * 4 + 1e-9


class Process(RuleBasedStateMachine):
    """One supervised process under whatever order of orders and accidents, as a supervisor would live it."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Life()
        self.now = 0.0
        self.child = False
        self.asked = False

    @rule(wanted=st.booleans())
    def order(self, wanted: bool) -> None:
        self.life = want(self.life, wanted, self.now)

    @precondition(lambda self: self.life.phase in (Phase.STARTING, Phase.READY))
    @rule()
    def renew(self) -> None:
        self.life = replace(self.life, renew=True)

    @rule(
        seconds=st.floats(0, 60), ends=st.booleans(), answers=st.booleans(), jitter=st.floats(0, 1),
        starts=st.booleans(), busy=st.booleans(), drain=st.sampled_from([0, 20]),
    )  # fmt: skip
    def look(
        self, seconds: float, ends: bool, answers: bool, jitter: float, starts: bool, busy: bool, drain: int
    ) -> None:
        self.now += seconds
        before = self.life
        running = before.phase in RUNS
        ended = "gone" if running and (ends or not self.child) else None
        self.life, action = decide(
            before, Seen(self.now, ended, answers, busy, "", jitter), replace(PATIENCE, drain_seconds=drain)
        )
        if self.life.phase is not before.phase:
            assert self.life.phase in LEGAL[before.phase]
        if ended:
            self.child = False
        if action is Action.SPAWN:
            assert not self.child, "two children at once"
            assert before.wanted
            self.child = starts
        elif action is Action.KILL:
            self.child = False
        if action is not Action.NOTHING and action is not Action.SPAWN:
            assert running

    @invariant()
    def no_child_without_a_phase_for_it(self) -> None:
        assert not self.child or self.life.phase in RUNS

    @invariant()
    def what_waits_knows_until_when(self) -> None:
        assert self.life.phase is not Phase.DRAINING or self.life.deadline is not None
        if self.life.phase is Phase.FAILED and not self.life.parked:
            assert self.life.next_try is not None and self.life.next_try <= self.now + 1.2 * 4 + 1e-9
        assert self.life.failed_starts <= PATIENCE.restart_limit

    def teardown(self) -> None:
        """Unwanted, every process comes to rest."""
        self.life = want(self.life, False, self.now)
        for _ in range(5):
            self.look(6.0, True, False, 0.5, True, True, 20)
        assert self.life.phase is Phase.STOPPED and not self.child


TestProcess = Process.TestCase
TestProcess.settings = settings(max_examples=150, deadline=None)
