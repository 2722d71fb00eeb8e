"""Small safetensors files and whole model folders, written so that every part can be made wrong."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONFIG = {
    "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_size": 8, "max_position_embeddings": 4096,
    "vocab_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
}  # fmt: skip
TEMPLATE = "{% for tool in tools %}<tool_call>{% endfor %}{{ messages }}"


def header(tensors: Mapping[str, tuple[str, list[int], tuple[int, int]]], metadata: Any = None) -> bytes:
    entries: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    for name, (kind, shape, place) in tensors.items():
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": list(place)}
    return json.dumps(entries).encode()


def assemble(head: bytes, data: int, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(head) if length is None else length) + head + b"\1" * data


TENSORS = {"a.weight": ("BF16", [4, 8], (0, 64)), "b.bias": ("F32", [8], (64, 96))}


def good() -> bytes:
    """A sound file of 40 weights in 96 bytes."""
    return assemble(header(TENSORS, {"format": "pt"}), 96)


def write_folder(folder: Path, **changes: bytes | str | None) -> Path:
    """A sound model folder; `changes` replace files by name (dots as `__`), None leaves one out."""
    folder.mkdir(exist_ok=True)
    files: dict[str, bytes | str | None] = {
        "config.json": json.dumps(CONFIG),
        "generation_config.json": "{}",
        "tokenizer.json": json.dumps({"model": {"vocab": {}}}),
        "tokenizer_config.json": json.dumps({"chat_template": TEMPLATE}),
        "model.safetensors": good(),
        "README.md": "---\nlicense: apache-2.0\n---\nA model.",
        "picture.png": b"\x89PNG\r\n\0",
        ".gitattributes": "x",
        **{name.replace("__", "."): content for name, content in changes.items()},
    }
    for name, content in files.items():
        if content is not None:
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def write_shards(folder: Path) -> Path:
    """A sound folder in two shards with their index."""
    write_folder(folder, model__safetensors=None)
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    (folder / one).write_bytes(assemble(header({"a": ("F16", [2], (0, 4))}), 4))
    (folder / two).write_bytes(assemble(header({"b": ("F16", [3], (0, 6))}), 6))
    index = {"metadata": {"total_size": 10}, "weight_map": {"a": one, "b": two}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
