"""Rerank calls and answers, in the shape that Jina, Cohere and the engines share. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference.gateway.chat import CHARACTERS_PER_TOKEN, Prepared, model_of, priority_of
from inference.gateway.faults import bad_request


def prepare_rerank(body: Mapping[str, Any]) -> Prepared:
    """A rerank call. The longest document counts as its length, since each is read beside the query by itself."""
    query = body.get("query")
    if not isinstance(query, str) or not query:
        raise bad_request("`query` must be a text and not be empty", "query")
    texts = documents_of(body)
    top = body.get("top_n")
    if top is not None and (not isinstance(top, int) or isinstance(top, bool) or top < 1):
        raise bad_request("`top_n` must be a whole number above zero", "top_n")
    metadata = body.get("metadata")
    return Prepared(
        payload={"query": query, "documents": texts},
        model=model_of(body),
        path="/v1/rerank",
        prompt_tokens=(len(query) + max(map(len, texts))) // CHARACTERS_PER_TOKEN,
        priority=priority_of(body),
        metadata=metadata if isinstance(metadata, Mapping) else {},
    )


def documents_of(body: Mapping[str, Any]) -> list[str]:
    """The documents as texts; a document may also be `{"text": …}`. Raises ApiError (400)."""
    given = body.get("documents")
    if not isinstance(given, list) or not given:
        raise bad_request("`documents` must be a list of texts, and not be empty", "documents")
    texts = [document.get("text") if isinstance(document, Mapping) else document for document in given]
    found = [text for text in texts if isinstance(text, str)]
    if len(found) < len(texts):
        raise bad_request("each document is a text, or an object with a `text`", "documents")
    return found


def shape_ranks(answer: dict[str, Any], model: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's scores, the best first, as many as were asked for."""
    texts = documents_of(wanted)
    rows: list[dict[str, Any]] = [
        {"index": int(row["index"]), "relevance_score": float(row.get("relevance_score", row.get("score", 0.0)))}
        for row in answer.get("results") or answer.get("data") or ()
    ]
    rows.sort(key=lambda row: (-row["relevance_score"], row["index"]))
    rows = rows[: wanted.get("top_n") or len(rows)]
    if wanted.get("return_documents") is True:
        rows = [{**row, "document": {"text": texts[row["index"]]}} for row in rows]
    usage = answer.get("usage") or {}
    tokens = int(usage.get("prompt_tokens") or usage.get("total_tokens") or 0)
    return {
        "object": "list", "model": model, "results": rows,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }  # fmt: skip
