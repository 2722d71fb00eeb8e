"""The shape of a model: the numbers of its architecture that decide how much memory it takes.

Made from a GGUF header or from a Hugging Face `config.json`, without the weights. What a file leaves out is filled in
the way its engines do (heads without groups, no window); where a file is silent about something that only some engines
know, the larger need is taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from appliance.errors import VerificationFailed
from appliance.work import Noun
from models.gguf import Array, Header, read_header

MAX_LAYERS = 1024
"""The largest open models have some 130; a file that claims more than this would only cost time."""
LARGEST = 1 << 40
"""No dimension, count or rank of any model comes near."""
WINDOWED: Mapping[str, tuple[int, bool]] = {
    "gemma2": (2, False), "gemma3": (6, False), "gemma3_text": (6, False), "gemma-embedding": (6, False),
    "gemma3n": (5, False), "gemma3n_text": (5, False), "gpt-oss": (2, False), "gpt_oss": (2, False),
    "cohere2": (4, False), "cohere2moe": (4, True), "exaone4": (4, False), "exaone-moe": (4, False),
    "olmo2": (4, False), "olmo3": (4, False), "llama4": (4, False), "llama4_text": (4, False), "afmoe": (4, False),
    "plamo3": (8, False), "smallthinker": (4, True), "modern-bert": (3, True),
}  # fmt: skip
"""Architecture → one layer in so many sees the whole context, and whether it is the first of them or the last.

From llama.cpp's loaders; it counts only where the file names a window and no layers of its own."""
STATEFUL_INTERVAL = 4
"""One layer in so many attends in models whose other layers keep a state, unless the file says otherwise."""
BIDIRECTIONAL = frozenset({"mpnet", "deberta-v2", "electra", "gemma-embedding", "t5encoder"})
"""Encoders without "bert" in their name. They read a text at once and keep nothing of it."""
STATEFUL = frozenset({"linear_attention", "mamba", "recurrent", "conv"})
"""Words of `layer_types` for layers that keep a state instead of keys and values."""
WINDOW_WORDS = frozenset({"sliding_attention", "chunked_attention"})
UNSAID: Mapping[str, Mapping[str, Any]] = {
    "gemma3_text": {
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262_208,
        "max_position_embeddings": 131_072, "sliding_window_pattern": 6,
    },
}  # fmt: skip
"""What published files of a model type leave to the defaults of its reader."""
SMALL_HEAD = 64
"""Numbers in a head where a file does not say how many heads there are: as many heads as any model has."""


class Shape(Noun):
    """One model's dimensions. Lists have one entry a layer."""

    architecture: str
    layers: int
    width: int = Field(description="numbers that stand for one token between two layers")
    heads: int = Field(description="query heads, the most in any layer")
    kv_heads: tuple[int, ...] = Field(description="heads that keep keys and values; 0 where a layer does not attend")
    windows: tuple[int, ...] = Field(description="tokens back that a layer sees; 0 for all of them")
    key_size: int = Field(description="numbers in one head's key")
    value_size: int = Field(description="numbers in one head's value")
    kv_rank: int = Field(0, description="of latent attention (MLA): numbers kept for all heads together; 0 for none")
    rope_size: int = Field(0, description="of latent attention: numbers of position kept beside them")
    state_size: int = Field(0, description="numbers that all layers without attention keep for one request")
    vocabulary: int = 0
    context_tokens: int = Field(0, description="longest context it was trained for; 0 when the file does not say")
    experts: int = Field(0, description="experts of a layer; 0 for a dense model")
    experts_used: int = Field(0, description="experts that work on one token")
    causal: bool = Field(True, description="it writes; false for encoders, which keep no keys and values")
    parameters: int = 0
    weight_bytes: int = Field(0, description="bytes of all tensors as stored")

    @property
    def latent(self) -> bool:
        """Whether one compressed vector stands for all heads' keys and values (DeepSeek's MLA)."""
        return self.kv_rank > 0

    def kept(self, layer: int) -> tuple[int, int]:
        """Numbers that a layer keeps for one token, as keys and as values."""
        if not self.causal or not self.kv_heads[layer]:
            return 0, 0
        if self.latent:
            return self.kv_rank + self.rope_size, 0
        return self.kv_heads[layer] * self.key_size, self.kv_heads[layer] * self.value_size

    @classmethod
    def of_gguf(cls, *parts: Header) -> Self:
        """Of a GGUF file, or of all parts of a split one, in their order. Raises VerificationFailed."""
        first, tensors = parts[0], [tensor for part in parts for tensor in part.tensors]
        read = _Metadata(first)
        latent = bool(read.number("attention.key_length_mla"))
        heads = read.each("attention.head_count", 0)
        width, most = read.number("embedding_length"), max(heads, default=0)
        head_size = width // most if most else 0
        grouped = read.each("attention.head_count_kv", most)
        kv_heads = [own if kept else 0 for own, kept in zip(grouped, _attending(read), strict=True)]
        key, value = ("key_length_mla", "value_length_mla") if latent else ("key_length", "value_length")
        tokens = first.metadata.get("tokenizer.ggml.tokens")
        causal = first.metadata.get(f"{read.architecture}.attention.causal")
        return cls(
            architecture=read.architecture,
            layers=read.layers,
            width=width,
            heads=most,
            kv_heads=tuple(kv_heads),
            windows=_windows(read.architecture, read.layers, read.number("attention.sliding_window"), read.pattern()),
            key_size=read.number(f"attention.{key}") or head_size,
            value_size=read.number(f"attention.{value}") or head_size,
            kv_rank=read.number("attention.kv_lora_rank") if latent else 0,
            rope_size=read.number("rope.dimension_count") if latent else 0,
            state_size=_state(read) * kv_heads.count(0),
            vocabulary=tokens.length if isinstance(tokens, Array) else read.number("vocab_size"),
            context_tokens=read.number("context_length"),
            experts=read.number("expert_count"),
            experts_used=read.number("expert_used_count"),
            causal=causal if isinstance(causal, bool) else not _reads_only(read.architecture),
            parameters=sum(tensor.elements for tensor in tensors),
            weight_bytes=sum(tensor.size for tensor in tensors),
        )

    @classmethod
    def of_config(cls, config: Mapping[str, Any], parameters: int = 0, weight_bytes: int = 0) -> Self:
        """Of a parsed `config.json`; what the tensors hold is counted by the caller. Raises VerificationFailed."""
        read = _Config(config)
        heads = read.number("num_attention_heads", "n_head", "n_heads") or read.width // SMALL_HEAD
        head_size = read.number("head_dim") or (read.width // heads if heads else 0)
        rank, rope = read.number("kv_lora_rank"), read.number("qk_rope_head_dim")
        grouped = read.number("num_key_value_heads", "num_kv_heads") or (1 if read.raw.get("multi_query") else heads)
        kv_heads = tuple(grouped if kind not in STATEFUL else 0 for kind in read.kinds())
        return cls(
            architecture=read.architecture,
            layers=read.layers,
            width=read.width,
            heads=heads,
            kv_heads=kv_heads,
            windows=read.windows(),
            key_size=read.number("qk_nope_head_dim") + rope if rank else head_size,
            value_size=read.number("v_head_dim") or head_size,
            kv_rank=rank,
            rope_size=rope if rank else 0,
            state_size=read.state() * kv_heads.count(0),
            vocabulary=read.number("vocab_size"),
            context_tokens=read.number("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"),
            experts=read.number("num_experts", "num_local_experts", "n_routed_experts"),
            experts_used=read.number("num_experts_per_tok", "moe_topk"),
            causal=read.raw.get("is_decoder") is True or not _reads_only(read.architecture),
            parameters=parameters,
            weight_bytes=weight_bytes,
        )


def read_shape(
    format: str, path: Path, parts: Sequence[str] = (), parameters: int = 0, weight_bytes: int = 0
) -> Shape | None:
    """The shape of a model of the box; None for formats without files to tell it.

    `path` is what an engine opens: the (first) GGUF file or the folder. `parts` are the names of all GGUF files when
    there are several. The last two count for safetensors, whose configuration does not know them.

    Raises:
        VerificationFailed: the files are not whole, or do not say how large the model is.
        NotFound: they are not there.
    """
    if format == "gguf":
        files = [path.parent / part for part in parts if part.endswith(".gguf")]
        return Shape.of_gguf(*(read_header(file) for file in files or [path]))
    if format != "safetensors":
        return None
    try:
        config = json.loads((path / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise VerificationFailed(f"cannot read {path / 'config.json'}: {error}", "import the model again") from error
    return Shape.of_config(config if isinstance(config, dict) else {}, parameters, weight_bytes)


class _Metadata:
    """The numbers of one architecture in a GGUF header."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self.architecture = header.architecture
        self.layers = _layers(self.architecture, self.number("block_count"))

    def number(self, key: str) -> int:
        value = self._header.number(f"{self.architecture}.{key}")
        return value if 0 <= value < LARGEST else 0

    def each(self, key: str, default: int) -> list[int]:
        """The number of each layer. A reader keeps only the start of long lists: the rest counts as the largest."""
        value = self._header.metadata.get(f"{self.architecture}.{key}")
        if not isinstance(value, Array):
            return [self.number(key) or default] * self.layers
        known = [max(0, int(entry)) for entry in value.first if isinstance(entry, int)][: self.layers]
        known = [entry if entry < LARGEST else 0 for entry in known]
        return known + [max(known, default=default)] * (self.layers - len(known))

    def flags(self, key: str) -> list[bool]:
        """Which layers a list of yes and no marks; a layer it does not reach is not marked. Empty without a list."""
        value = self._header.metadata.get(f"{self.architecture}.{key}")
        if not isinstance(value, Array):
            return []
        known = [bool(entry) for entry in value.first][: self.layers]
        return known + [False] * (self.layers - len(known))

    def pattern(self) -> Sequence[bool] | int:
        """Which layers have a window: a list, one in so many that has none, or 0 where the file is silent."""
        return self.flags("attention.sliding_window_pattern") or self.number("attention.sliding_window_pattern")


class _Config:
    """A `config.json`; the text model's part of it where it has several."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        inner = config.get("text_config")
        said: dict[str, Any] = {**config, **inner} if isinstance(inner, dict) else dict(config)
        name = said.get("model_type")
        self.architecture = name if isinstance(name, str) else ""
        self.raw: dict[str, Any] = {**UNSAID.get(self.architecture, {}), **said}
        self.layers = _layers(self.architecture, self.number("num_hidden_layers", "n_layer", "n_layers", "num_layers"))
        self.width = self.number("hidden_size", "n_embd", "d_model")

    def number(self, *names: str) -> int:
        found = (self.raw.get(name) for name in names)
        return next((value for value in found if type(value) is int and 0 < value < LARGEST), 0)

    def kinds(self) -> list[str]:
        """What each layer is: a word of `layer_types`, or "" where nothing is said."""
        listed = self.raw.get("layer_types") or self.raw.get("layers_block_type")
        kinds = [str(kind) for kind in listed] if isinstance(listed, list) else []
        if not kinds and (interval := self.number("full_attention_interval")):
            kinds = ["" if (n + 1) % interval == 0 else "linear_attention" for n in range(self.layers)]
        return kinds[: self.layers] + [""] * (self.layers - len(kinds))

    def windows(self) -> tuple[int, ...]:
        window = self.number("sliding_window", "attention_chunk_size", "local_attention")
        if self.raw.get("use_sliding_window") is False:
            window = 0
        kinds = self.kinds()
        if WINDOW_WORDS.intersection(kinds):
            return tuple(window if kind in WINDOW_WORDS else 0 for kind in kinds)
        pattern = self.number("sliding_window_pattern")
        if not pattern and self.architecture not in WINDOWED and window:
            return (window,) * self.layers
        return _windows(self.architecture, self.layers, window, pattern)

    def state(self) -> int:
        """Numbers that one layer without attention keeps for a request."""
        heads, value = self.number("linear_num_value_heads"), self.number("linear_value_head_dim")
        keys, key = self.number("linear_num_key_heads"), self.number("linear_key_head_dim")
        taps = max(0, self.number("linear_conv_kernel_dim") - 1)
        return heads * value * key + taps * (heads * value + 2 * keys * key)


def _layers(architecture: str, count: int) -> int:
    if not architecture or not 0 < count <= MAX_LAYERS:
        raise VerificationFailed(
            f"the model says neither what it is nor how large ({architecture or 'no architecture'}, {count} layers)",
            "copy the model again from its source",
        )
    return count


def _attending(read: _Metadata) -> list[bool]:
    """Which layers attend; the others keep a state."""
    if marked := read.flags("attention.recurrent_layers"):
        return [not stateful for stateful in marked]
    if not read.number("ssm.inner_size"):
        return [True] * read.layers
    kv_heads = read.each("attention.head_count_kv", 0)
    if 0 in kv_heads:
        return [bool(own) for own in kv_heads]
    interval = read.number("full_attention_interval") or STATEFUL_INTERVAL
    return [(n + 1) % interval == 0 for n in range(read.layers)]


def _state(read: _Metadata) -> int:
    """Numbers that one layer without attention keeps for a request: its state, and the taps of its convolution."""
    inner, state, groups = (read.number(f"ssm.{key}") for key in ("inner_size", "state_size", "group_count"))
    return inner * state + max(0, read.number("ssm.conv_kernel") - 1) * (inner + 2 * groups * state)


def _windows(architecture: str, layers: int, window: int, pattern: Sequence[bool] | int) -> tuple[int, ...]:
    """The window of each layer. Models that name one and are not known to use it see everything."""
    if not isinstance(pattern, int):
        return tuple(window if marked else 0 for marked in pattern)
    known, first = WINDOWED.get(architecture, (0, False))
    every = pattern or known
    if not every or not window:
        return (0,) * layers
    whole = 0 if first else every - 1
    return tuple(0 if n % every == whole else window for n in range(layers))


def _reads_only(architecture: str) -> bool:
    return "bert" in architecture or architecture in BIDIRECTIONAL
