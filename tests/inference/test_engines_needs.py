"""How much memory published models take, in figures that can be worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from appliance.errors import UsageError
from inference.engines.needs import CACHE_BYTES, FRAMEWORK, PROMPT_CACHE, SERVER, Need, Wish, llamacpp_need, vllm_need
from models.shape import Shape
from tests.models.real_shapes import CONFIG, GGUF

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SHAPES = {name: Shape.of_gguf(header) for name, header in GGUF.items()}
CONFIGS = {name: Shape.of_config(config) for name, config in CONFIG.items()}


def part(need: Need, what: str) -> int:
    return sum(one.bytes for one in need.parts if one.what == what)


def cache(need: Need) -> int:
    return sum(one.bytes for one in need.parts if one.what.startswith("cache"))


@pytest.mark.parametrize(
    ("model", "slots", "context", "expected"),
    [
        # 32 layers × 8 heads × 128 × 2 (key and value) × 2 bytes = 128 KiB a token
        ("llama-3-8b", 4, 8192, 4 * 8192 * 128 * KIB),
        ("llama-3-8b", 1, 8192, 1 * GIB),
        ("mistral-7b", 1, 32_768, 4 * GIB),
        # 36 × 8 × 128 × 2 × 2 = 144 KiB
        ("qwen3-8b", 1, 4096, 576 * MIB),
        # 48 × 4 × 128 × 2 × 2 = 96 KiB: experts keep nothing
        ("qwen3-30b-a3b", 1, 4096, 384 * MIB),
        # 8 layers see 8192 tokens, 40 layers 1024 and a batch of 512; 8 × 256 × 2 × 2 = 8 KiB a token and layer
        ("gemma-3-12b", 1, 8192, 8 * 8192 * 8 * KIB + 40 * 1536 * 8 * KIB),
        # below the window there is nothing to save
        ("gemma-3-12b", 2, 1024, 2 * 48 * 1024 * 8 * KIB),
        # 27 layers × (512 + 64) × 2 bytes
        ("deepseek-v2-lite", 1, 4096, 4096 * 27 * 576 * 2),
        # 27 × 16 heads × (192 + 128) × 2 bytes: nine times as much
        ("deepseek-v2-lite, as converted before latent caches", 1, 4096, 1080 * MIB),
        # 12 of 48 layers × 2 × 256 × 2 × 2 = 24 KiB
        ("qwen3-next-80b", 1, 4096, 96 * MIB),
        # 12 layers see all, 12 see 128 and a batch, in 256s: 768; 8 × 64 × 2 × 2 = 2 KiB a token and layer
        ("gpt-oss-20b", 1, 4096, 12 * 4096 * 2 * KIB + 12 * 768 * 2 * KIB),
        ("all-minilm", 4, 512, 0),
    ],
)
def test_the_cache_of_llama_cpp(model: str, slots: int, context: int, expected: int) -> None:
    assert cache(llamacpp_need(SHAPES[model], Wish(slots, context))) == expected


@pytest.mark.parametrize(
    ("model", "gpus", "context", "expected"),
    [
        ("llama-3-8b", 1, 8192, 1 * GIB),
        ("llama-3-8b", 2, 8192, GIB // 2),
        # 8 heads on 16 GPUs: each keeps one
        ("llama-3-8b", 16, 8192, GIB // 8),
        ("qwen3-30b-a3b", 4, 4096, 96 * MIB),
        # a latent vector is on every GPU
        ("deepseek-v2-lite", 4, 4096, 4096 * 27 * 576 * 2),
        ("mistral-7b", 1, 32_768, 4 * GIB),
        # a window of 4096 with a batch of 8192 in blocks of 16, and one block more
        ("mistral-7b of the first edition", 1, 32_768, (12_288 + 16) * 128 * KIB),
        ("gemma-3-12b", 1, 8192, 48 * 8192 * 8 * KIB),
        ("all-minilm", 1, 512, 0),
    ],
)
def test_the_cache_of_vllm_on_each_gpu(model: str, gpus: int, context: int, expected: int) -> None:
    assert cache(vllm_need(CONFIGS[model], Wish(1, context), gpus)) == expected


@pytest.mark.parametrize(
    ("kind", "size"), [("q8_0", Fraction(17, 16)), ("q4_0", Fraction(9, 16)), ("f32", Fraction(4))]
)
def test_quantised_keys_and_values_count_with_their_scales(kind: str, size: Fraction) -> None:
    half = cache(llamacpp_need(SHAPES["llama-3-8b"], Wish(1, 8192)))
    assert cache(llamacpp_need(SHAPES["llama-3-8b"], Wish(1, 8192, kind))) == half * size / 2


def test_an_engine_refuses_a_cache_it_does_not_have() -> None:
    with pytest.raises(UsageError, match="no cache of type 'fp8'"):
        llamacpp_need(SHAPES["llama-3-8b"], Wish(1, 8192, "fp8"))
    with pytest.raises(UsageError, match="no cache of type 'q8_0'"):
        vllm_need(CONFIGS["llama-3-8b"], Wish(1, 8192, "q8_0"))
    assert cache(vllm_need(CONFIGS["llama-3-8b"], Wish(1, 8192, "fp8"))) == GIB // 2
    assert set(CACHE_BYTES) == {"f32", "f16", "bf16", "fp8", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"}


def test_all_of_llama_cpp() -> None:
    shape = SHAPES["llama-3-8b"].with_(weight_bytes=8 * GIB)
    need = llamacpp_need(shape, Wish(4, 8192))
    compute = 512 * ((128_256 + 8 * 4096) * 4 + 8192 * 2)
    assert need.bytes == 8 * GIB + 4 * GIB + compute + PROMPT_CACHE + SERVER
    assert [row["what"] for row in need.rows()] == ["weights", "cache", "compute", "prompts", "server", "together"]
    assert need.rows()[1]["how"] == "4 × 8192 tokens × 32 layers × 2048 numbers × 2 bytes (f16)"
    assert need.rows()[-1]["bytes"] == need.bytes


def test_compute_buffers_cover_what_llama_server_took() -> None:
    """Its log said, for a Llama with 262 tokens: 5.51, 12.51 and 17.01 MiB; for MiniLM at 512 and 1024: 5.76, 12.53."""
    for width, context, took in ((256, 1024, 5.51), (256, 8192, 12.51), (1024, 1024, 17.01)):
        shape = SHAPES["llama-3-8b"].with_(width=width, vocabulary=262)
        assert took * MIB <= part(llamacpp_need(shape, Wish(1, context)), "compute") * 1.001 < 1.1 * took * MIB
    for context, took in ((512, 5.76), (1024, 12.53)):
        made = part(llamacpp_need(SHAPES["all-minilm"], Wish(4, context)), "compute")
        assert took * MIB <= made < 1.15 * took * MIB


def test_all_of_vllm() -> None:
    shape = CONFIGS["llama-3-8b"].with_(weight_bytes=16 * GIB)
    need = vllm_need(shape, Wish(8, 8192), gpus=2)
    compute = 8192 * 4096 * 16 + 8 * 128_256 * 4
    assert need.bytes == 8 * GIB + 4 * GIB + compute + FRAMEWORK


def test_states_of_layers_without_attention_count_for_each_request() -> None:
    need = llamacpp_need(SHAPES["qwen3-next-80b"], Wish(3, 4096))
    assert part(need, "states") == 3 * 4 * SHAPES["qwen3-next-80b"].state_size


def test_an_encoder_computes_a_whole_text_at_once_and_keeps_nothing() -> None:
    need = llamacpp_need(SHAPES["all-minilm"], Wish(4, 512))
    assert [one.what for one in need.parts] == ["weights", "compute", "server"]
    assert part(need, "compute") == 512 * (8 * 384 * 4 + 512 * 2)


def test_more_context_or_requests_never_need_less() -> None:
    for shape in (*SHAPES.values(), *CONFIGS.values()):
        for need in (llamacpp_need, vllm_need):
            sizes = [
                need(shape, Wish(slots, context)).bytes for slots in (1, 2, 8) for context in (256, 300, 4096, 16_384)
            ]
            assert all(size > 0 for size in sizes)
            for first in range(0, 12, 4):
                assert sizes[first : first + 4] == sorted(sizes[first : first + 4])
