"""Embedding calls and answers, and the two ways clients want numbers: floats or base64. Pure."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Mapping
from typing import Any

from inference.gateway.chat import CHARACTERS_PER_TOKEN, Prepared, model_of, priority_of
from inference.gateway.faults import bad_request


def prepare_embedding(body: Mapping[str, Any]) -> Prepared:
    """An embeddings call. The longest input counts as its length, since every input must fit by itself."""
    texts = body.get("input")
    if not texts or not (isinstance(texts, str) or _tokenised(texts) or _list_of_inputs(texts)):
        raise bad_request("`input` must be a text, a list of texts, or tokens, and not be empty", "input")
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise bad_request("`encoding_format` is `float` or `base64`", "encoding_format")
    longest = _tokens(texts) if isinstance(texts, str) or _tokenised(texts) else max(map(_tokens, texts))
    metadata = body.get("metadata")
    return Prepared(
        payload={"input": texts},
        model=model_of(body),
        path="/v1/embeddings",
        prompt_tokens=longest,
        priority=priority_of(body),
        metadata=metadata if isinstance(metadata, Mapping) else {},
    )


def _tokens(text: str | list[int]) -> int:
    return len(text) // CHARACTERS_PER_TOKEN if isinstance(text, str) else len(text)


def _tokenised(value: Any) -> bool:
    """A text as the numbers of its tokens."""
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)


def _list_of_inputs(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) or _tokenised(text) for text in value)


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
