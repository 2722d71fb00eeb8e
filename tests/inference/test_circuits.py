"""Breakers and cool-downs: what each failure means for other calls, and when it is over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.gateway.circuits import Circuits
from inference.gateway.cooling import LONGEST, Cooling


class Hands:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hands:
    return Hands()


def opened(clock: Hands) -> Circuits:
    circuits = Circuits(3, 10, clock)
    for _ in range(3):
        circuits.failed("m", 1, "gone", clock.now)
    return circuits


def test_a_circuit_opens_at_the_limit_and_not_before(clock: Hands) -> None:
    circuits = Circuits(3, 10, clock)
    circuits.failed("m", 1, "gone", clock.now)
    circuits.failed("m", 1, "gone", clock.now)
    assert circuits.enter("m", 1) == 0 and circuits.open() == {}
    circuits.failed("m", 1, "gone again", clock.now)
    assert circuits.enter("m", 1) == 10 and circuits.open()["m"].why == "gone again"
    assert circuits.enter("other", 1) == 0


def test_an_answer_between_failures_starts_the_count_anew(clock: Hands) -> None:
    circuits = Circuits(2, 10, clock)
    for _ in range(5):
        circuits.failed("m", 1, "gone", clock.now)
        circuits.answered("m")
    assert circuits.enter("m", 1) == 0


def test_all_calls_that_an_engine_takes_along_when_it_dies_are_one_failure(clock: Hands) -> None:
    circuits = Circuits(2, 10, clock)
    together = clock.now
    clock.now += 1
    for _ in range(16):
        circuits.failed("m", 1, "gone", together)
    assert circuits.enter("m", 1) == 0
    later = clock.now
    clock.now += 1
    circuits.failed("m", 1, "gone again", later)
    assert circuits.enter("m", 1) == 10


def test_after_its_time_one_call_tries_and_all_others_wait_for_it(clock: Hands) -> None:
    circuits = opened(clock)
    clock.now += 10
    assert circuits.enter("m", 1) == 0
    assert [circuits.enter("m", 1) for _ in range(3)] == [10, 10, 10]
    circuits.answered("m")
    assert [circuits.enter("m", 1) for _ in range(3)] == [0, 0, 0]


def test_a_try_that_fails_opens_it_again_and_one_that_never_ends_does_not_lock_it(clock: Hands) -> None:
    circuits = opened(clock)
    clock.now += 10
    assert circuits.enter("m", 1) == 0
    circuits.failed("m", 1, "still gone", clock.now)
    assert circuits.enter("m", 1) == 10
    clock.now += 10
    assert circuits.enter("m", 1) == 0  # its client leaves: nobody says what became of it
    clock.now += 10
    assert circuits.enter("m", 1) == 0


def test_an_engine_that_was_started_anew_has_no_past(clock: Hands) -> None:
    circuits = opened(clock)
    assert circuits.enter("m", 2) == 0
    circuits.failed("m", 2, "gone", clock.now)
    assert circuits.enter("m", 2) == 0


def test_no_limit_means_no_breaker(clock: Hands) -> None:
    circuits = Circuits(0, 10, clock)
    for _ in range(100):
        circuits.failed("m", 1, "gone", clock.now)
    assert circuits.enter("m", 1) == 0


@given(st.lists(st.sampled_from(["fail", "answer", "wait", "enter"]), max_size=60))
def test_a_circuit_is_never_closed_for_ever_and_never_open_below_its_limit(steps: list[str]) -> None:
    clock = Hands()
    circuits = Circuits(3, 10, clock)
    in_a_row = 0
    for step in steps:
        match step:
            case "fail":
                circuits.failed("m", 1, "gone", clock.now)
                in_a_row += 1
            case "answer":
                circuits.answered("m")
                in_a_row = 0
            case "wait":
                clock.now += 4
            case "enter":
                wait = circuits.enter("m", 1)
                assert 0 <= wait <= 10 and (in_a_row >= 3 or wait == 0)
    clock.now += 10
    assert circuits.enter("m", 1) == 0


def test_an_engine_cools_down_for_a_moment_or_as_long_as_it_asked(clock: Hands) -> None:
    cooling = Cooling(1, clock)
    cooling.cool("m", 1)
    cooling.cool("n", 1, asked=7)
    cooling.cool("o", 1, asked=1e6)
    assert (cooling.left("m", 1), cooling.left("n", 1), cooling.left("o", 1)) == (1, 7, LONGEST)
    clock.now += 1
    assert (cooling.left("m", 1), cooling.left("n", 1), cooling.count()) == (0, 6, 2)


def test_a_shorter_cool_down_does_not_cut_a_longer_one_and_a_new_start_ends_it(clock: Hands) -> None:
    cooling = Cooling(1, clock)
    cooling.cool("m", 1, asked=9)
    cooling.cool("m", 1)
    assert cooling.left("m", 1) == 9
    assert cooling.left("m", 2) == 0 and cooling.left("m", 1) == 0
