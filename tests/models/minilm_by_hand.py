"""all-MiniLM-L6-v2 computed from the published weights with numpy alone: what the converted model is measured by.

Nothing here is shared with the conversion or with llama.cpp. BERT as published (Devlin et al. 2019): WordPiece on
lower-cased text without accents, post-layer-norm blocks, exact GELU; the sentence vector is the mean over all tokens.
"""

from __future__ import annotations

import json
import math
import unicodedata
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

Matrix = np.ndarray
_erf = np.vectorize(math.erf, otypes=[np.float64])
CJK = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))


class MiniLM:
    """The model in folder `source`, in double precision."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.weights = {name: w.astype(np.float64) for name, w in load_file(source / "model.safetensors").items()}
        self.config = json.loads((source / "config.json").read_text())

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        lines = (self.source / "vocab.txt").read_text(encoding="utf-8").splitlines()
        return {token: number for number, token in enumerate(lines)}

    def tokens(self, text: str) -> list[int]:
        """Token numbers with [CLS] and [SEP] around them."""
        pieces = [number for word in words(text) for number in self._pieces(word)]
        return [self.vocabulary["[CLS]"], *pieces, self.vocabulary["[SEP]"]]

    def vector(self, text: str) -> tuple[Matrix, float]:
        """The unit vector of `text`, and its length before."""
        numbers = self.tokens(text)
        mean = self._hidden(numbers).mean(axis=0)
        length = float(np.linalg.norm(mean))
        return mean / length, length

    def _pieces(self, word: str) -> list[int]:
        found, start = [], 0
        if len(word) > 100:
            return [self.vocabulary["[UNK]"]]
        while start < len(word):
            prefix = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if prefix + word[start:end] in self.vocabulary)
            end = next(ends, None)
            if end is None:
                return [self.vocabulary["[UNK]"]]
            found.append(self.vocabulary[prefix + word[start:end]])
            start = end
        return found

    def _hidden(self, numbers: list[int]) -> Matrix:
        table = "embeddings.{}_embeddings.weight"
        x = self.weights[table.format("word")][numbers]
        x = x + self.weights[table.format("position")][: len(numbers)] + self.weights[table.format("token_type")][0]
        x = self._normed(x, "embeddings.LayerNorm")
        for n in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layer.{n}."
            x = self._normed(x + self._attention(x, layer), layer + "attention.output.LayerNorm")
            inner = self._linear(x, layer + "intermediate.dense")
            inner = inner * 0.5 * (1.0 + _erf(inner / math.sqrt(2.0)))
            x = self._normed(x + self._linear(inner, layer + "output.dense"), layer + "output.LayerNorm")
        return x

    def _attention(self, x: Matrix, layer: str) -> Matrix:
        heads = self.config["num_attention_heads"]
        q, k, v = (
            self._linear(x, f"{layer}attention.self.{part}").reshape(len(x), heads, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = shares / shares.sum(axis=-1, keepdims=True) @ v
        return self._linear(mixed.transpose(1, 0, 2).reshape(len(x), -1), layer + "attention.output.dense")

    def _linear(self, x: Matrix, name: str) -> Matrix:
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def _normed(self, x: Matrix, name: str) -> Matrix:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.config["layer_norm_eps"])
        return centred / spread * self.weights[name + ".weight"] + self.weights[name + ".bias"]


def words(text: str) -> list[str]:
    """Lower-case words without accents; punctuation and Chinese characters stand alone."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    spaced = []
    for c in plain:
        if (c not in "\t\n\r" and unicodedata.category(c) in ("Cc", "Cf")) or c in "\0\ufffd":
            continue
        spaced.append(f" {c} " if stands_alone(c) else c)
    return "".join(spaced).split()


def stands_alone(c: str) -> bool:
    symbol = c.isascii() and c.isprintable() and not c.isalnum() and c != " "
    return symbol or unicodedata.category(c).startswith("P") or any(a <= ord(c) <= b for a, b in CJK)
