"""What headers and configurations of published models say about their shape."""

from __future__ import annotations

import pytest

from appliance.errors import VerificationFailed
from models.gguf import Array, Header
from models.shape import MAX_LAYERS, Shape
from tests.models.real_shapes import CONFIG, GGUF, header

KEPT_PER_TOKEN = {
    "llama-3-8b": 32 * 2 * 8 * 128,
    "qwen3-8b": 36 * 2 * 8 * 128,
    "qwen3-30b-a3b": 48 * 2 * 4 * 128,
    "mistral-7b": 32 * 2 * 8 * 128,
    "gemma-3-12b": 48 * 2 * 8 * 256,
    "deepseek-v2-lite": 27 * (512 + 64),
    "qwen3-next-80b": 12 * 2 * 2 * 256,
    "gpt-oss-20b": 24 * 2 * 8 * 64,
    "all-minilm": 0,
}


def kept(shape: Shape) -> int:
    return sum(sum(shape.kept(layer)) for layer in range(shape.layers))


@pytest.mark.parametrize("model", KEPT_PER_TOKEN)
def test_both_formats_give_the_same_shape(model: str) -> None:
    one, other = Shape.of_gguf(GGUF[model]), Shape.of_config(CONFIG[model])
    assert kept(one) == kept(other) == KEPT_PER_TOKEN[model]
    same = ("layers", "width", "heads", "windows", "experts", "experts_used", "causal", "latent", "state_size")
    for field in same:
        assert getattr(one, field) == getattr(other, field), field
    assert one.context_tokens == other.context_tokens


def test_numbers_are_read_where_they_lie() -> None:
    shape = Shape.of_gguf(GGUF["llama-3-8b"])
    assert (shape.layers, shape.width, shape.heads, shape.vocabulary) == (32, 4096, 32, 128_256)
    assert shape.kv_heads == (8,) * 32 and (shape.key_size, shape.value_size) == (128, 128)
    assert shape.windows == (0,) * 32 and shape.causal and not shape.latent


def test_one_gemma_layer_in_six_sees_the_whole_context() -> None:
    shape = Shape.of_gguf(GGUF["gemma-3-12b"])
    assert shape.windows[:7] == (1024, 1024, 1024, 1024, 1024, 0, 1024) and shape.windows.count(0) == 8


def test_latent_attention_keeps_one_vector_for_all_heads() -> None:
    assert Shape.of_gguf(GGUF["deepseek-v2-lite"]).kept(0) == (576, 0)
    old = Shape.of_gguf(GGUF["deepseek-v2-lite, as converted before latent caches"])
    assert not old.latent and old.kept(0) == (16 * 192, 16 * 128)


def test_layers_without_attention_keep_a_state() -> None:
    shape = Shape.of_gguf(GGUF["qwen3-next-80b"])
    assert shape.kv_heads[:5] == (0, 0, 0, 2, 0)
    assert shape.state_size == 36 * (128 * 4096 + 3 * (4096 + 2 * 16 * 128))
    marked = Shape.of_gguf(
        header("hybrid", 10, block_count=3, embedding_length=8, attention__head_count=2,
               attention__recurrent_layers=Array(3, (True, False, True)))
    )  # fmt: skip
    assert marked.kv_heads == (0, 2, 0)


def test_heads_may_differ_from_layer_to_layer() -> None:
    lists = {"attention__head_count": Array(3, (4, 8, 8)), "attention__head_count_kv": Array(3, (1, 2, 0))}
    shape = Shape.of_gguf(header("odd", 10, block_count=3, embedding_length=64, **lists))
    assert shape.heads == 8 and shape.kv_heads == (1, 2, 0)


def test_a_list_that_was_not_kept_to_its_end_counts_as_its_largest() -> None:
    long = Array(80, (1, *[4] * 63))
    shape = Shape.of_gguf(
        header("odd", 10, block_count=80, embedding_length=64, attention__head_count=8, attention__head_count_kv=long)
    )
    assert shape.kv_heads == (1, *[4] * 79)


def test_windows_marked_layer_by_layer_count_before_what_is_known() -> None:
    marks = Array(4, (True, False, False, True))
    numbers = {"attention__head_count": 1, "attention__sliding_window": 7, "attention__sliding_window_pattern": marks}
    shape = Shape.of_gguf(header("gemma3", 10, block_count=4, embedding_length=8, **numbers))
    assert shape.windows == (7, 0, 0, 7)


def test_a_window_of_an_architecture_not_known_to_use_it_is_no_saving() -> None:
    numbers = {"attention__head_count": 1, "attention__sliding_window": 7}
    assert Shape.of_gguf(header("phi3", 10, block_count=2, embedding_length=8, **numbers)).windows == (0, 0)


def test_what_a_configuration_leaves_to_defaults_is_filled_in() -> None:
    shape = Shape.of_config(CONFIG["gemma-3-4b"], parameters=4, weight_bytes=8)
    assert (shape.heads, shape.kv_heads[0], shape.key_size, shape.vocabulary) == (8, 4, 256, 262_208)
    assert (shape.parameters, shape.weight_bytes) == (4, 8)
    silent = Shape.of_config({"model_type": "new", "num_hidden_layers": 2, "hidden_size": 256})
    assert silent.kv_heads == (4, 4) and silent.key_size == 64


def test_a_window_in_a_configuration_is_that_of_every_layer_unless_it_says_otherwise() -> None:
    assert set(Shape.of_config(CONFIG["mistral-7b of the first edition"]).windows) == {4096}
    assert set(Shape.of_config(CONFIG["mistral-7b"]).windows) == {0}
    unused = {**CONFIG["mistral-7b of the first edition"], "use_sliding_window": False}
    assert set(Shape.of_config(unused).windows) == {0}


def test_parts_of_a_split_file_are_counted_together() -> None:
    numbers = {"block_count": 2, "embedding_length": 64, "attention__head_count": 2}
    one, two = header("llama", 10, 3200, **numbers), header("", 0, 6400)
    shape = Shape.of_gguf(one, two)
    assert (shape.parameters, shape.weight_bytes) == (9600, 9600 // 32 * 34)


@pytest.mark.parametrize("layers", [0, -1, MAX_LAYERS + 1, 1 << 62])
def test_a_file_without_a_believable_number_of_layers_has_no_shape(layers: int) -> None:
    with pytest.raises(VerificationFailed, match="neither what it is nor how large"):
        Shape.of_gguf(header("llama", 10, block_count=layers))
    with pytest.raises(VerificationFailed):
        Shape.of_config({"model_type": "llama", "num_hidden_layers": layers})
    with pytest.raises(VerificationFailed):
        Shape.of_gguf(Header(3, {}, (), 32, 0, 0))


@pytest.mark.parametrize("value", [-5, 1 << 50, True, 3.5, None, "8", [1]])
def test_odd_values_in_a_configuration_count_as_unsaid(value: object) -> None:
    shape = Shape.of_config({**CONFIG["llama-3-8b"], "num_key_value_heads": value, "sliding_window": value})
    assert shape.kv_heads[0] == 32 and shape.windows[0] == 0
