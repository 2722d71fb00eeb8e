"""Counting and deciding: properties over any order of calls, ends, deaths and clocks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.counts import ENDED, GONE, PROGRESS, RESERVED, Counts, KeyCount, day_of, month_of
from inference.limits import (
    UNSTATED_TOKENS,
    Grant,
    Left,
    Limits,
    Need,
    Refusal,
    decide,
    next_day,
    next_month,
    rates_left,
    usage,
    whole_seconds,
)

NOON = 1_795_694_400.0
"""2026-11-26 12:00 UTC."""


@dataclass
class Box:
    """A gateway on paper: counts, a virtual clock, and what really happened, kept in another way."""

    limits: Limits
    now: float = NOON
    counts: Counts = field(default_factory=Counts)
    let_in: list[tuple[float, str, int]] = field(default_factory=list)
    ended: list[tuple[float, int, int]] = field(default_factory=list)
    number: int = 0

    def call(self, prompt: int = 10, completion: int | None = 10, key: str = "k", worker: str = "w") -> str | Refusal:
        answer = decide(self.counts.key(key), self.limits, Need(prompt, completion), self.now)
        if isinstance(answer, Refusal):
            return answer
        self.number += 1
        id = f"{worker}-{self.number}"
        tokens = answer.prompt + answer.completion
        self.counts.apply([RESERVED, self.now, id, key, "m", worker, tokens, answer.milliseconds])
        self.let_in.append((self.now, id, tokens))
        return id

    def end(self, id: str, prompt: int, completion: int, milliseconds: int = 0) -> None:
        self.counts.apply([ENDED, self.now, id, prompt, completion, milliseconds])
        self.ended.append((self.now, prompt + completion, milliseconds))


def refusal(answer: str | Refusal) -> Refusal:
    assert isinstance(answer, Refusal)
    return answer


steps = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(1, 40), st.none() | st.integers(1, 40)),
        st.tuples(st.just("end"), st.integers(0, 60), st.integers(0, 5000)),
        st.tuples(st.just("wait"), st.floats(0.0, 40.0), st.none()),
    ),
    max_size=60,
)


@given(steps, st.integers(1, 6), st.integers(20, 120), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_no_limit_is_ever_passed_by_what_is_let_in(
    steps: list[tuple[str, int, int | None]], requests: int, tokens: int, parallel: int
) -> None:
    box = Box(Limits(requests_per_minute=requests, tokens_per_minute=tokens, parallel=parallel))
    under_way: dict[str, int] = {}
    used: dict[str, int] = {}
    for what, first, second in steps:
        if what == "wait":
            box.now += first
        elif what == "end" and under_way:
            id = next(iter(under_way))
            real = min(first, under_way.pop(id))  # a client that keeps to what it announced
            used[id] = real
            box.end(id, 0, real, second or 0)
        elif what == "call":
            id = box.call(first, second)
            if isinstance(id, str):
                under_way[id] = box.let_in[-1][2]
        window = [(id, reserved) for at, id, reserved in box.let_in if box.now - at < 60]
        assert len(window) <= requests and len(under_way) <= parallel
        assert sum(used.get(id, reserved) for id, reserved in window) <= tokens
        count = box.counts.key("k")
        count.forget(box.now)
        assert count.window_tokens == sum(used.get(id, reserved) for id, reserved in window)
        assert (count.open, count.open_tokens) == (len(under_way), sum(under_way.values()))
        assert count.total.tokens == sum(used.values()) and count.total.calls == len(used)


@given(steps, st.integers(50, 300), st.sampled_from(["tokens_per_day", "tokens_per_month"]))
@settings(max_examples=100, deadline=None)
def test_a_budget_of_tokens_is_kept_over_days_and_months(
    steps: list[tuple[str, int, int | None]], budget: int, name: str
) -> None:
    box = Box(Limits.model_validate({name: budget}), now=next_month(NOON) - 100.0)
    period = day_of if "day" in name else month_of
    under_way: dict[str, int] = {}
    for what, first, second in steps:
        if what == "wait":
            box.now += first * 600
        elif what == "end" and under_way:
            id = next(iter(under_way))
            box.end(id, 0, min(first, under_way.pop(id)), second or 0)
        elif what == "call":
            id = box.call(first, second)
            if isinstance(id, str):
                under_way[id] = box.let_in[-1][2]
        spent = sum(tokens for at, tokens, _ in box.ended if period(at) == period(box.now))
        assert spent + sum(under_way.values()) <= budget
        assert box.counts.key("k").tally(period(box.now)).tokens == spent


@given(steps)
@settings(max_examples=100, deadline=None)
def test_a_snapshot_is_the_state_and_goes_on_like_it(steps: list[tuple[str, int, int | None]]) -> None:
    box = Box(Limits(requests_per_minute=5, tokens_per_minute=100))
    copies = Counts()
    under_way: list[str] = []
    for n, (what, first, second) in enumerate(steps):
        if what == "wait":
            box.now += first
            continue
        if what == "end" and under_way:
            record = [ENDED, box.now, under_way.pop(0), 1, first, second or 0]
        elif what == "call":
            record = [RESERVED, box.now, f"c{n}", f"k{first % 3}", "m", "w", first, 7]
            under_way.append(f"c{n}")
        else:
            record = [PROGRESS, f"c{n - 1}", 1, first, second or 0]
        box.counts.apply(record)
        copies.apply(json.loads(json.dumps(record)))
        restored = Counts()
        restored.apply(json.loads(json.dumps(copies.snapshot())))
        assert restored.snapshot() == copies.snapshot() == box.counts.snapshot()
        assert restored.models == box.counts.models
        copies = restored


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(-200, 200)), max_size=40))
def test_a_clock_that_jumps_keeps_no_call_in_the_window_for_longer(jumps: list[tuple[int, float]]) -> None:
    box = Box(Limits())
    for tokens, jump in jumps:
        box.call(tokens, 1)
        box.now += jump
    count = box.counts.key("k")
    count.forget(box.now)
    assert count.window_tokens == sum(entry.tokens for entry in count.window)
    count.forget(box.now + 60.0)
    assert (len(count.window), count.window_tokens) == (0, 0)


def test_the_wait_that_is_told_is_long_enough_and_not_longer() -> None:
    box = Box(Limits(requests_per_minute=2))
    box.call()
    box.now += 10
    box.call()
    said = refusal(box.call())
    assert said.limit == "requests_per_minute" and said.wait == pytest.approx(50.0)
    box.now += 49.9
    assert isinstance(box.call(), Refusal)
    box.now += 0.1
    assert isinstance(box.call(), str)


def test_the_wait_for_tokens_ends_when_enough_have_left_the_window() -> None:
    box = Box(Limits(tokens_per_minute=100))
    for tokens in (30, 30, 30):
        id = box.call(tokens, 1)
        assert isinstance(id, str)
        box.end(id, tokens, 1)
        box.now += 5
    said = refusal(box.call(40, 1))
    assert said.wait == pytest.approx(50.0) and "93 of 100 tokens" in said.why
    box.now += 50
    assert isinstance(box.call(40, 1), str)


def test_a_call_that_can_never_fit_is_told_so() -> None:
    said = refusal(Box(Limits(tokens_per_minute=100)).call(60, 41))
    assert said.wait is None and "shorter answer" in said.why


def test_a_call_that_states_no_length_is_given_what_is_left() -> None:
    count = KeyCount()
    granted = decide(count, Limits(tokens_per_minute=100), Need(60, None), NOON)
    assert granted == Grant(60, 40, 0)
    assert decide(count, Limits(), Need(60, None), NOON) == Grant(60, UNSTATED_TOKENS, 0)


def test_a_budget_says_how_much_is_used_and_when_it_opens_again() -> None:
    box = Box(Limits(tokens_per_day=1000))
    id = box.call(500, 400)
    assert isinstance(id, str)
    box.end(id, 500, 450)
    said = refusal(box.call(50, 50))
    assert said.closed and said.wait == 12 * 3600
    assert said.why == (
        "950 of 1,000 tokens of this day are used and this call may use 100; it opens again at 2026-11-27T00:00Z"
    )
    box.now = next_day(box.now)
    assert isinstance(box.call(50, 50), str)


def test_a_budget_of_model_seconds_closes_when_it_is_used_up_and_counts_calls_under_way_at_their_usual_length() -> None:
    box = Box(Limits(seconds_per_month=10.0))
    id = box.call()
    assert isinstance(id, str)
    box.end(id, 1, 1, 4000)
    calls = [box.call(), box.call()]  # each may take 4 seconds more
    said = refusal(box.call())
    assert not said.closed and "4.0 of 10 model-seconds of this month are used, 8.0 are promised" in said.why
    for id in calls:
        assert isinstance(id, str)
        box.end(id, 1, 1, 4000)
    said = refusal(box.call())
    assert said.limit == "seconds_per_month" and "12.0 of 10 model-seconds of this month" in said.why
    assert said.closed and said.wait == next_month(NOON) - NOON and "2026-12-01T00:00Z" in said.why


@pytest.mark.parametrize("name", ["tokens_per_minute", "tokens_per_day"])
def test_what_is_only_promised_is_soon_free_again(name: str) -> None:
    box = Box(Limits.model_validate({name: 100}))
    id = box.call(10, 80)
    said = refusal(box.call(10, 10))
    assert not said.closed and said.wait == 5.0 and "promised" in said.why
    assert isinstance(id, str)
    box.end(id, 10, 20)
    assert isinstance(box.call(10, 10), str)


def test_budgets_are_asked_before_rates() -> None:
    box = Box(Limits(requests_per_minute=1, tokens_per_day=5))
    assert refusal(box.call()).limit == "tokens_per_day"


def test_calls_of_a_dead_worker_end_where_they_had_come() -> None:
    box = Box(Limits(parallel=3, tokens_per_day=1000))
    first, second, other = box.call(), box.call(), box.call(worker="v")
    box.counts.apply([PROGRESS, first, 10, 7, 1500])
    box.counts.apply([GONE, box.now, "w"])
    count = box.counts.key("k")
    assert (count.open, count.open_tokens) == (1, 20) and set(box.counts.open) == {other}
    assert count.tally(day_of(NOON)).tokens == 17 and count.total.milliseconds == 1500
    box.counts.apply([ENDED, box.now, second, 9, 9, 9])  # too late: it ended before
    assert count.total.tokens == 17


def test_an_end_counts_once() -> None:
    box = Box(Limits())
    id = box.call()
    assert isinstance(id, str)
    box.end(id, 3, 4, 5)
    box.end(id, 3, 4, 5)
    assert box.counts.key("k").total.tokens == 7 and box.counts.models == {}


def test_only_limits_that_there_are_have_something_left() -> None:
    box = Box(Limits(requests_per_minute=5, tokens_per_minute=100))
    assert rates_left(KeyCount(), Limits(parallel=2), NOON) == ()
    box.call(10, 20)
    box.now += 2
    told = rates_left(box.counts.key("k"), box.limits, box.now)
    assert told == (Left("requests", 5, 4, 58.0), Left("tokens", 100, 70, 58.0))


def test_usage_is_shown_beside_each_limit() -> None:
    box = Box(Limits(tokens_per_day=100))
    id = box.call(10, 20)
    assert usage(box.counts.key("k"), box.limits, NOON)["tokens_per_day"] == {"used": 30, "limit": 100}
    assert isinstance(id, str)
    box.end(id, 5, 5, 250)
    shown = usage(box.counts.key("k"), box.limits, NOON)
    assert shown["tokens_per_day"] == {"used": 10, "limit": 100}
    assert shown["seconds_per_month"] == {"used": 0.25, "limit": None}
    assert shown["requests_per_minute"] == {"used": 1, "limit": None}


def test_months_end_where_the_calendar_says() -> None:
    assert next_month(NOON) == NOON + 4.5 * 86400
    assert month_of(next_month(next_month(NOON))) == "2027-01"
    assert whole_seconds(0.001) == 1
