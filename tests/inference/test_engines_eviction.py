"""Who leaves so that another may come: a pool with room for two models, and engines that are mere sleepers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from appliance.config import Home
from appliance.engines_client import EnginesClient
from appliance.errors import Conflict, LimitExceeded, UsageError
from appliance.settings import ModelSettings, Settings
from inference.engines.devices import Gpu, Room
from inference.engines.engine import Seat
from inference.engines.needs import Need, Part, Wish
from inference.engines.outlook import outlook
from inference.engines.pool import WAITING, Pool
from inference.engines.seating import Options, Seating
from models.card import Card
from models.importing import import_model
from models.registry import Registry
from models.shape import Shape
from tests.inference.engines_process import make_home, until
from tests.inference.test_engines_pool import Sleepers, ready, row, running_pool, write_model

GIB = 1 << 30
FOR_TWO = Room(10 * GIB, 16 * GIB)


class Heavy(Sleepers):
    """Says that every model takes 4 GiB, and takes nothing."""

    def __init__(self) -> None:
        self.work: set[str] = set()
        self.seats: dict[str, Seat] = {}

    def argv(self, seat: Seat) -> tuple[str, ...]:
        self.seats[seat.card.id] = seat
        return super().argv(seat)

    def busy(self, seat: Seat) -> bool:
        return seat.card.id in self.work

    def need(self, card: Card, shape: Shape | None, wish: Wish, gpus: int) -> Need:
        return Need((Part("all", 4 * GIB // max(1, gpus), "told"),))


class OnGpu(Heavy):
    """The same, on GPUs."""

    def on_gpu(self) -> bool:
        return True


Start = Callable[..., AbstractContextManager[Pool]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = make_home(tmp_path_factory.mktemp("box"))
    for n, id in enumerate("abc"):
        import_model(write_model(made.spool / f"{id}.gguf", n), Registry(made.models))
    return made


@pytest.fixture
def start(home: Home) -> Start:
    @contextmanager
    def made(kind: Heavy | None = None, room: Room = FOR_TWO, **models: Any) -> Iterator[Pool]:
        own = {id: ModelSettings(**fields) for id, fields in models.items()}
        with running_pool(Pool(home, Settings(models=own), [kind or Heavy()], look=lambda: room), home) as pool:
            yield pool

    return made


def loaded(pool: Pool) -> set[str]:
    return {one["model"] for one in pool.rows()}


def test_the_one_unused_for_longest_leaves_and_the_order_is_carried_out(start: Start) -> None:
    with start() as pool:
        for id in "ab":
            pool.load(id)
            ready(pool, id)
        time.sleep(0.01)
        pool.use(["a"])
        answer = pool.load("c")
        assert (answer["state"], answer["reason"]) == ("stopped", "waits until b has left")
        assert ready(pool, "c") and loaded(pool) == {"a", "c"}


def test_work_in_flight_is_finished_before_its_model_leaves(start: Start) -> None:
    kind = Heavy()
    with start(kind, b={"cost": 0.1}) as pool:
        for id in "ab":
            pool.load(id)
            ready(pool, id)
        kind.work.add("b")
        pool.load("c")
        until(lambda: row(pool, "b").get("state") == "draining")
        assert row(pool, "b")["reason"] == "makes room for c"
        assert pool.load("b")["state"] == "draining", "asked for again, it still makes room"
        time.sleep(0.5)
        assert row(pool, "b")["state"] == "draining" and row(pool, "c")["state"] == "stopped"
        kind.work.clear()
        assert ready(pool, "c")


def test_a_model_that_is_kept_is_waited_for_and_nothing_happens(start: Start) -> None:
    with start() as pool:
        for id in "ab":
            pool.load(id)
            ready(pool, id)
        answer = pool.load("c", keep=["a", "b"])
        assert answer["state"] == WAITING and answer["wait_for"] in (["a"], ["b"])
        assert answer["reason"] == f"waits for the place of {answer['wait_for'][0]}"
        assert loaded(pool) == {"a", "b"}
        pool.load("c", keep=["a"])
        assert ready(pool, "c") and loaded(pool) == {"a", "c"}


def test_a_pinned_model_stays(start: Start) -> None:
    with start(a={"pin": True}) as pool:
        for id in "ab":
            pool.load(id)
            ready(pool, id)
        pool.use(["b"])
        pool.load("c")
        assert ready(pool, "c") and loaded(pool) == {"a", "c"} and row(pool, "a")["pinned"]
        pool.load("c", options=Options(pin=True))
        with pytest.raises(LimitExceeded, match=r"b does not fit into memory: .*; pinned: a, c"):
            pool.load("b")
        pool.load("c", options=Options(pin=False))
        pool.load("b")
        assert ready(pool, "b")


def test_of_a_group_one_is_loaded_at_a_time_however_much_room_there_is(start: Start) -> None:
    with start(room=Room(100 * GIB, 128 * GIB), a={"group": "big"}, b={"group": "big"}) as pool:
        for id in "ac":
            pool.load(id)
            ready(pool, id)
        pool.load("b")
        assert ready(pool, "b") and loaded(pool) == {"b", "c"}


def test_a_model_that_nobody_uses_leaves_after_its_time_but_not_while_it_works(start: Start) -> None:
    kind = Heavy()
    with start(kind, a={"idle_seconds": 0.2}, b={"idle_seconds": 0.2, "pin": True}) as pool:
        kind.work.add("a")
        for id in "ab":
            pool.load(id)
            ready(pool, id)
        time.sleep(1.5)
        assert loaded(pool) == {"a", "b"}
        kind.work.clear()
        until(lambda: loaded(pool) == {"b"})


def test_an_order_is_given_up_by_unloading(start: Start) -> None:
    kind = Heavy()
    with start(kind, b={"cost": 0.1}) as pool:
        for id in "ab":
            pool.load(id)
            ready(pool, id)
        kind.work.add("b")
        pool.load("c")
        assert pool.unload("c")["reason"] == "it was not loaded yet"
        kind.work.clear()
        until(lambda: loaded(pool) == {"a"})


def test_an_order_may_say_how_a_model_is_served(start: Start, home: Home) -> None:
    with start(a={"slots": 3, "context_tokens": 512}) as pool:
        client = EnginesClient(home)
        client.load("a")
        assert (ready(pool, "a")["slots"], row(pool, "a")["context_tokens"]) == (3, 512)
        with pytest.raises(Conflict, match="a is loaded with 3 requests of 512 tokens"):
            client.load("a", slots=2)
        client.load("b", context_tokens=256, slots=1, pin=True)
        made = ready(pool, "b")
        assert (made["slots"], made["context_tokens"], made["pinned"], made["ram_bytes"]) == (1, 256, True, 4 * GIB)
        client.use(["a", "nobody"])
        with pytest.raises(UsageError, match="slots"):
            client.load("c", slots=-1)
        with pytest.raises(UsageError, match="keep"):
            client.load("c", keep=[3])  # type: ignore[list-item]


def test_gpus_are_shared_out_and_told_to_the_engine(start: Start) -> None:
    kind = OnGpu()
    gpus = tuple(Gpu(n, f"GPU-{n}", "card", 8 * GIB, 8 * GIB) for n in range(2))
    with start(kind, room=Room(GIB, GIB, gpus), b={"gpus": [1]}) as pool:
        for id in "ab":
            pool.load(id)
        until(lambda: {"a", "b"} <= kind.seats.keys() and kind.seats["b"].port)
        assert (kind.seats["a"].gpus, kind.seats["a"].gpu_share) == ((0,), 0.5)
        assert kind.seats["b"].gpus == (1,) and row(pool, "b")["gpu_bytes"] == {"1": 4 * GIB}


def test_what_would_fit_is_told_beside_the_loaded_models_and_without_those_that_may_leave(
    start: Start, home: Home
) -> None:
    registry = Registry(home.models)
    seating = Seating(registry, Settings(), [Heavy()], home.run)
    candidate = seating.candidate(registry.get("c"))
    with start() as pool:
        for pins in ({}, {"a": True}, {"a": True, "b": True}):
            for id in "ab":
                pool.load(id, options=Options(pin=pins.get(id, False)))
                ready(pool, id)
            told = outlook(candidate, FOR_TWO, pool.rows())
            assert not told["fits"] and told["reason"].startswith("c does not fit into memory: it needs about 4096")
            assert told["longest_context"]["1"] == 0
            assert told["longest_context_alone"]["1"] == (0 if len(pins) == 2 else 2048)
        assert outlook(seating.candidate(registry.get("a")), FOR_TWO, pool.rows())["fits"], "its own place is free"


def test_what_is_free_is_published_while_the_process_runs(start: Start, home: Home) -> None:
    with start() as pool:
        until(pool.devices.exists)
        assert json.loads(pool.devices.read_text()) == {"ram": 10 * GIB, "ram_total": 16 * GIB, "gpus": []}
    assert not pool.devices.exists()


def test_a_model_called_back_by_a_person_does_not_hold_up_who_waits_for_its_place(start: Start) -> None:
    kind = Heavy()
    with start(kind, b={"cost": 0.1}) as pool:
        for id in "ab":
            pool.load(id)
            ready(pool, id)
        kind.work.add("b")
        pool.load("c")
        pool.unload("b")
        assert pool.load("b")["state"] in ("ready", "draining")
        kind.work.clear()
        assert ready(pool, "c")
