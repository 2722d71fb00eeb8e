"""Catalogues that several test modules use."""

from __future__ import annotations

from inference.catalogue import Catalogue, Entry

MINILM = Entry(id="all-minilm-l6-v2", aliases=("minilm",), tasks=("embedding",), context_tokens=256, size_bytes=25)
SMALL = Entry(
    id="coder-7b",
    aliases=("coder",),
    tasks=("chat", "repair"),
    context_tokens=4096,
    size_bytes=7,
    sha256="ab" * 32,
    created=17,
)
BIG = Entry(id="coder-32b", tasks=("chat", "repair", "review"), context_tokens=16384, size_bytes=32)


def bare_box() -> Catalogue:
    """What a box holds before anybody imports a model."""
    return Catalogue([MINILM])


def stocked_box() -> Catalogue:
    return Catalogue([MINILM, SMALL, BIG])
