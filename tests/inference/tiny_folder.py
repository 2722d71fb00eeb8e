"""Writes the small Llama of `tiny_model` as a folder of safetensors, as vLLM and others read it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.inference.tiny_model import END, MERGES, START, STOP, teach, tensors, vocabulary

TEMPLATE = (
    "{%- if tools %}<|im_start|>system\nTools: {{ tools | tojson }}. Answer with <tool_call>{...}</tool_call>"
    "<|im_end|>\n{% endif %}"
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content or '' }}"
    "{%- if message.tool_calls %}{{ message.tool_calls | tojson }}{% endif %}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Its mark of tool calls is the one of the `hermes` format."""
PLACES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip
"""Names of tensors: llama.cpp's → Hugging Face's."""


def write_tiny_folder(
    folder: Path,
    *,
    layers: int = 4,
    width: int = 256,
    context: int = 2048,
    seed: int = 7,
    template: str = TEMPLATE,
    answer: str = "",
) -> Path:
    """Write the model into `folder` (some 5 MB) and return it. The same arguments give the same bytes.

    With `answer` it says that word, an exclamation mark and no more, as the one of `tiny_model` does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokens = [*vocabulary(), *([answer] if answer else [])]
    made = tensors(tokens, layers, width, np.random.default_rng(seed))
    if answer:
        teach(made, tokens, ["\u010a", answer, "!", STOP])
    weights = {_place(name): values.astype(np.float16) for name, values in made.items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    texts = {
        "config.json": {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width,
            "num_hidden_layers": layers, "intermediate_size": 2 * width, "num_attention_heads": 4,
            "num_key_value_heads": 2, "hidden_act": "silu", "max_position_embeddings": context, "rms_norm_eps": 1e-5,
            "vocab_size": len(tokens), "tie_word_embeddings": False, "torch_dtype": "bfloat16",
            "bos_token_id": tokens.index(END), "eos_token_id": tokens.index(STOP),
        },
        "tokenizer.json": _tokenizer(tokens),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": STOP, "pad_token": END,
            "chat_template": template, "model_max_length": context, "clean_up_tokenization_spaces": False,
        },
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(json.dumps(text), encoding="utf-8")
    return folder


def _place(name: str) -> str:
    """The name of a tensor of llama.cpp, as Hugging Face has it."""
    if found := re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name):
        return f"model.layers.{found[1]}.{PLACES[found[2]]}.weight"
    return f"{PLACES[name.removesuffix('.weight')]}.weight"


def _tokenizer(tokens: list[str]) -> dict[str, object]:
    special = [token for token in tokens if token in (END, START, STOP)]
    bytes_as_text = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [
            {
                "id": tokens.index(token), "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True,
            }
            for token in special
        ],
        "pre_tokenizer": bytes_as_text, "decoder": bytes_as_text,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: n for n, token in enumerate(tokens)}, "merges": [merge.split(" ") for merge in MERGES],
        },
    }  # fmt: skip


def write_tiny_adapter(folder: Path, *, layers: int = 4, width: int = 256, rank: int = 8, seed: int = 3) -> Path:
    """Write a LoRA adapter that changes what the model says, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    weights = {}
    for n in range(layers):
        name = f"base_model.model.model.layers.{n}.mlp.down_proj"
        weights[f"{name}.lora_A.weight"] = random.standard_normal((rank, 2 * width)).astype(np.float32)
        weights[f"{name}.lora_B.weight"] = random.standard_normal((width, rank)).astype(np.float32)
    save_file(weights, folder / "adapter_model.safetensors", {"format": "pt"})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "tiny", "r": rank, "lora_alpha": 16,
        "lora_dropout": 0.0, "bias": "none", "target_modules": ["down_proj"], "inference_mode": True,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
