"""Who gets threads and memory, and what llama-server is told."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Unavailable
from inference.engines.devices import Gpu, Room
from inference.engines.engine import Seat
from inference.engines.llamacpp import LlamaCpp, find_server
from inference.engines.needs import Need, Part, Wish
from inference.engines.openings import free_port
from inference.engines.placement import (
    RESERVE_BYTES,
    Claim,
    Needs,
    Place,
    Plan,
    Resident,
    context_of,
    fit_awake,
    fit_memory,
    make_room,
    share_threads,
    unclaimed,
    what_fits,
)
from models.card import Card

GIB = 1 << 30


def card(id: str = "coder", *, embeds: bool = False, **fields: Any) -> Card:
    known: dict[str, Any] = {
        "architecture": "bert" if embeds else "llama", "parameters": 135_000_000, "context_tokens": 8192,
        "embedding_length": 576, "quantisation": "Q8_0", "sha256": "ab" * 32, "size_bytes": 145_000_000,
        "tasks": ("embedding",) if embeds else ("chat",), "pooling": "mean" if embeds else "",
    }  # fmt: skip
    return Card(id=id, **{**known, **fields})


# -- placement -------------------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=12), st.integers(1, 64))
def test_threads_of_all_engines_stay_within_the_budget_where_that_is_possible(kinds: list[bool], budget: int) -> None:
    cards = [card(f"m{n}", embeds=embeds) for n, embeds in enumerate(kinds)]
    shares = share_threads(cards, budget)
    assert set(shares) == {one.id for one in cards} and all(share >= 1 for share in shares.values())
    assert sum(shares.values()) <= max(budget, len(cards))
    writers = [shares[one.id] for one in cards if not one.embeds]
    assert not writers or max(writers) - min(writers) <= 1
    assert all(shares[one.id] == 1 for one in cards if one.embeds)
    if writers and budget >= len(cards):
        assert sum(shares.values()) == budget, "no core idles while somebody writes"


def needs(bytes: int) -> Needs:
    return lambda gpus: Need((Part("all", bytes // max(gpus, 1), "told"),))


def room(ram: int, *gpus: int) -> Room:
    return Room(ram, 64 * GIB, tuple(Gpu(n, f"GPU-{n}", "card", 24 * GIB, free) for n, free in enumerate(gpus)))


def test_a_model_fits_only_beside_what_is_kept_back() -> None:
    assert fit_memory("m", needs(100), room(RESERVE_BYTES + 100)).fits
    refused = fit_memory("m", needs(3 * GIB), room(2 * GIB))
    assert not refused.fits
    assert refused.reason == (
        "m does not fit into memory: it needs about 3072 MiB; 2048 MiB are free, 512 MiB of them kept back"
    )


def test_a_model_goes_on_as_few_gpus_as_hold_it_the_emptiest_first() -> None:
    one = fit_memory("m", needs(10 * GIB), room(0, 8 * GIB, 23 * GIB, 20 * GIB), on_gpu=True)
    assert one.fits and one.place.gpus == {1: 10 * GIB} and one.place.ram == 0
    two = fit_memory("m", needs(30 * GIB), room(0, 8 * GIB, 23 * GIB, 20 * GIB), on_gpu=True)
    assert two.place.gpus == {1: 15 * GIB, 2: 15 * GIB}
    none = fit_memory("m", needs(80 * GIB), room(0, 8 * GIB, 23 * GIB, 20 * GIB), on_gpu=True)
    assert not none.fits and none.reason == (
        "m does not fit on 2 GPUs: it needs about 40960 MiB of each; 20480 MiB are free, 491 MiB of them kept back"
    )


def test_only_gpus_that_are_allowed_count() -> None:
    assert fit_memory("m", needs(GIB), room(0, 8 * GIB, 9 * GIB), True, allowed=[0]).place.gpus == {0: GIB}
    refused = fit_memory("m", needs(GIB), room(0, 8 * GIB), True, allowed=[5])
    assert not refused.fits and "no" in refused.reason and "GPU" in refused.reason


def test_a_given_share_of_a_gpu_is_taken_whole_and_must_hold_the_need() -> None:
    assert fit_memory("m", needs(GIB), room(0, 23 * GIB), True, share=0.5).place.gpus == {0: 12 * GIB}
    assert not fit_memory("m", needs(13 * GIB), room(0, 23 * GIB), True, share=0.5).fits
    assert not fit_memory("m", needs(GIB), room(0, 8 * GIB), True, share=0.5).fits


def test_what_was_given_out_but_not_taken_yet_is_not_free() -> None:
    starting = Claim(Place(ram=6 * GIB, gpus={0: 5 * GIB}), ram_taken=2 * GIB)
    running = Claim(Place(ram=1 * GIB, gpus={0: 7 * GIB}), ram_taken=3 * GIB, gpus_taken=True)
    left = unclaimed(room(10 * GIB, 20 * GIB, 9 * GIB), [starting, running])
    assert (left.ram, [gpu.free for gpu in left.gpus]) == (6 * GIB, [15 * GIB, 9 * GIB])


# -- making room -----------------------------------------------------------------------------------------------------


def resident(model: str, gib: int, **more: Any) -> Resident:
    return Resident(model, Place(ram=gib * GIB), **{"cost": float(gib), **more})


def plan(gib: int, free: int, *residents: Resident, group: str = "") -> Plan:
    return make_room(
        "new",
        group,
        lambda there: fit_memory("new", needs(gib * GIB), there),
        room(free * GIB + RESERVE_BYTES),
        residents,
    )


def test_nobody_leaves_when_there_is_room() -> None:
    assert plan(2, 2, resident("a", 4)).leave == ()


def test_the_cheapest_set_leaves_even_where_it_is_not_the_smallest() -> None:
    one, two, three = resident("big", 8, cost=9), resident("x", 3, cost=2), resident("y", 3, cost=3)
    assert plan(5, 0, one, two, three).leave == ("x", "y")
    assert plan(5, 0, one, two, resident("y", 3, cost=8)).leave == ("big",)


def test_of_equal_ones_the_one_unused_for_longest_leaves() -> None:
    assert plan(2, 0, resident("a", 2, idle_seconds=5), resident("b", 2, idle_seconds=9)).leave == ("b",)


def on_gpu(model: str, gib: int, ram: int, **more: Any) -> Resident:
    """One that can sleep: 1 GiB of its GPU stays with it, and so much RAM is needed."""
    asleep = Place(ram * GIB, {0: GIB})
    return Resident(model, Place(gpus={0: gib * GIB}), **{"cost": float(gib), "asleep": asleep, **more})


def plan_on_gpu(gib: int, free: int, ram: int, *residents: Resident) -> Plan:
    there = Room(ram * GIB + RESERVE_BYTES, 64 * GIB, (Gpu(0, "GPU-0", "card", 50 * GIB, (free + 1) * GIB),))
    return make_room("new", "", lambda free: fit_memory("new", needs(gib * GIB), free, True), there, residents)


def test_one_that_can_sleeps_rather_than_leaves_as_long_as_ram_has_room_for_it() -> None:
    sleeper = on_gpu("a", 8, ram=6)
    assert (made := plan_on_gpu(7, 0, 6, sleeper)).rest == ("a",) and made.leave == () and made.goes == ("a",)
    assert plan_on_gpu(7, 0, 5, sleeper).leave == ("a",), "RAM has no room for its weights"
    assert plan_on_gpu(8, 0, 6, sleeper).leave == ("a",), "what it keeps of its GPU would be in the way"
    assert plan_on_gpu(7, 0, 6, on_gpu("a", 8, ram=6, kept=True)).wait_for == ("a",)


def test_sleep_is_cheaper_than_leaving() -> None:
    dear, cheap = on_gpu("dear", 8, ram=6, cost=8.0), on_gpu("cheap", 8, ram=6, cost=1.0, asleep=None)
    assert plan_on_gpu(7, 0, 6, dear, cheap).rest == ("dear",)
    assert plan_on_gpu(7, 0, 5, dear, cheap).leave == ("cheap",)
    both = plan_on_gpu(15, 0, 6, dear, cheap)
    assert (both.leave, both.rest) == (("cheap",), ("dear",))


def test_one_that_sleeps_needs_its_own_gpus_to_wake_up() -> None:
    full, asleep = Place(gpus={1: 8 * GIB}), Place(6 * GIB, {1: GIB})
    there = Room(0, 0, tuple(Gpu(n, f"GPU-{n}", "card", 50 * GIB, free * GIB) for n, free in ((0, 40), (1, 8))))
    assert fit_awake("m", full, asleep, there).fits and fit_awake("m", full, asleep, there).place == full
    tight = replace(there, gpus=(there.gpus[0], replace(there.gpus[1], free=7 * GIB)))
    refused = fit_awake("m", full, asleep, tight)
    assert not refused.fits and refused.reason == (
        "m, which sleeps, does not fit when awake: it needs about 7168 MiB more of GPU 1; 6144 MiB are free"
    )


def test_pinned_models_stay_and_are_named_when_they_are_in_the_way() -> None:
    assert plan(2, 0, resident("a", 2, pinned=True), resident("b", 9)).leave == ("b",)
    refused = plan(4, 1, resident("a", 4, pinned=True), resident("b", 2))
    assert not refused.fit.fits and refused.leave == () and refused.fit.reason.endswith("kept back; pinned: a")


def test_models_at_work_leave_only_when_nothing_else_would_do_and_are_waited_for() -> None:
    busy = resident("busy", 4, cost=1, kept=True)
    assert plan(4, 0, busy, resident("idle", 4, cost=9)).leave == ("idle",)
    waits = plan(4, 0, busy)
    assert waits.fit.fits and waits.wait_for == ("busy",)


def test_of_a_group_one_is_loaded_at_a_time() -> None:
    rival = resident("rival", 1, group="big")
    assert plan(1, 50, rival, resident("other", 1), group="big").leave == ("rival",)
    stuck = plan(1, 50, resident("rival", 1, group="big", pinned=True), group="big")
    assert not stuck.fit.fits and "group 'big'" in stuck.fit.reason and "rival" in stuck.fit.reason
    waits = plan(1, 50, resident("rival", 1, group="big", kept=True), group="big")
    assert waits.wait_for == ("rival",)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.booleans(), st.booleans()), max_size=15),
    st.integers(1, 30),
    st.integers(0, 5),
)
def test_whoever_leaves_makes_enough_room_and_nobody_leaves_in_vain(
    loaded: list[tuple[int, int, bool, bool]], gib: int, free: int
) -> None:
    residents = [
        resident(f"m{n}", size, cost=float(cost), pinned=pinned, kept=kept)
        for n, (size, cost, pinned, kept) in enumerate(loaded)
    ]
    made = plan(gib, free, *residents)
    sizes = {one.model: one.place.ram // GIB for one in residents}
    assert not {one.model for one in residents if one.pinned} & set(made.leave)
    movable = sum(sizes[one.model] for one in residents if not one.pinned)
    assert made.fit.fits == (free + movable >= gib)
    if made.fit.fits:
        assert free + sum(sizes[id] for id in made.leave) >= gib
        assert set(made.wait_for) == {one.model for one in residents if one.kept} & set(made.leave)
    else:
        assert made.leave == ()


# -- contexts --------------------------------------------------------------------------------------------------------


def test_the_longest_context_that_fits_is_found_for_each_number_of_requests() -> None:
    def fits(wish: Wish) -> bool:
        return wish.slots * wish.context_tokens <= 10_000

    wish = Wish(1, 0, "q8_0")
    assert what_fits(8192, fits, wish) == {1: 8192, 2: 4864, 4: 2304, 8: 1024, 16: 512}
    assert what_fits(100, fits, wish)[1] == 100 and what_fits(8192, lambda wish: False, wish)[1] == 0
    assert what_fits(8192, lambda asked: asked.cache_type == "q8_0", wish)[1] == 8192, "all else is as wished"


@pytest.mark.parametrize(
    ("trained", "embeds", "wanted", "given"),
    [
        (8192, False, 4096, 4096), (2048, False, 4096, 2048), (0, False, 4096, 4096), (512, True, 4096, 512),
        (512, True, 128, 512), (0, True, 4096, 512), (2**40, True, 4096, 4096),
    ],
)  # fmt: skip
def test_context_is_what_is_wanted_within_what_was_trained(trained: int, embeds: bool, wanted: int, given: int) -> None:
    assert context_of(card(embeds=embeds, context_tokens=trained), wanted) == given


# -- llama-server's command ------------------------------------------------------------------------------------------


@pytest.fixture
def seat(tmp_path: Path) -> Seat:
    return Seat(card(), tmp_path / "m.gguf", 4711, "secret", tmp_path / "m.key", 3, 4, 1024, tmp_path)


def option(argv: tuple[str, ...], name: str) -> str:
    return argv[argv.index(name) + 1]


def test_a_writers_command(seat: Seat) -> None:
    argv = LlamaCpp().argv(seat)
    assert Path(argv[0]).name == "llama-server" and os.access(argv[0], os.X_OK)
    assert option(argv, "--threads") == option(argv, "--threads-batch") == "3"
    assert (option(argv, "--parallel"), option(argv, "--ctx-size")) == ("4", "4096")
    assert option(argv, "--host") == "127.0.0.1" and "--offline" in argv and "--jinja" in argv
    assert "secret" not in argv and option(argv, "--api-key-file") == str(seat.key_file)
    assert "--embedding" not in argv


def test_an_engine_shares_cores_politely_and_sees_nothing_of_ours(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_ARG_THREADS", "64")
    monkeypatch.setenv("APPLIANCE_KEY", "secret")
    env = LlamaCpp().env(seat)
    assert env["OMP_WAIT_POLICY"] == "passive" and not {"LLAMA_ARG_THREADS", "APPLIANCE_KEY"} & set(env)


def test_an_embedders_command_takes_each_text_in_one_piece(seat: Seat) -> None:
    argv = LlamaCpp().argv(replace(seat, card=card(embeds=True), context_tokens=512))
    assert option(argv, "--pooling") == "mean" and "--embedding" in argv
    assert option(argv, "--batch-size") == option(argv, "--ubatch-size") == "512"
    reranker = LlamaCpp().argv(replace(seat, card=card(embeds=True, tasks=("rerank",), pooling="rank")))
    assert "--rerank" in reranker and "--pooling" not in reranker


def test_a_missing_server_is_told_with_its_remedy(seat: Seat, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no llama-server at") as caught:
        LlamaCpp(str(tmp_path / "none")).argv(seat)
    assert "engines.llama_server" in caught.value.hint
    assert find_server().is_file()


def test_an_engine_that_does_not_listen_does_not_answer_and_says_so(seat: Seat) -> None:
    for one in (card(), card(embeds=True), card(embeds=True, tasks=("rerank",))):
        with pytest.raises(Unavailable, match="nothing listens there"):
            LlamaCpp().answers(replace(seat, card=one, port=free_port()))
        assert LlamaCpp().busy(replace(seat, card=one, port=free_port())) is False
