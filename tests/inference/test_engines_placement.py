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
from inference.engines.engine import Seat
from inference.engines.llamacpp import LlamaCpp, find_server
from inference.engines.placement import RESERVE_BYTES, context_of, fit_memory, share_threads
from inference.engines.pool import free_port
from models.card import Card


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


def test_a_model_fits_only_beside_what_is_kept_back() -> None:
    assert fit_memory("m", 100, RESERVE_BYTES + 100).fits
    refused = fit_memory("m", 3 << 30, 2 << 30)
    assert not refused.fits
    assert refused.reason == (
        "m does not fit into memory: it needs about 3072 MiB; 2048 MiB are free, 512 of them kept back"
    )


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


def test_memory_grows_with_slots_and_context_for_writers_alone() -> None:
    engine = LlamaCpp()
    assert engine.memory_bytes(card(), 8, 4096) > engine.memory_bytes(card(), 4, 4096) > card().size_bytes
    assert engine.memory_bytes(card(embeds=True), 8, 4096) == engine.memory_bytes(card(embeds=True), 1, 512)


def test_an_engine_that_does_not_listen_does_not_answer(seat: Seat) -> None:
    for one in (card(), card(embeds=True), card(embeds=True, tasks=("rerank",))):
        assert LlamaCpp().answers(replace(seat, card=one, port=free_port())) is False
        assert LlamaCpp().busy(replace(seat, card=one, port=free_port())) is False
