"""Writes a small Llama with random weights that any llama.cpp can serve: chats, completions, schemas, tools.

It says nothing sensible, but it behaves like a model: it ends its answers and closes its strings. A random model would
never do so by itself, so one channel of the residual stream is constant (no block writes to it) and the output head
turns it into a bias per token: ends and closing brackets likely, bytes that are no text unlikely. The tokenizer is the
byte-level one of GPT-2 with three merges. The same arguments give the same bytes.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from gguf import GGUFWriter, LlamaFileType, TokenType

END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
MERGES = ["t h", "e r", "i n"]
TEMPLATE = (
    "{%- if tools %}<|im_start|>system\nTools: {{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content or '' }}"
    "{%- if message.tool_calls %}{{ message.tool_calls | tojson }}{% endif %}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_tiny_llama(
    path: Path,
    *,
    layers: int = 4,
    width: int = 256,
    context: int = 2048,
    seed: int = 7,
    template: str = TEMPLATE,
    split: int = 0,
    answer: str = "",
) -> Path:
    """Write the model at `path` (some 5 MB) and return it. An empty template makes a model that cannot chat.

    With `split` it goes into parts of so many tensors, named `<stem>-00001-of-0000N.gguf` beside `path`. With `answer`
    it says that word, an exclamation mark and no more to everything, unless a grammar makes it speak otherwise.
    """
    tokens = [*vocabulary(), *([answer] if answer else [])]
    writer = GGUFWriter(path, "llama", split_max_tensors=split)
    writer.add_name("tiny")
    writer.add_license("CC0-1.0")
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(len(tokens))
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // 4)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if t in (END, START, STOP) else TokenType.NORMAL for t in tokens])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(tokens.index(END))
    writer.add_eos_token_id(tokens.index(STOP))
    writer.add_add_bos_token(False)
    if template:
        writer.add_chat_template(template)
    made = tensors(tokens, layers, width, np.random.default_rng(seed))
    if answer:
        teach(made, tokens, ["\u010a", answer, "!", STOP])
    for name, weights in made.items():
        writer.add_tensor(name, weights.astype(np.float16 if weights.ndim == 2 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def vocabulary() -> list[str]:
    """All bytes as GPT-2 writes them, the merges, the three special tokens."""
    return [*byte_characters(), *(merge.replace(" ", "") for merge in MERGES), END, START, STOP]


def byte_characters() -> list[str]:
    """GPT-2's visible character for each byte."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    extra = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(extra)) for byte in range(256)]


def tensors(tokens: list[str], layers: int, width: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Random weights around one constant channel (number 0)."""

    def noise(rows: int, columns: int, size: float) -> np.ndarray:
        return random.standard_normal((rows, columns)) * size

    embedding = noise(len(tokens), width, 0.06)
    embedding[:, 0] = 1.0
    made = {"token_embd.weight": embedding}
    for n in range(layers):
        into = 1 / np.sqrt(width)
        for part, rows, columns in (
            ("attn_q", width, width), ("attn_k", width // 2, width), ("attn_v", width // 2, width),
            ("attn_output", width, width), ("ffn_gate", 2 * width, width), ("ffn_up", 2 * width, width),
            ("ffn_down", width, 2 * width),
        ):  # fmt: skip
            weights = noise(rows, columns, into)
            if part in ("attn_output", "ffn_down"):
                weights *= 0.06
                weights[0] = 0.0  # nothing is written to the constant channel
            elif part.startswith(("attn", "ffn")):
                weights[:, 0] = 0.0  # nor read from it
            made[f"blk.{n}.{part}.weight"] = weights
        made[f"blk.{n}.attn_norm.weight"] = np.ones(width)
        made[f"blk.{n}.ffn_norm.weight"] = np.ones(width)
    made["output_norm.weight"] = np.ones(width)
    head = noise(len(tokens), width, 1.5 / np.sqrt(width))
    # The constant comes out of the last norm as about 0.7 √width.
    head[:, 0] = np.array([bias(token) for token in tokens]) / (0.7 * np.sqrt(width))
    made["output.weight"] = head
    return made


def teach(made: dict[str, np.ndarray], tokens: list[str], chain: list[str]) -> None:
    """Make each token of the chain call for the next one: the head looks for what the last token's embedding is."""
    for token, following in pairwise(chain):
        known = made["token_embd.weight"][tokens.index(token)].copy()
        known[0] = 0.0  # the constant channel belongs to all tokens alike
        made["output.weight"][tokens.index(following)] += 3.0 * known / (known @ known)


def bias(token: str) -> float:
    """How much likelier than others a token is, in logits."""
    if token == STOP:
        return 4.0
    if token in ('"', "}", "]"):
        return 3.0
    if token in (END, START):
        return -20.0
    shown = token.replace("\u0120", " ")  # GPT-2's sign for a space
    return 0.0 if all(" " <= character <= "~" for character in shown) else -12.0
