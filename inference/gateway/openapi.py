"""The OpenAPI document of the gateway, at `/openapi.json`. Kept by hand; a test holds it against the routes.

It tells what calls are made of as far as the gateway looks at them. Fields that only engines or clients care about
are allowed everywhere and not listed.
"""

from __future__ import annotations

from typing import Any

from appliance import __version__
from inference.asked import Sensitivity

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer", "minimum": 0}
COUNT: Schema = {"type": "integer", "minimum": 1}
ANY_OBJECT: Schema = {"type": "object"}
MODEL: Schema = {
    "type": "string",
    "description": "a model's id or alias, or `auto`, `auto:cost`, `auto:quality`, `auto:speed`; left out means `auto`",
}
METADATA: Schema = {
    "type": "object",
    "description": "rules read `task`, `stage`, `language`, `repo`, `severity`, `attempt` and `sensitivity`; "
    "`priority` can be `batch`; "
    "`stage`, `repo` and `item` are found again in the usage line",
}
CONTENT: Schema = {"description": "a text, a list of parts, or null", "type": ["string", "array", "null"]}
SAMPLING: Schema = {
    "temperature": {"type": ["number", "null"]}, "top_p": {"type": ["number", "null"]},
    "stream": {"type": ["boolean", "null"]}, "metadata": METADATA,
    "service_tier": {"type": ["string", "null"], "description": "`flex` lets interactive calls go first"},
}  # fmt: skip


def ref(name: str) -> Schema:
    """A schema of `components`."""
    return {"$ref": f"#/components/schemas/{name}"}


def either(*schemas: Schema) -> Schema:
    """One of these, or more."""
    return {"anyOf": list(schemas)}


def listed(schema: Schema) -> Schema:
    """At least one of these."""
    return {"type": "array", "items": schema, "minItems": 1}


def made_of(required: tuple[str, ...], **properties: Schema) -> Schema:
    """An object with these fields, and any others."""
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def one_of(*values: str) -> Schema:
    """One of these words."""
    return {"type": "string", "enum": list(values)}


def _requests() -> dict[str, Schema]:
    message = made_of(("role",), role=one_of("system", "developer", "user", "assistant", "tool"), content=CONTENT)
    turn = made_of(("role", "content"), role=one_of("user", "assistant"), content={"type": ["string", "array"]})
    tool = made_of(("type", "function"), type=one_of("function"), function=made_of(("name",), name=TEXT))
    document = either(TEXT, made_of(("text",), text=TEXT))
    tokens = listed({"type": "integer"})
    texts = either({"type": "string", "minLength": 1}, tokens, listed(either(TEXT, tokens)))
    limit = {"max_tokens": COUNT, "max_completion_tokens": COUNT, "stop": either(TEXT, {"type": ["array", "null"]})}
    messages = made_of(
        ("messages",), model=MODEL, messages=listed(turn), system={"type": ["string", "array"]}, max_tokens=COUNT,
        stop_sequences={"type": "array", "items": TEXT}, tools={"type": "array", "items": ANY_OBJECT},
        tool_choice=made_of(("type",), type=one_of("auto", "any", "tool", "none")), thinking=ANY_OBJECT, **SAMPLING,
    )  # fmt: skip
    return {
        "Chat": made_of(
            ("messages",), model=MODEL, messages=listed(message), tools={"type": "array", "items": tool},
            tool_choice=either(one_of("auto", "none", "required"), ANY_OBJECT), response_format=ANY_OBJECT,
            stream_options=ANY_OBJECT, **limit, **SAMPLING,
        ),
        "Completion": made_of(("prompt",), model=MODEL, prompt=either(TEXT, {"type": "array", "minItems": 1}),
                              **limit, **SAMPLING),
        "Embedding": made_of(("input",), model=MODEL, input=texts, encoding_format=one_of("float", "base64"),
                             dimensions=COUNT, metadata=METADATA),
        "Rerank": made_of(("query", "documents"), model=MODEL, query={"type": "string", "minLength": 1},
                          documents=listed(document), top_n=COUNT, return_documents={"type": "boolean"}),
        "Messages": messages,
        "Responses": made_of(
            ("input",), model=MODEL, input=either({"type": "string", "minLength": 1}, listed(ANY_OBJECT)),
            instructions={"type": ["string", "null"]}, max_output_tokens=COUNT, text=ANY_OBJECT,
            tools={"type": "array", "items": made_of(("type",), type=TEXT)},
            tool_choice=either(one_of("auto", "none", "required"), made_of(("type",), type=TEXT)),
            previous_response_id={"type": ["string", "null"]}, store={"type": ["boolean", "null"]}, **SAMPLING,
        ),
        "Route": {
            **made_of((), task=TEXT, model=MODEL, stage=TEXT, language=TEXT, repo=TEXT, key=TEXT, team=TEXT,
                      prompt_tokens=NUMBER, load=NUMBER, attempt=NUMBER, severity={**NUMBER, "maximum": 4},
                      sensitivity=one_of(*Sensitivity.__members__), needs={"type": "array", "items": TEXT},
                      at={"type": "string", "format": "date-time"}),
            "description": "what the router may know of a call; an unknown field is refused",
        },
    }  # fmt: skip


def _answers() -> dict[str, Schema]:
    error = made_of(("message", "type", "param", "code"), message=TEXT, type=TEXT, param={"type": ["string", "null"]},
                    code=TEXT)  # fmt: skip
    usage = made_of(("prompt_tokens", "total_tokens"), prompt_tokens={"type": "integer"},
                    total_tokens={"type": "integer"})  # fmt: skip
    model = made_of(("id", "object", "created", "owned_by", "context_length"), id=TEXT, object=one_of("model"),
                    created={"type": "integer"}, owned_by=TEXT, context_length={"type": "integer"})  # fmt: skip
    items = {"type": "array", "items": ANY_OBJECT}
    return {
        "Error": made_of(("error",), error=error),
        "MessagesError": made_of(("type", "error", "request_id"), type=one_of("error"), request_id=TEXT,
                                 error=made_of(("type", "message"), type=TEXT, message=TEXT)),
        "ChatAnswer": made_of(("choices", "model"), choices=items, model=TEXT),
        "EmbeddingAnswer": made_of(("object", "data", "model", "usage"), object=one_of("list"), data=items, model=TEXT,
                                   usage=usage),
        "RerankAnswer": made_of(
            ("results", "model", "usage"), model=TEXT, usage=usage,
            results={"type": "array", "items": made_of(("index", "relevance_score"), index={"type": "integer"},
                                                       relevance_score={"type": "number"})},
        ),
        "Message": made_of(("id", "type", "role", "model", "content", "stop_reason", "usage"), id=TEXT,
                           type=one_of("message"), role=one_of("assistant"), model=TEXT, content=items,
                           stop_reason={"type": ["string", "null"]}, usage=ANY_OBJECT),
        "TokenCount": made_of(("input_tokens",), input_tokens={"type": "integer"}),
        "Response": made_of(("id", "object", "status", "model", "output"), id=TEXT, object=one_of("response"),
                            status=one_of("completed", "incomplete", "failed", "in_progress"), model=TEXT,
                            output=items),
        "Deleted": made_of(("id", "deleted"), id=TEXT, deleted={"type": "boolean"}),
        "Decision": made_of(("candidates", "rule", "reasons"), candidates={"type": "array", "items": TEXT}, rule=TEXT,
                            reasons={"type": "array", "items": TEXT}),
        "Model": model,
        "Models": made_of(("object", "data"), object=one_of("list"), data={"type": "array", "items": ref("Model")}),
        "Health": ANY_OBJECT,
    }  # fmt: skip


CALLS: tuple[tuple[str, str, str, str, bool], ...] = (
    ("/v1/chat/completions", "Chat", "ChatAnswer", "Chat.", True),
    ("/v1/completions", "Completion", "ChatAnswer", "Plain completion.", True),
    ("/v1/embeddings", "Embedding", "EmbeddingAnswer", "Vectors of texts.", False),
    ("/v1/rerank", "Rerank", "RerankAnswer", "Documents in the order in which they answer a query.", False),
    ("/v1/messages", "Messages", "Message", "The Messages API.", True),
    ("/v1/messages/count_tokens", "Messages", "TokenCount", "Tokens of a prompt.", False),
    ("/v1/responses", "Responses", "Response", "The Responses API.", True),
    ("/v1/route", "Route", "Decision", "The router's decision alone; needs the scope `route`.", False),
)
"""Path, request, answer, what it is, and whether it can stream."""
LOOKS: tuple[tuple[str, str, str, str, str, bool], ...] = (
    ("get", "/v1/responses/{id}", "Response", "application/json", "An answer that is still kept.", True),
    ("delete", "/v1/responses/{id}", "Deleted", "application/json", "Forget an answer.", True),
    ("get", "/v1/models", "Models", "application/json", "The models a caller may name.", True),
    ("get", "/v1/models/{name}", "Model", "application/json", "One model.", True),
    ("get", "/healthz", "Health", "application/json", "Is the gateway alive?", False),
    ("get", "/readyz", "Health", "application/json", "Can it serve?", False),
    ("get", "/metrics", "", "text/plain", "Figures for Prometheus.", False),
    ("get", "/openapi.json", "Health", "application/json", "This document.", False),
)
"""Method, path, answer, its type, what it is, and whether it needs a key."""


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for path, request, answer, summary, streams in CALLS:
        paths[path] = {"post": _call(path, request, answer, summary, streams)}
    for method, path, answer, kind, summary, keyed in LOOKS:
        paths.setdefault(path, {})[method] = _look(path, answer, kind, summary, keyed)
    return {
        "openapi": "3.1.0",
        "info": {"title": "The gateway of the appliance", "version": __version__},
        "security": [{"bearer": []}, {"header": []}],
        "paths": paths,
        "components": {
            "schemas": {**_requests(), **_answers()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _call(path: str, request: str, answer: str, summary: str, streams: bool) -> dict[str, Any]:
    content = {"application/json": {"schema": ref(answer)}}
    if streams:
        content["text/event-stream"] = {"schema": made_of(("data",), event=TEXT, data=TEXT)}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": ref(request)}}},
        "responses": {"200": {"description": "the answer", "content": content}, **_failures(path)},
    }


def _look(path: str, answer: str, kind: str, summary: str, keyed: bool) -> dict[str, Any]:
    schema = ref(answer) if answer else TEXT
    name = path[path.find("{") + 1 : -1] if "{" in path else ""
    made: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": {"description": "the answer", "content": {kind: {"schema": schema}}}, **_failures(path)},
    }
    if name:
        made["parameters"] = [{"name": name, "in": "path", "required": True, "schema": TEXT}]
    return made | ({} if keyed else {"security": []})


def _failures(path: str) -> dict[str, Any]:
    """What everything else says. `/readyz` tells its problems instead of an error."""
    shape = "MessagesError" if path.startswith("/v1/messages") else "Health" if path == "/readyz" else "Error"
    said = {"description": "why not", "content": {"application/json": {"schema": ref(shape)}}}
    return dict.fromkeys(("4XX", "5XX"), said)
