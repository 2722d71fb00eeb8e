"""Embedding calls and answers, and the two ways clients want numbers: floats or base64. Pure."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Mapping
from typing import Any

from inference.gateway.chat import CHARACTERS_PER_TOKEN, Prepared, model_of
from inference.gateway.faults import bad_request


def prepare_embedding(body: Mapping[str, Any]) -> Prepared:
    """An embeddings call. The longest input counts as its length, since every input must fit by itself."""
    texts = body.get("input")
    if not isinstance(texts, str | list) or not texts:
        raise bad_request("`input` must be a text or a list of texts, and not be empty", "input")
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise bad_request("`encoding_format` is `float` or `base64`", "encoding_format")
    longest = max(map(_tokens, texts)) if isinstance(texts, list) else _tokens(texts)
    metadata = body.get("metadata")
    return Prepared(
        payload={"input": texts},
        model=model_of(body),
        path="/v1/embeddings",
        prompt_tokens=longest,
        metadata=metadata if isinstance(metadata, Mapping) else {},
    )


def _tokens(text: Any) -> int:
    if isinstance(text, str):
        return len(text) // CHARACTERS_PER_TOKEN
    return len(text) if isinstance(text, list) else 1


def shape_embeddings(answer: dict[str, Any], model: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's answer with our model name, in the encoding the client asked for.

    Raises:
        ApiError: the client asked for another number of dimensions than the model has.
    """
    as_text = wanted.get("encoding_format") == "base64"
    data = []
    for n, row in enumerate(answer.get("data", [])):
        vector = row["embedding"]
        numbers = decode(vector) if isinstance(vector, str) else vector
        _check_dimensions(len(numbers), wanted.get("dimensions"), model)
        data.append(
            {"object": "embedding", "index": row.get("index", n), "embedding": encode(numbers) if as_text else numbers}
        )
    usage = answer.get("usage") or {}
    tokens = int(usage.get("prompt_tokens") or 0)
    return {"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def _check_dimensions(found: int, wanted: Any, model: str) -> None:
    if wanted is not None and wanted != found:
        raise bad_request(f"{model} gives vectors of {found} dimensions, not {wanted}", "dimensions")


def encode(numbers: list[float]) -> str:
    """Little-endian 32-bit floats in base64, as the OpenAI API has them."""
    return base64.b64encode(array("f", numbers).tobytes()).decode("ascii")


def decode(text: str) -> list[float]:
    """The inverse of `encode`."""
    numbers = array("f")
    numbers.frombytes(base64.b64decode(text))
    return numbers.tolist()
