"""How much memory a model takes, engine by engine, as sums that a person can check. Pure.

What a model needs is weights, keys and values of every request at its full context, and buffers. The first two are
exact; buffers are what the engines' own allocation comes to, seen from outside, and a little more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from appliance.errors import UsageError
from models.shape import Shape

MIB = 1 << 20
CACHE_BYTES = {
    "f32": Fraction(4), "f16": Fraction(2), "bf16": Fraction(2), "fp8": Fraction(1), "q8_0": Fraction(34, 32),
    "q5_1": Fraction(24, 32), "q5_0": Fraction(22, 32), "q4_1": Fraction(20, 32), "q4_0": Fraction(18, 32),
    "iq4_nl": Fraction(18, 32),
}  # fmt: skip
"""How keys and values may be kept → bytes for one number, scales included."""
LLAMACPP_CACHES = frozenset(CACHE_BYTES) - {"fp8"}
VLLM_CACHES = frozenset({"f16", "bf16", "fp8"})
CELLS = 256
"""llama.cpp rounds the tokens of a cache up to these."""
MICRO_BATCH = 512
"""Tokens that llama.cpp computes at once, its default; a window's cache has room for them too."""
LAYER_ROOM = 8
"""Tensors of the model's width that llama.cpp's compute buffer holds, measured (7 to 8)."""
PROMPT_CACHE = 256 * MIB
"""For prompts kept between requests; llama-server's own default is 8 GiB."""
SERVER = 96 * MIB
"""Of a llama-server with a tiny model, measured: code, threads and buffers that do not grow."""
BLOCK = 16
"""Tokens that vLLM keeps together."""
BATCH = 8192
"""Tokens that vLLM computes at once, the largest of its defaults."""
BATCH_ROOM = 16
"""Bytes for each number of each token that vLLM computes: eight tensors of the model's width in half precision."""
FRAMEWORK = 1024 * MIB
"""Of vLLM on one GPU: the CUDA context, kernels and captured graphs."""


@dataclass(frozen=True)
class Adapters:
    """LoRA adapters that are served beside a model."""

    at_once: int
    """So many have a place in the engine's memory; others take turns."""
    rank: int
    """Of each place: that of the largest adapter, rounded up."""
    numbers: int
    """Numbers of an adapter of rank 1 that changes every matrix that one of them changes."""
    stored: int
    """Numbers in all their files together."""


@dataclass(frozen=True)
class Wish:
    """How a model is to be served."""

    slots: int
    """Requests at once."""
    context_tokens: int
    """Of each request."""
    cache_type: str = "f16"
    adapters: Adapters | None = None


@dataclass(frozen=True)
class Part:
    """One summand."""

    what: str
    bytes: int
    how: str
    """The sum in words and numbers."""


@dataclass(frozen=True)
class Need:
    """Memory in one place: all of it in RAM, or as much on each GPU."""

    parts: tuple[Part, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    @property
    def cache_bytes(self) -> int:
        """Of keys, values and states alone."""
        return sum(part.bytes for part in self.parts if part.what.startswith(("cache", "states")))

    def rows(self) -> list[dict[str, object]]:
        """As tables and JSON show it, the sum last."""
        rows: list[dict[str, object]] = [{"what": p.what, "bytes": p.bytes, "how": p.how} for p in self.parts]
        return [*rows, {"what": "together", "bytes": self.bytes, "how": ""}]


def llamacpp_need(shape: Shape, wish: Wish) -> Need:
    """Of a llama-server, wherever it keeps its tensors. Raises UsageError for a kind of cache it has not."""
    checked_cache(wish.cache_type, LLAMACPP_CACHES)
    parts = [Part("weights", shape.weight_bytes, "as stored in the file")]
    if shape.causal:
        parts += _llamacpp_cache(shape, wish)
        parts.append(
            _llamacpp_compute(min(MICRO_BATCH, wish.context_tokens), wish.context_tokens, shape, shape.vocabulary)
        )
        parts.append(Part("prompts", PROMPT_CACHE, "kept between requests, at most"))
    else:
        # An encoder computes a whole text at once, every token with every other.
        parts.append(_llamacpp_compute(wish.context_tokens, wish.context_tokens, shape, 0))
    return Need((*parts, Part("server", SERVER, "code, threads and fixed buffers")))


def vllm_need(shape: Shape, wish: Wish, gpus: int = 1) -> Need:
    """Of vLLM, on each of so many GPUs. Raises UsageError for a kind of cache it has not."""
    checked_cache(wish.cache_type, VLLM_CACHES)
    shared = f" ÷ {gpus} GPUs" if gpus > 1 else ""
    parts = [Part("weights", -(-shape.weight_bytes // gpus), f"as stored in the files{shared}")]
    if shape.causal:
        parts += _vllm_cache(shape, wish, gpus)
    tokens = min(BATCH, max(wish.context_tokens * wish.slots, BLOCK))
    inner, heads = tokens * shape.width * BATCH_ROOM, wish.slots * shape.vocabulary * 4
    how = f"{tokens} tokens × {shape.width} × {BATCH_ROOM} bytes + {wish.slots} × {shape.vocabulary} × 4 bytes"
    parts.append(Part("compute", inner + heads, how))
    if own := wish.adapters:
        # Of each pair of matrices one is on every GPU whole and the other shared out; counted whole, both of them.
        how = f"{own.at_once} × rank {own.rank} × {own.numbers} numbers × 2 bytes"
        parts.append(Part("adapters", own.at_once * own.rank * own.numbers * 2, how))
    return Need((*parts, Part("framework", FRAMEWORK, "CUDA context, kernels and captured graphs, about")))


def checked_cache(kind: str, known: Iterable[str]) -> None:
    """Raises UsageError when an engine cannot keep keys and values so."""
    if kind not in known:
        raise UsageError(f"the engine has no cache of type {kind!r}", f"it has {', '.join(sorted(known))}")


def _llamacpp_cache(shape: Shape, wish: Wish) -> list[Part]:
    """One part for layers that see everything, one for those with a window, one for states."""
    whole = _rounded(wish.context_tokens, CELLS)
    sizes = {window: min(whole, _rounded(window + MICRO_BATCH, CELLS)) if window else whole for window in shape.windows}
    parts = []
    for window, tokens in sorted(sizes.items()):
        numbers = [sum(shape.kept(n)) for n in range(shape.layers) if shape.windows[n] == window]
        parts += _cache_part(window, numbers, tokens, wish)
    return parts + _state_part(shape, wish)


def _llamacpp_compute(rows: int, seen: int, shape: Shape, vocabulary: int) -> Part:
    """Its compute buffer: what is worked out for the tokens of a batch, and the mask of what each of them may see."""
    how = f"{rows} tokens × (({vocabulary} + {LAYER_ROOM} × {shape.width}) × 4 + {seen} × 2 bytes)"
    return Part("compute", rows * (4 * (vocabulary + LAYER_ROOM * shape.width) + 2 * seen), how)


def _vllm_cache(shape: Shape, wish: Wish, gpus: int) -> list[Part]:
    whole = _rounded(wish.context_tokens, BLOCK)
    parts = []
    for window in sorted(set(shape.windows)):
        # One block more, because the first token seen may lie anywhere in its block.
        tokens = min(whole, _rounded(window - 1 + BATCH, BLOCK) + BLOCK) if window else whole
        numbers = [_on_one(shape, n, gpus) for n in range(shape.layers) if shape.windows[n] == window]
        parts += _cache_part(window, numbers, tokens, wish)
    return parts + _state_part(shape, wish)


def _on_one(shape: Shape, layer: int, gpus: int) -> int:
    """Numbers of a layer and token on one of the GPUs: heads are shared out, a latent vector is on each."""
    if shape.latent or not shape.kv_heads[layer]:
        return sum(shape.kept(layer))
    return -(-shape.kv_heads[layer] // gpus) * (shape.key_size + shape.value_size)


def _cache_part(window: int, numbers: list[int], tokens: int, wish: Wish) -> list[Part]:
    if not any(numbers):
        return []
    size = CACHE_BYTES[wish.cache_type]
    what = f"cache (window {window})" if window else "cache"
    kept = [number for number in numbers if number]
    each = f"{len(kept)} layers × {kept[0]}" if len(set(kept)) == 1 else f"{sum(kept)}"
    how = f"{wish.slots} × {tokens} tokens × {each} numbers × {float(size):g} bytes ({wish.cache_type})"
    return [Part(what, int(wish.slots * tokens * sum(kept) * size), how)]


def _state_part(shape: Shape, wish: Wish) -> list[Part]:
    if not shape.state_size:
        return []
    return [Part("states", 4 * shape.state_size * wish.slots, f"{wish.slots} × {shape.state_size} numbers × 4 bytes")]


def _rounded(count: int, to: int) -> int:
    return -(-count // to) * to
