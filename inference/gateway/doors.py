"""The doors: for each path of a call, how its body becomes a call of ours, and how the answer is said.

Inside there is one shape, the chat completion (beside vectors and ranks). Each door is a thin translation at its edge:
another API is one more file of such functions and one more line in `DOORS`.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from inference.gateway import messages, responses
from inference.gateway.chat import Prepared, prepare_chat, prepare_completion, tier_of
from inference.gateway.embedding import prepare_embedding, shape_embeddings
from inference.gateway.faults import ApiError, bad_request
from inference.gateway.kept import Kept
from inference.gateway.messages_answer import MessagesVoice, message_of
from inference.gateway.rerank import prepare_rerank, shape_ranks
from inference.gateway.responses_answer import ResponsesVoice, empty_response, response_of
from inference.gateway.stream import ChatVoice, Voice, shape_answer
from inference.limits import Left, Priority

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
RESPONSES = "/v1/responses"
Body = Mapping[str, Any]


@dataclass(frozen=True)
class Speech:
    """One call as its door understood it, and the two ways to say its answer."""

    prepared: Prepared
    whole: Callable[[dict[str, Any], str, Priority], dict[str, Any]]
    """From the engine's answer, the model's name and the call's priority to the client's."""
    voice: Callable[[str, Priority], Voice]
    """From the model's name and the call's priority to the voice of a stream."""


@dataclass(frozen=True)
class Visitor:
    """Who calls, and what is kept for him from earlier calls."""

    owner: str
    kept: Kept


@dataclass(frozen=True)
class Door:
    """One path: the task a call is when it does not say, and how it is understood."""

    task: str
    enter: Callable[[Body, Visitor], Speech]


def enter_chat(body: Body, visitor: Visitor) -> Speech:  # noqa: ARG001
    """Chat completions."""
    prepared = prepare_chat(body)
    return Speech(
        prepared,
        lambda answer, model, priority: shape_answer(answer, model, prepared.must_call) | tier_of(body, priority),
        lambda model, priority: ChatVoice(prepared.include_usage, tier_of(body, priority)),  # noqa: ARG005
    )


def enter_completion(body: Body, visitor: Visitor) -> Speech:  # noqa: ARG001
    """Text completions."""
    prepared = prepare_completion(body)
    return Speech(
        prepared,
        lambda answer, model, priority: shape_answer(answer, model),  # noqa: ARG005
        lambda model, priority: ChatVoice(prepared.include_usage),  # noqa: ARG005
    )


def enter_embedding(body: Body, visitor: Visitor) -> Speech:  # noqa: ARG001
    """Embeddings."""
    return Speech(prepare_embedding(body), lambda answer, model, _: shape_embeddings(answer, model, body), _silent)


def enter_rerank(body: Body, visitor: Visitor) -> Speech:  # noqa: ARG001
    """Ranks of documents."""
    return Speech(prepare_rerank(body), lambda answer, model, _: shape_ranks(answer, model, body), _silent)


def _silent(model: str, priority: Priority) -> Voice:  # noqa: ARG001
    return ChatVoice()


def enter_messages(body: Body, visitor: Visitor) -> Speech:  # noqa: ARG001
    """The Messages API."""
    prepared = replace(prepare_chat(messages.chat_body(body)), ignored=messages.ignored(body))
    id = uuid.uuid4().hex
    return Speech(
        prepared,
        lambda answer, model, priority: message_of(
            shape_answer(answer, model, prepared.must_call), model, id, priority
        ),
        lambda model, priority: MessagesVoice(model, id, prepared.prompt_tokens, priority),
    )


def enter_responses(body: Body, visitor: Visitor) -> Speech:
    """The Responses API."""
    before = _before(body.get("previous_response_id"), visitor)
    prepared = replace(prepare_chat(responses.chat_body(body, before)), ignored=responses.ignored(body))
    created = int(time.time())

    def keep(response: dict[str, Any]) -> None:
        if body.get("store") is not False and visitor.kept.on:
            visitor.kept.put(visitor.owner, response, [*before, *responses.items_of(body)])

    def voice(model: str, priority: Priority) -> ResponsesVoice:
        made = empty_response(body, model, uuid.uuid4().hex, created) | tier_of(body, priority)
        return ResponsesVoice(made, responses.custom_tools(body), keep)

    return Speech(
        prepared,
        lambda answer, model, priority: response_of(
            shape_answer(answer, model, prepared.must_call), voice(model, priority)
        ),
        voice,
    )


def _before(id: Any, visitor: Visitor) -> tuple[responses.Item, ...]:
    """The conversation up to an earlier response. Raises ApiError (400) when it is not kept."""
    if id is None:
        return ()
    if not visitor.kept.on:
        raise bad_request(
            "this box keeps no responses (gateway.responses_kept is 0); send the whole `input`",
            "previous_response_id", "unsupported_parameter",
        )  # fmt: skip
    found = visitor.kept.get(visitor.owner, str(id))
    if found is None:
        raise bad_request(
            f"there is no response {id!r} of yours; they are kept for hours, in memory: send the whole `input`",
            "previous_response_id", "previous_response_not_found",
        )  # fmt: skip
    return found.items


DOORS: Mapping[str, Door] = {
    "/v1/chat/completions": Door("chat", enter_chat),
    "/v1/completions": Door("chat", enter_completion),
    "/v1/embeddings": Door("embedding", enter_embedding),
    "/v1/rerank": Door("rerank", enter_rerank),
    MESSAGES: Door("chat", enter_messages),
    RESPONSES: Door("chat", enter_responses),
}


def failure_body(path: str, failure: ApiError, request_id: str) -> dict[str, Any]:
    """A failure in the shape of the API that this path belongs to."""
    return messages.error_body(failure, request_id) if _of_messages(path) else failure.body()


def rate_headers(path: str, rates: Iterable[Left], now: float) -> Iterator[tuple[str, str]]:
    """What is left of limits per minute, in headers as clients of this path's API know them; `now` since 1970."""
    for rate in rates:
        told = {"limit": str(rate.limit), "remaining": str(rate.left)}
        if _of_messages(path):
            told["reset"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(math.ceil(now + rate.wait)))
            yield from ((f"anthropic-ratelimit-{rate.unit}-{what}", value) for what, value in told.items())
        else:
            told["reset"] = f"{rate.wait:.3f}s"
            yield from ((f"x-ratelimit-{what}-{rate.unit}", value) for what, value in told.items())


def _of_messages(path: str) -> bool:
    return path == MESSAGES or path.startswith(f"{MESSAGES}/")


RATE_HEADERS = tuple(
    name for path in (MESSAGES, RESPONSES)
    for name, _ in rate_headers(path, (Left("requests", 1, 1, 0.0), Left("tokens", 1, 1, 0.0)), 0.0)
)  # fmt: skip
"""All their names."""
