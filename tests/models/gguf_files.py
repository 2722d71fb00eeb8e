"""Small GGUF files, written byte by byte so that each byte can be made wrong."""

from __future__ import annotations

import struct
from pathlib import Path

TEXT, UINT32, ARRAY = 8, 4, 9


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def number(key: str, value: int) -> bytes:
    return entry(key, UINT32, struct.pack("<I", value))


def array(key: str, kind: int, length: int, values: bytes) -> bytes:
    return entry(key, ARRAY, struct.pack("<IQ", kind, length) + values)


def tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def assemble(
    entries: list[bytes], tensors: list[bytes], data: int, *, version: int = 3, alignment: int = 32, fill: int = 0
) -> bytes:
    """A file of these parts, with `data` bytes of weights after the padding."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries)) + b"".join(entries) + b"".join(tensors)
    return head + b"\0" * (-len(head) % alignment) + bytes([fill]) * data


METADATA = [
    entry("general.architecture", TEXT, text("llama")),
    entry("general.license", TEXT, text("MIT")),
    number("llama.context_length", 2048),
    number("llama.embedding_length", 32),
    entry("tokenizer.chat_template", TEXT, text("{{ messages }}")),
    array("tokenizer.ggml.tokens", TEXT, 100, b"".join(text(f"t{n}") for n in range(100))),
    array("tokenizer.ggml.scores", 6, 100, struct.pack("<100f", *range(100))),
]
TENSORS = [tensor("output_norm.weight", (32,)), tensor("token_embd.weight", (32, 4), 8, 128)]


def good(fill: int = 0) -> bytes:
    """A sound file: 32 F32 weights (128 bytes) and 4 blocks of Q8_0 (136 bytes). `fill` makes other weights."""
    return assemble(METADATA, TENSORS, 128 + 160, fill=fill)


def write_good(path: Path, fill: int = 0) -> Path:
    path.write_bytes(good(fill))
    return path
