"""Turns: a mixed load on models that do not fit together, played in time that is stepped by hand."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from inference.gateway.turns import AHEAD, ASK_SECONDS, LINGER_SECONDS, TELL_SECONDS, USUAL_SLOTS, Turns, Waiter

TURN, LIMIT = 15.0, 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(clock: Clock) -> Turns:
    return Turns(TURN, LIMIT, clock)


def call(turns: Turns, name: str, model: str, key: str = "k", batch: bool = False) -> Waiter:
    return turns.waiter(name, model, key, batch=batch)


def in_line(turns: Turns, name: str, model: str, key: str = "k", batch: bool = False) -> Waiter:
    made = call(turns, name, model, key, batch)
    turns.wait(made)
    return made


def test_a_ready_model_that_nobody_wants_away_takes_every_call(turns: Turns) -> None:
    assert all(turns.go(call(turns, str(n), "a"), 1, 4) for n in range(100))


def test_while_others_wait_it_gets_a_batch_in_its_turn_and_nothing_after_it(turns: Turns, clock: Clock) -> None:
    turns.go(call(turns, "first", "a"), 1, 4)
    in_line(turns, "b1", "b")
    turns.answered("b", ["a"])
    went = [turns.go(call(turns, str(n), "a"), 1, 4) for n in range(20)]
    assert went.count(True) == AHEAD * 4 - 1
    clock.now += TURN
    turns.leave("first")
    assert not turns.go(call(turns, "late", "a"), 1, 4), "its turn is over"


def test_those_who_waited_before_it_was_ready_go_first_whatever_the_clock_says(turns: Turns, clock: Clock) -> None:
    waiting = [in_line(turns, f"b{n}", "b") for n in range(3)]
    clock.now += LIMIT * 0.9
    in_line(turns, "a1", "a")
    turns.answered("a", ["b"])
    clock.now += LIMIT / 2
    assert turns.keep("a", {"b": ("ready", 2)}) == ["b"], "it has just come for those in its line"
    assert [turns.go(one, 2, 4) for one in waiting] == [True, True, True]
    clock.now += 0.1
    assert not turns.go(call(turns, "b-new", "b"), 2, 4), "others have waited for half of what they may"


def test_a_model_at_work_is_kept_and_its_end_wakes_who_waits_for_its_place(turns: Turns, clock: Clock) -> None:
    turns.go(call(turns, "a1", "a"), 1, 4)
    clock.now += TURN
    woken: list[str] = []
    waiter = in_line(turns, "b1", "b")
    waiter.wake = lambda: woken.append("b1")
    assert turns.may_ask(waiter) and turns.keep("b", {"a": ("ready", 1)}) == ["a"]
    turns.answered("b", ["a"])
    assert not turns.may_ask(waiter), "not every moment"
    turns.leave("a1")
    assert woken == ["b1"] and turns.may_ask(waiter) and turns.keep("b", {"a": ("ready", 1)}) == []


def test_a_pause_between_two_calls_of_a_loop_is_not_the_end_of_a_turn(turns: Turns, clock: Clock) -> None:
    turns.go(call(turns, "a1", "a"), 1, 4)
    turns.leave("a1")
    in_line(turns, "b1", "b")
    assert turns.keep("b", {"a": ("ready", 1)}) == ["a"]
    clock.now += LINGER_SECONDS
    assert turns.keep("b", {"a": ("ready", 1)}) == []


def test_models_that_start_are_kept_and_those_that_failed_or_sleep_are_not(turns: Turns) -> None:
    in_line(turns, "b1", "b")
    states = {"x": ("starting", 1), "y": ("failed", 1), "w": ("sleeping", 1), "z": ("ready", 1), "b": ("stopped", 1)}
    assert turns.keep("b", states) == ["x", "z"], "nobody knows z's past: it has just become ready"


def test_the_place_of_the_one_who_leaves_belongs_to_who_waited_longest(turns: Turns, clock: Clock) -> None:
    turns.go(call(turns, "a1", "a"), 1, 4)
    clock.now += TURN
    in_line(turns, "b1", "b")
    turns.answered("b", ["a"])
    clock.now += 1
    in_line(turns, "c1", "c")
    turns.answered("c", ["a"])
    turns.leave("a1")
    clock.now += LINGER_SECONDS
    assert turns.keep("c", {"a": ("ready", 1)}) == ["a"] and turns.keep("b", {"a": ("ready", 1)}) == []


def test_in_a_line_the_key_with_the_fewest_calls_at_work_goes_first(turns: Turns, clock: Clock) -> None:
    line = []
    for name, key in (("m1", "many"), ("m2", "many"), ("m3", "many"), ("f1", "few"), ("f2", "few")):
        line.append(in_line(turns, name, "b", key))
        clock.now += 0.1
    order: list[str] = []
    while waiting := [one for one in line if one.call not in order]:
        went = next(one for one in waiting if turns.go(one, 1, 4))
        order.append(went.call)
    assert order == ["m1", "f1", "m2", "f2", "m3"]


def test_in_a_line_interactive_calls_go_before_batch_calls_that_have_not_waited_long(
    turns: Turns, clock: Clock
) -> None:
    old = in_line(turns, "old", "a", batch=True)
    clock.now += LIMIT / 2
    batch, person = in_line(turns, "batch", "a", batch=True), in_line(turns, "person", "a", "other")
    went = []
    for _ in range(3):
        went += [one.call for one in (batch, person, old) if one.call not in went and turns.go(one, 1, 4)][:1]
    assert went == ["old", "person", "batch"]


def test_batch_calls_end_a_turn_that_interactive_calls_use_only_when_they_have_waited_long(
    turns: Turns, clock: Clock
) -> None:
    turns.go(call(turns, "a1", "a"), 1, 4)
    waiting = in_line(turns, "b1", "b", batch=True)
    turns.answered("b", ["a"])
    clock.now += LIMIT / 2 - 1
    assert turns.go(call(turns, "a2", "a"), 1, 4), "its turn is long over, but nobody who is in a hurry waits"
    assert not turns.go(call(turns, "a3", "a", batch=True), 1, 4), "among batch calls turns are turns"
    turns.leave("a1"), turns.leave("a2")
    in_line(turns, "a4", "a")
    clock.now += 0.5
    assert turns.keep("b", {"a": ("ready", 1)}) == ["a"]
    clock.now += 1
    assert not turns.go(call(turns, "a5", "a"), 1, 4)
    assert turns.keep("b", {"a": ("ready", 1)}) == [] and waiting.batch


def test_the_place_goes_to_a_line_with_interactive_calls_before_an_older_one_of_batch_calls(
    turns: Turns, clock: Clock
) -> None:
    in_line(turns, "b1", "b", batch=True)
    turns.answered("b", ["a"])
    clock.now += 5
    in_line(turns, "c1", "c")
    turns.answered("c", ["a"])
    turns.keep("c", {"a": ("ready", 1)})
    clock.now += LINGER_SECONDS
    assert turns.keep("b", {"a": ("ready", 1)}) == ["a"] and turns.keep("c", {"a": ("ready", 1)}) == []
    clock.now += LIMIT / 2
    assert turns.keep("b", {"a": ("ready", 1)}) == [] and turns.keep("c", {"a": ("ready", 1)}) == ["a"]


def test_a_newcomer_does_not_go_before_those_in_line(turns: Turns) -> None:
    first = in_line(turns, "b1", "b")
    assert not turns.go(call(turns, "b2", "b"), 1, 4)
    assert turns.go(first, 1, 4) and turns.go(call(turns, "b2", "b"), 1, 4)


def test_who_gives_up_frees_the_line_and_the_model_others_held(turns: Turns, clock: Clock) -> None:
    turns.go(call(turns, "a1", "a"), 1, 4)
    clock.now += TURN
    waiter = in_line(turns, "b1", "b")
    turns.answered("b", ["a"])
    assert not turns.go(call(turns, "a2", "a"), 1, 4)
    turns.give_up(waiter)
    turns.give_up(waiter)
    assert turns.waiting("b") == 0 and turns.go(call(turns, "a2", "a"), 1, 4)


def test_a_call_that_tries_again_keeps_its_place_and_one_that_falls_back_leaves_it(turns: Turns, clock: Clock) -> None:
    turns.go(call(turns, "a1", "a"), 1, 1)
    in_line(turns, "b1", "b")
    turns.answered("b", ["a"])
    clock.now += TURN
    assert turns.go(call(turns, "a1", "a"), 2, 1)
    assert turns.go(call(turns, "a1", "z"), 1, 1) and "a" not in turns.keep("b", {"z": ("ready", 1)})


def test_what_was_used_is_told_now_and_then(turns: Turns, clock: Clock) -> None:
    turns.go(call(turns, "a1", "a"), 1, 4)
    assert turns.news() == []
    clock.now += TELL_SECONDS
    assert turns.news() == ["a"] and turns.news() == []
    turns.leave("a1")
    clock.now += TELL_SECONDS
    assert turns.news() == ["a"]


# -- a whole box, played --------------------------------------------------------------------------------------------


@dataclass
class Box:
    """One place for a model, which takes a while to be loaded; calls that take a while."""

    turns: Turns
    clock: Clock
    load_seconds: float = 4.0
    slots: int = 4
    loaded: str = ""
    ready_at: float = 0.0
    swaps: int = 0
    line: list[Waiter] = field(default_factory=list)
    at_work: dict[str, float] = field(default_factory=dict)
    waits: dict[str, list[float]] = field(default_factory=dict)
    timed_out: int = 0

    def ask(self, waiter: Waiter) -> None:
        """As the pool answers."""
        states = {self.loaded: ("ready" if self.clock.now >= self.ready_at else "starting", self.swaps)}
        keep = self.turns.keep(waiter.model, states) if self.loaded else []
        if self.loaded == waiter.model or self.loaded in keep:
            self.turns.answered(waiter.model, [self.loaded] if self.loaded != waiter.model else [])
            return
        assert not self.at_work, "a model at work is never unloaded"
        self.loaded, self.ready_at, self.swaps = waiter.model, self.clock.now + self.load_seconds, self.swaps + 1
        self.turns.answered(waiter.model, [])

    def arrive(self, name: str, model: str, key: str, batch: bool = False) -> None:
        self.line.append(in_line(self.turns, name, model, key, batch))

    def step(self, seconds: float, work: Callable[[], float]) -> None:
        self.clock.now += seconds
        for name in [name for name, end in self.at_work.items() if end <= self.clock.now]:
            del self.at_work[name]
            self.turns.leave(name)
        moved = True
        while moved:  # whoever goes wakes the next
            moved = False
            for waiter in list(self.line):
                if self.loaded == waiter.model and self.clock.now >= self.ready_at:
                    if self.turns.go(waiter, self.swaps, self.slots):
                        moved = True
                        self.line.remove(waiter)
                        # More calls than slots wait for one another in the engine.
                        queue = max(1.0, (len(self.at_work) + 1) / self.slots)
                        self.at_work[waiter.call] = self.clock.now + work() * queue
                        self.waits.setdefault(waiter.model, []).append(self.clock.now - waiter.arrived)
                elif self.turns.may_ask(waiter):
                    self.ask(waiter)
        for waiter in [one for one in self.line if self.clock.now - one.arrived > LIMIT]:
            self.line.remove(waiter)
            self.turns.give_up(waiter)
            self.timed_out += 1


@pytest.mark.parametrize("models", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_mixed_load_causes_few_swaps_and_starves_nobody(turns: Turns, clock: Clock, seed: int, models: int) -> None:
    chance, box = random.Random(seed), Box(turns, clock)
    names, count, minutes = "abc"[:models], 0, 5
    for _ in range(minutes * 600):
        if chance.random() < 0.2:  # two calls a second, each of which takes a slot of its model for 0.9 s or so
            count += 1
            box.arrive(f"call-{count}", chance.choice(names), f"key-{chance.randrange(3)}")
        box.step(0.1, lambda: chance.uniform(0.3, 1.5))
    in_order_of_arrival = count * (models - 1) / models
    assert box.swaps < in_order_of_arrival / 12
    assert box.timed_out == 0 and sum(map(len, box.waits.values())) > 0.9 * count
    assert max(max(waits) for waits in box.waits.values()) < LIMIT
    shares = Counter({model: len(waits) for model, waits in box.waits.items()})
    assert set(shares) == set(names) and max(shares.values()) < 1.5 * min(shares.values())


def test_batch_calls_are_served_while_interactive_ones_flood_another_model(turns: Turns, clock: Clock) -> None:
    box, count = Box(turns, clock), 0
    for tick in range(3000):
        box.arrive(f"person-{tick}", "a", "person") if tick % 3 == 0 else None
        if tick % 100 == 50:
            count += 1
            box.arrive(f"batch-{count}", "b", "batch", batch=True)
        box.step(0.1, lambda: 0.9)
    assert box.timed_out == 0 and len(box.waits["b"]) > count - 5
    assert sum(box.waits["a"]) / len(box.waits["a"]) < sum(box.waits["b"]) / len(box.waits["b"]) / 3


def test_one_call_among_a_flood_for_another_model_gets_its_turn(turns: Turns, clock: Clock) -> None:
    box = Box(turns, clock)
    for step in range(1200):
        box.arrive(f"flood-{step}", "a", "flood")
        if step == 300:
            box.arrive("lonely", "b", "lonely")
        box.step(0.1, lambda: 0.3)
    assert box.waits["b"] and box.waits["b"][0] <= TURN + box.load_seconds + 10
    assert box.swaps <= 4


def test_constants_agree() -> None:
    assert AHEAD >= 1 and USUAL_SLOTS >= 1 and ASK_SECONDS < LIMIT / 2
