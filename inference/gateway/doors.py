"""The doors: for each path of a call, how its body becomes a call of ours, and how the answer is said. Pure.

Inside there is one shape, the chat completion (beside vectors and ranks). Each door is a thin translation at its edge:
another API is one more file of such functions and one more line in `DOORS`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from inference.gateway import messages
from inference.gateway.chat import Prepared, prepare_chat, prepare_completion
from inference.gateway.embedding import prepare_embedding, shape_embeddings
from inference.gateway.faults import ApiError
from inference.gateway.messages_answer import MessagesVoice, message_of
from inference.gateway.rerank import prepare_rerank, shape_ranks
from inference.gateway.stream import ChatVoice, Voice, shape_answer

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
Body = Mapping[str, Any]


@dataclass(frozen=True)
class Speech:
    """One call as its door understood it, and the two ways to say its answer."""

    prepared: Prepared
    whole: Callable[[dict[str, Any], str], dict[str, Any]]
    """From the engine's answer and the model's name to the client's."""
    voice: Callable[[str], Voice]
    """From the model's name to the voice of a stream."""


@dataclass(frozen=True)
class Door:
    """One path: the task a call is when it does not say, and how it is understood."""

    task: str
    enter: Callable[[Body], Speech]


def enter_chat(body: Body) -> Speech:
    """Chat completions."""
    return _openai(prepare_chat(body))


def enter_completion(body: Body) -> Speech:
    """Text completions."""
    return _openai(prepare_completion(body))


def _openai(prepared: Prepared) -> Speech:
    return Speech(
        prepared,
        lambda answer, model: shape_answer(answer, model, prepared.must_call),
        lambda model: ChatVoice(prepared.include_usage),  # noqa: ARG005
    )


def enter_embedding(body: Body) -> Speech:
    """Embeddings."""
    return Speech(prepare_embedding(body), lambda answer, model: shape_embeddings(answer, model, body), _silent)


def enter_rerank(body: Body) -> Speech:
    """Ranks of documents."""
    return Speech(prepare_rerank(body), lambda answer, model: shape_ranks(answer, model, body), _silent)


def _silent(model: str) -> Voice:  # noqa: ARG001
    return ChatVoice()


def enter_messages(body: Body) -> Speech:
    """The Messages API."""
    prepared = replace(prepare_chat(messages.chat_body(body)), ignored=messages.ignored(body))
    id = uuid.uuid4().hex
    return Speech(
        prepared,
        lambda answer, model: message_of(shape_answer(answer, model, prepared.must_call), model, id),
        lambda model: MessagesVoice(model, id, prepared.prompt_tokens),
    )


DOORS: Mapping[str, Door] = {
    "/v1/chat/completions": Door("chat", enter_chat),
    "/v1/completions": Door("chat", enter_completion),
    "/v1/embeddings": Door("embedding", enter_embedding),
    "/v1/rerank": Door("rerank", enter_rerank),
    MESSAGES: Door("chat", enter_messages),
}


def failure_body(path: str, failure: ApiError, request_id: str) -> dict[str, Any]:
    """A failure in the shape of the API that this path belongs to."""
    if path == MESSAGES or path.startswith(f"{MESSAGES}/"):
        return messages.error_body(failure, request_id)
    return failure.body()
