"""The desk by itself: places, lines, full disks, and what a call that is over has used."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

from appliance.errors import Unavailable
from appliance.settings import GatewaySettings
from inference.gateway.calls import Call, Ticket
from inference.gateway.chat import Prepared, prepare_chat, prepare_completion
from inference.gateway.desk import Desk, need_of, used_by
from inference.gateway.embedding import prepare_embedding
from inference.gateway.faults import ApiError
from inference.gateway.metrics import Metrics
from inference.gateway.watch import GONE, Trip
from inference.journal import Alive, Journal, read_counts
from inference.keys import Key, Terms
from inference.limits import Limits, Need, Priority
from inference.router import Decision

HELLO = [{"role": "user", "content": "Hello?"}]
LEFT = ApiError(499, "gone", "client_gone")
BROKEN = ApiError(502, "lost", "engine_lost")


def key(**terms: Any) -> Key:
    return Key(id="k", name="ci", sha256="a" * 64, terms=Terms(**terms))


def call(model: str = "m", **body: Any) -> Call:
    prepared = prepare_chat({"model": model, "messages": HELLO, **body})
    return Call("x", "/v1/chat/completions", prepared, Decision(task="chat", candidates=(model,)), Trip(-1, 1e12))


class Office:
    """A desk over a folder."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.metrics = Metrics()
        self.journal = Journal(folder, gevent.sleep)
        made = GatewaySettings(**{"queue_seconds": 0.2, **settings})
        self.desk = Desk(self.journal, Alive(folder / "run"), made, self.metrics)

    def enter(self, who: Key, made: Call | None = None, slots: int = 4) -> Call:
        made = made or call()
        self.desk.check_in(who, made, lambda model: slots, 4096)
        return made

    def enters(self, who: Key, made: Call | None = None, slots: int = 4) -> gevent.Greenlet:
        greenlet = gevent.spawn(self.enter, who, made, slots)
        gevent.sleep(0.03)
        return greenlet

    def leaves(self, made: Call) -> None:
        self.desk.settle(made, {"prompt_tokens": 7, "completion_tokens": 3}, None)


@pytest.fixture
def office(tmp_path: Path) -> Callable[..., Office]:
    return lambda **settings: Office(tmp_path, **settings)


def test_when_all_places_are_taken_calls_wait_and_enter_in_turn(office: Callable[..., Office]) -> None:
    here = office(parallel=2, queue_seconds=5)
    first, _ = here.enter(key()), here.enter(key())
    waiting = [here.enters(key()) for _ in range(3)]
    assert not any(one.ready() for one in waiting)
    here.leaves(first)
    entered = waiting[0].get(timeout=2)
    assert not waiting[1].ready()
    here.leaves(entered)
    here.leaves(waiting[1].get(timeout=2))
    assert waiting[2].get(timeout=2).away > 0


def test_who_gets_no_place_in_time_is_told_to_come_back(office: Callable[..., Office]) -> None:
    here = office(parallel=1)
    here.enter(key())
    with pytest.raises(ApiError) as refused:
        here.enter(key())
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (429, "gateway_full", 2)
    assert len(read_counts(here.folder).open) == 1


def test_batch_calls_leave_places_for_interactive_ones(office: Callable[..., Office]) -> None:
    here, batch = office(parallel=4, batch_percent=50), key(priority=Priority.BATCH)
    here.enter(batch), here.enter(batch)
    with pytest.raises(ApiError, match="batch call"):
        here.enter(batch)
    here.enter(key()), here.enter(key())


def test_batch_calls_for_a_busy_model_do_not_hold_up_those_for_another(office: Callable[..., Office]) -> None:
    here, batch = office(queue_seconds=5), key(priority=Priority.BATCH)
    here.enter(batch, call("a"), slots=1)
    held = here.enters(batch, call("a"), slots=1)
    here.enter(batch, call("b"), slots=1)
    assert not held.ready()
    held.kill()


def test_a_call_can_ask_for_less_haste_than_its_key_has_and_never_for_more(office: Callable[..., Office]) -> None:
    here, batch = office(), key(priority=Priority.BATCH)
    assert here.enter(key()).priority is Priority.INTERACTIVE
    assert here.enter(key(), call(service_tier="flex")).priority is Priority.BATCH
    assert here.enter(key(), call(metadata={"priority": "batch"})).priority is Priority.BATCH
    for more in ({}, {"service_tier": "priority"}, {"metadata": {"priority": "interactive"}}):
        assert here.enter(batch, call(**more), slots=9).priority is Priority.BATCH


def test_one_batch_call_at_a_time_goes_without_a_free_slot_once_it_has_waited_long(
    office: Callable[..., Office],
) -> None:
    here, batch = office(queue_seconds=0.4), key(priority=Priority.BATCH)
    here.enter(key()), here.enter(key())
    forced = here.enter(batch, slots=2)
    assert 0.2 <= forced.away < 0.4
    with pytest.raises(ApiError, match="batch call"):
        here.enter(batch, slots=2)
    here.leaves(forced)
    here.enter(key())
    here.enter(batch, slots=2)


def test_a_client_that_left_while_waiting_takes_no_place(office: Callable[..., Office]) -> None:
    here = office(parallel=1, queue_seconds=5)
    inside, gone = here.enter(key()), call()
    waiting = here.enters(key(), gone)
    gone.trip.end(GONE)
    with pytest.raises(ApiError, match="closed the connection"):
        waiting.get(timeout=2)
    here.leaves(inside)
    assert read_counts(here.folder).open == {}


def test_a_key_whose_limit_is_reached_does_not_wait(office: Callable[..., Office]) -> None:
    here, limited = office(parallel=1, queue_seconds=60), key(limits=Limits(parallel=1))
    here.enter(limited)
    began = time.monotonic()
    with pytest.raises(ApiError) as refused:
        here.enter(limited)
    assert refused.value.code == "rate_limit_exceeded" and time.monotonic() - began < 30


@contextmanager
def full_disk(file: Path) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_only_keys_without_limits_go_on(
    office: Callable[..., Office], caplog: pytest.LogCaptureFixture
) -> None:
    here, limited = office(), key(limits=Limits(tokens_per_day=100_000))
    inside = here.enter(limited)
    with full_disk(here.journal.file):
        with pytest.raises(Unavailable):
            here.enter(limited)
        uncounted = here.enter(key())
        assert "uncounted" in caplog.text
        assert here.desk.settle(uncounted, {"prompt_tokens": 1, "completion_tokens": 2}, None) == (1, 2)
        here.leaves(inside)
    assert set(read_counts(here.folder).open) != set()  # reserved until its end can be written
    here.desk.report()
    counts = read_counts(here.folder)
    assert counts.open == {} and counts.key("k").total.tokens == 10


def test_a_call_is_settled_once(office: Callable[..., Office]) -> None:
    here = office()
    made = here.enter(key())
    assert here.desk.settle(made, {"prompt_tokens": 7, "completion_tokens": 3}, None) == (7, 3)
    assert here.desk.settle(made, {"prompt_tokens": 9, "completion_tokens": 9}, LEFT) == (7, 3)
    assert read_counts(here.folder).key("k").total.tokens == 10


def test_a_call_that_nobody_settled_does_not_keep_its_place_for_ever(
    office: Callable[..., Office], caplog: pytest.LogCaptureFixture
) -> None:
    here = office(request_timeout_seconds=5)
    made = here.enter(key())
    here.desk.report()
    assert len(here.journal.counts.open) == 1
    made.started -= 100
    here.desk.report()
    assert here.journal.counts.open == {} and "never settled" in caplog.text


def test_a_long_call_outgrows_its_reservation_while_it_is_under_way(office: Callable[..., Office]) -> None:
    here, limited = office(), key(limits=Limits(seconds_per_day=100.0, tokens_per_minute=5000))
    made = here.enter(limited, call(max_tokens=10, stream=True))
    made.engine_since, made.generated = time.perf_counter() - 150, 900
    here.desk.report()
    count = read_counts(here.folder).key("k")
    assert count.open_milliseconds >= 150_000 and count.window_tokens == count.open_tokens == 902
    with pytest.raises(ApiError, match="model-seconds of this day"):
        here.enter(limited)
    here.desk.settle(made, {}, LEFT)
    count = read_counts(here.folder).key("k")
    assert (count.open_milliseconds, count.open_tokens, count.window_tokens) == (0, 0, 902)


@pytest.mark.parametrize(
    ("stream", "usage", "failure", "engine", "generated", "used"),
    [
        (False, {"prompt_tokens": 7, "completion_tokens": 3}, None, True, 0, (7, 3)),
        (True, {"prompt_tokens": 7, "completion_tokens": 3}, LEFT, True, 5, (7, 3)),
        (True, {}, LEFT, True, 5, (11, 5)),
        (True, {}, LEFT, True, 0, (11, 0)),
        (True, {}, BROKEN, True, 5, (11, 5)),
        (True, {}, BROKEN, True, 0, (0, 0)),
        (False, {}, BROKEN, True, 0, (0, 0)),
        (False, {}, LEFT, True, 0, (11, 20)),
        (False, {}, LEFT, False, 0, (0, 0)),
        (False, {}, None, True, 0, (11, 20)),
        (False, {"prompt_tokens": "many", "completion_tokens": -4}, BROKEN, True, 0, (0, 0)),
    ],
)
def test_what_was_used_is_what_the_engine_said_else_what_is_known(
    stream: bool, usage: Mapping[str, Any], failure: ApiError | None, engine: bool, generated: int,
    used: tuple[int, int],
) -> None:  # fmt: skip
    made = call(stream=stream)
    made.engine_since, made.generated = (1.0 if engine else 0.0), generated
    ticket = Ticket("t", prompt=11, completion=50, rate=10.0)
    assert used_by(made, ticket, usage, failure, seconds=2.0) == used


def test_a_lost_answer_never_costs_more_than_was_reserved() -> None:
    made = call()
    made.engine_since = 1.0
    assert used_by(made, Ticket("t", 11, 50, rate=10.0), {}, LEFT, seconds=600.0) == (11, 50)
    assert used_by(made, Ticket("t", 11, 50, rate=0.0), {}, LEFT, seconds=0.1) == (11, 50)


@pytest.mark.parametrize(
    ("prepared", "context", "need"),
    [
        (prepare_chat({"messages": HELLO}), 4096, Need(2, None)),
        (prepare_chat({"messages": HELLO, "max_tokens": 50, "n": 3}), 4096, Need(2, 150)),
        (prepare_chat({"messages": HELLO, "max_tokens": 100_000}), 4096, Need(2, 4094)),
        (prepare_chat({"messages": HELLO, "max_tokens": 100_000}), None, Need(2, 100_000)),
        (prepare_completion({"prompt": "x" * 400, "max_tokens": 9}), 4096, Need(100, 9)),
        (prepare_embedding({"input": ["x" * 400] * 10}), 512, Need(1000, 0)),
        (prepare_embedding({"input": "x" * 400}), 512, Need(100, 0)),
    ],
)
def test_what_a_call_may_need_is_known_before_it_begins(prepared: Prepared, context: int | None, need: Need) -> None:
    assert need_of(prepared, context) == need
