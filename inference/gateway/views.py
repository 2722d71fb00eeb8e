"""What the gateway answers, path by path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from inference.asked import RouteRequest
from inference.catalogue import Entry
from inference.gateway import messages
from inference.gateway.calls import Call, parsed
from inference.gateway.chat import Prepared, prepare_chat
from inference.gateway.doors import DOORS, Speech, Visitor
from inference.gateway.episodes import HEADER, Episode, episode_of
from inference.gateway.faults import ApiError, bad_request
from inference.gateway.parts import Parts
from inference.gateway.relay import Relay
from inference.gateway.routing import explained, facts_of, meant, route, routed, shaped_by, surrounding
from inference.gateway.stream import UNREADABLE
from inference.gateway.transcripts import answer_in
from inference.gateway.upstream import Answer
from inference.permits import may_call
from inference.router import as_json

STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
ABOUT = ("stage", "repo", "item", "person")
"""What a caller may say about a call in `metadata`, besides `task`, and finds again in its usage line."""


def answer_call(parts: Parts, path: str) -> Response:
    """A call to a model, streamed or not."""
    door, body = DOORS[path], body_of_request()
    speech = door.enter(body, Visitor(g.key.id, parts.kept))
    asked = facts_of(parts, g.key, speech.prepared, door.task)
    episode = episode_of_request(asked.task)
    decision = route(parts, g.key, asked, episode)
    g.route = decision.summary
    decision.require()
    prepared = shaped_by(decision, speech.prepared)
    g.ignored = prepared.ignored
    call = Call(
        id=g.request_id, path=path, prepared=prepared, decision=decision, about=about(prepared, door.task), asked=asked,
        episode=episode,
        trip=parts.watch.enter(request.environ.get("gunicorn.socket"), g.request_id), started=g.started,
    )  # fmt: skip
    g.call = call
    parts.check_in(g.key, call)
    return _streamed(parts, call, speech) if prepared.stream else _whole(parts, call, speech)


def _streamed(parts: Parts, call: Call, speech: Speech) -> Response:
    relay = Relay(parts, call, speech.voice)
    relay.begin()
    response = Response(relay.body(), mimetype="text/event-stream", headers=STREAM_HEADERS)
    response.call_on_close(relay.close)
    return response


def _whole(parts: Parts, call: Call, speech: Speech) -> Response:
    failure: ApiError | None = ApiError(500, "the gateway failed", "internal_error")
    usage: Mapping[str, Any] = {}
    answer: Any = None
    try:
        answer = parsed(parts.caller.answer(call, Answer.read))
        if not isinstance(answer, dict):
            raise ApiError(502, f"the engine of {call.model} did not answer with JSON", "engine_failed", final=True)
        usage = answer.get("usage") or {}
        shaped = _shaped(speech, answer, call)
        failure = None
        parts.first_byte(call)
        return json_response(shaped)
    except ApiError as error:
        failure = error
        raise
    finally:
        parts.settle(call, usage, failure, answer_in(answer))


def _shaped(speech: Speech, answer: dict[str, Any], call: Call) -> dict[str, Any]:
    try:
        return speech.whole(answer, call.model, call.priority)
    except UNREADABLE as error:
        raise ApiError(
            502, f"the answer of the engine of {call.model} cannot be read: {error!r}", "engine_failed", final=True
        ) from error


def count_tokens(parts: Parts) -> Response:
    """POST /v1/messages/count_tokens. A header says whether an engine counted or the gateway guessed."""
    prepared = prepare_chat(messages.chat_body(body_of_request()))
    asked = facts_of(parts, g.key, replace(prepared, prompt_tokens=0), "chat")
    decision = route(parts, g.key, asked, episode_of_request(asked.task))
    g.route = decision.summary
    decision.require()
    trip = parts.watch.enter(request.environ.get("gunicorn.socket"), g.request_id)
    try:
        tokens, counted = parts.measure.tokens(prepared, decision, trip)
    finally:
        parts.watch.leave(trip)
    response = json_response({"input_tokens": tokens})
    response.headers["x-appliance-count"] = "engine" if counted else "estimate"
    return response


def episode_of_request(task: str) -> Episode | None:
    """The episode that the caller says this call belongs to."""
    return episode_of(g.key.id, request.headers.get(HEADER), task)


def about(prepared: Prepared, task: str) -> dict[str, str]:
    """The part of a usage line that the caller knows."""
    told = {key: str(prepared.metadata[key])[:200] for key in ABOUT if prepared.metadata.get(key)}
    return {"key": g.key.id, "task": str(prepared.metadata.get("task") or task)[:200], **told}


MEANING = "meaning"
"""The vector of the text that a question is about. It decides, and is kept nowhere here."""
ROUTE_FIELDS = (*(name for name in RouteRequest.model_fields if name != "answering"), MEANING)


def explain_route(parts: Parts) -> Response:
    """POST /v1/route: the decision alone; 404 with the reasons when nobody may take it."""
    body = body_of_request()
    unknown = sorted(set(body) - set(ROUTE_FIELDS))
    if unknown:
        raise bad_request(f"unknown field {unknown[0]!r}; known are {', '.join(ROUTE_FIELDS)}", unknown[0])
    meaning = meant(body.pop(MEANING)) if body.get(MEANING) is not None else None
    wanted = routed({**surrounding(parts, g.key), **{name: said for name, said in body.items() if name != MEANING}})
    decision = explained(parts, g.key, wanted, episode_of_request(wanted.task), meaning)
    g.route = decision.summary
    if not decision.candidates:
        message = f"{decision.refusal} ({decision.hint})" if decision.hint else decision.refusal
        failure = ApiError(404, message, "no_candidate", param="task").body()
        failure["error"] |= {"reasons": list(decision.reasons)}
        return json_response(failure, 404)
    return json_response(dict(as_json(decision)))


def list_models(parts: Parts) -> Response:
    """GET /v1/models, for clients of either API."""
    rows = [model_as_json(entry) for entry in parts.surroundings.catalogue if may_call(g.key, entry.id)]
    ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]} if rows else {"first_id": None, "last_id": None}
    return json_response({"object": "list", "data": rows, "has_more": False, **ends})


def show_model(parts: Parts, name: str) -> Response:
    """GET /v1/models/NAME, by id or alias."""
    catalogue = parts.surroundings.catalogue
    entry = catalogue.find(name)
    if entry is None or not may_call(g.key, entry.id):
        raise ApiError(404, f"there is no model {name!r} ({catalogue.near(name)})", "model_not_found", param="model")
    return json_response(model_as_json(entry))


def model_as_json(entry: Entry) -> dict[str, Any]:
    """A model as OpenAI lists it, with what the Messages API, vLLM and others add."""
    return {
        "id": entry.id, "object": "model", "created": entry.created, "owned_by": "appliance",
        "type": "model", "display_name": entry.id, "created_at": datetime.fromtimestamp(entry.created, UTC).isoformat(),
        "context_length": entry.context_tokens, "max_model_len": entry.context_tokens, "sha256": entry.sha256,
        "tasks": list(entry.tasks), "aliases": list(entry.aliases),
    }  # fmt: skip


def ready(parts: Parts) -> Response:
    """GET /readyz: 200 when calls can be answered, else 503 and what is in the way; and what is wrong all the same."""
    problems, around = parts.surroundings.problems(), parts.surroundings
    if parts.watch.stopping():
        problems = ["the gateway is stopping: it takes no new calls", *problems]
    said = {"ready": not problems, "problems": problems, "warnings": around.warnings() + parts.caller.warnings()}
    return json_response(said | {"policy": around.learned.standing}, 503 if problems else 200)


def show_response(parts: Parts, id: str) -> Response:
    """GET /v1/responses/ID: a response that is still kept."""
    found = parts.kept.get(g.key.id, id)
    if found is None:
        raise no_response(id)
    return json_response(found.response)


def drop_response(parts: Parts, id: str) -> Response:
    """DELETE /v1/responses/ID."""
    if not parts.kept.drop(g.key.id, id):
        raise no_response(id)
    return json_response({"id": id, "object": "response", "deleted": True})


def no_response(id: str) -> ApiError:
    """Unknown, forgotten, or somebody else's: the caller cannot tell which."""
    return ApiError(404, f"there is no response {id!r} of yours here", "response_not_found", param="response_id")


def body_of_request() -> dict[str, Any]:
    """The JSON object a client sent. Raises ApiError (400), or RequestEntityTooLarge."""
    raw = request.get_data(cache=False)
    if request.content_length is None and len(raw) >= (request.max_content_length or len(raw) + 1):
        # A body in chunks has no length to refuse beforehand; it is cut at the limit without a word.
        raise RequestEntityTooLarge
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the body is not JSON: {error}", code="invalid_json") from error
    if not isinstance(body, dict):
        raise bad_request("the body is not a JSON object", code="invalid_json")
    return body


def json_response(value: Any, status: int = 200) -> Response:
    """JSON."""
    return Response(orjson.dumps(value), status, mimetype="application/json")
