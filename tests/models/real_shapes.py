"""Shapes of published models, as their GGUF headers and their `config.json` give them (weights left out)."""

from __future__ import annotations

from typing import Any

from models.gguf import Array, Header, Tensor, Value


def header(architecture: str, vocabulary: int, weights: int = 0, **numbers: Value) -> Header:
    """A header with these numbers of the architecture; `__` stands for a dot. `weights` are Q8_0 ones."""
    metadata: dict[str, Value] = {
        "general.architecture": architecture,
        "tokenizer.ggml.tokens": Array(vocabulary, ("a", "b")),
        **{f"{architecture}.{key.replace('__', '.')}": value for key, value in numbers.items()},
    }
    tensors = (Tensor("all.weight", (weights,), "Q8_0", 0, weights // 32 * 34),) if weights else ()
    return Header(3, metadata, tensors, 32, 0, 0)


GGUF = {
    "llama-3-8b": header(
        "llama", 128_256, block_count=32, embedding_length=4096, context_length=8192, attention__head_count=32,
        attention__head_count_kv=8, rope__dimension_count=128,
    ),
    "qwen3-8b": header(
        "qwen3", 151_936, block_count=36, embedding_length=4096, context_length=40_960, attention__head_count=32,
        attention__head_count_kv=8, attention__key_length=128, attention__value_length=128,
    ),
    "qwen3-30b-a3b": header(
        "qwen3moe", 151_936, block_count=48, embedding_length=2048, context_length=40_960, attention__head_count=32,
        attention__head_count_kv=4, attention__key_length=128, attention__value_length=128, expert_count=128,
        expert_used_count=8,
    ),
    "mistral-7b": header(
        "llama", 32_768, block_count=32, embedding_length=4096, context_length=32_768, attention__head_count=32,
        attention__head_count_kv=8, rope__dimension_count=128,
    ),
    "gemma-3-12b": header(
        "gemma3", 262_144, block_count=48, embedding_length=3840, context_length=131_072, attention__head_count=16,
        attention__head_count_kv=8, attention__key_length=256, attention__value_length=256,
        attention__sliding_window=1024,
    ),
    "deepseek-v2-lite": header(
        "deepseek2", 102_400, block_count=27, embedding_length=2048, context_length=163_840, attention__head_count=16,
        attention__head_count_kv=1, attention__key_length=576, attention__value_length=512,
        attention__key_length_mla=192, attention__value_length_mla=128, attention__kv_lora_rank=512,
        rope__dimension_count=64, expert_count=64, expert_used_count=6,
    ),
    "deepseek-v2-lite, as converted before latent caches": header(
        "deepseek2", 102_400, block_count=27, embedding_length=2048, context_length=163_840, attention__head_count=16,
        attention__head_count_kv=16, attention__key_length=192, attention__value_length=128,
        attention__kv_lora_rank=512, rope__dimension_count=64, expert_count=64, expert_used_count=6,
    ),
    "qwen3-next-80b": header(
        "qwen3next", 151_936, block_count=48, embedding_length=2048, context_length=262_144, attention__head_count=16,
        attention__head_count_kv=2, attention__key_length=256, attention__value_length=256, ssm__conv_kernel=4,
        ssm__inner_size=4096, ssm__state_size=128, ssm__group_count=16, ssm__time_step_rank=32, expert_count=512,
        expert_used_count=10,
    ),
    "gpt-oss-20b": header(
        "gpt-oss", 201_088, block_count=24, embedding_length=2880, context_length=131_072, attention__head_count=64,
        attention__head_count_kv=8, attention__key_length=64, attention__value_length=64, attention__sliding_window=128,
        expert_count=32, expert_used_count=4,
    ),
    "all-minilm": header(
        "bert", 30_522, block_count=6, embedding_length=384, context_length=512, attention__head_count=12,
        attention__causal=False,
    ),
}  # fmt: skip

CONFIG: dict[str, dict[str, Any]] = {
    "llama-3-8b": {
        "model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 128_256, "max_position_embeddings": 8192,
    },
    "qwen3-8b": {
        "model_type": "qwen3", "num_hidden_layers": 36, "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936, "max_position_embeddings": 40_960,
        "sliding_window": None, "use_sliding_window": False,
    },
    "qwen3-30b-a3b": {
        "model_type": "qwen3_moe", "num_hidden_layers": 48, "hidden_size": 2048, "num_attention_heads": 32,
        "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151_936, "max_position_embeddings": 40_960,
        "num_experts": 128, "num_experts_per_tok": 8, "sliding_window": None, "use_sliding_window": False,
    },
    "mistral-7b": {
        "model_type": "mistral", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 32_768, "max_position_embeddings": 32_768, "sliding_window": None,
    },
    "mistral-7b of the first edition": {
        "model_type": "mistral", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 32_000, "max_position_embeddings": 32_768, "sliding_window": 4096,
    },
    "gemma-3-12b": {
        "model_type": "gemma3",
        "text_config": {
            "model_type": "gemma3_text", "num_hidden_layers": 48, "hidden_size": 3840, "num_attention_heads": 16,
            "num_key_value_heads": 8, "head_dim": 256, "sliding_window": 1024,
        },
        "vision_config": {"num_hidden_layers": 27},
    },
    "gemma-3-4b": {
        "model_type": "gemma3",
        "text_config": {
            "model_type": "gemma3_text", "num_hidden_layers": 34, "hidden_size": 2560, "sliding_window": 1024,
        },
    },
    "deepseek-v2-lite": {
        "model_type": "deepseek_v2", "num_hidden_layers": 27, "hidden_size": 2048, "num_attention_heads": 16,
        "num_key_value_heads": 16, "kv_lora_rank": 512, "q_lora_rank": None, "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 102_400, "max_position_embeddings": 163_840,
        "n_routed_experts": 64, "num_experts_per_tok": 6,
    },
    "qwen3-next-80b": {
        "model_type": "qwen3_next", "num_hidden_layers": 48, "hidden_size": 2048, "num_attention_heads": 16,
        "num_key_value_heads": 2, "head_dim": 256, "vocab_size": 151_936, "max_position_embeddings": 262_144,
        "full_attention_interval": 4, "linear_num_value_heads": 32, "linear_value_head_dim": 128,
        "linear_num_key_heads": 16, "linear_key_head_dim": 128, "linear_conv_kernel_dim": 4, "num_experts": 512,
        "num_experts_per_tok": 10,
    },
    "gpt-oss-20b": {
        "model_type": "gpt_oss", "num_hidden_layers": 24, "hidden_size": 2880, "num_attention_heads": 64,
        "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 201_088, "max_position_embeddings": 131_072,
        "sliding_window": 128, "num_local_experts": 32, "num_experts_per_tok": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 12,
    },
    "all-minilm": {
        "model_type": "bert", "num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12,
        "vocab_size": 30_522, "max_position_embeddings": 512,
    },
}  # fmt: skip
