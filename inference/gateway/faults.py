"""Failures as clients of the OpenAI API expect them: a status, and `{"error": {message, type, param, code}}`.

Pure: a FactoryError or an engine's error body goes in, an `ApiError` comes out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from appliance.errors import (
    ConfigError,
    Conflict,
    FactoryError,
    LimitExceeded,
    NotFound,
    PolicyRefused,
    Unavailable,
    UsageError,
)
from inference.router import ContextExceeded

CONTEXT_CODE = "context_length_exceeded"

TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "service_unavailable",
    504: "timeout",
}

TOO_LONG = re.compile(
    r"exceed_context_size|context length|context size|too large to process|longer than the maximum",
    re.IGNORECASE,
)
"""How engines say that a prompt is too long: llama-server by type or by its batch size, vLLM in words."""


class ApiError(Exception):
    """What a client gets instead of an answer."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self.final = final
        """The gateway has tried again already: clients should not (`x-should-retry: false`)."""

    def body(self) -> dict[str, Any]:
        """The JSON that says it."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        found = {}
        if self.retry_after is not None:
            found["Retry-After"] = str(self.retry_after)
        if self.final:
            found["x-should-retry"] = "false"
        return found


def bad_request(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """The call itself is wrong."""
    return ApiError(400, message, code, param=param)


def from_factory(error: FactoryError) -> ApiError:
    """A FactoryError's place in the API; the hint becomes part of the message."""
    message = f"{error.message} ({error.hint})" if error.hint else error.message
    if isinstance(error, ContextExceeded):
        return ApiError(400, message, CONTEXT_CODE, param="messages")
    if isinstance(error, NotFound):
        return ApiError(404, message, "model_not_found", param="model")
    if isinstance(error, Unavailable | ConfigError):
        return ApiError(503, message, error.code, retry_after=5)
    statuses: tuple[tuple[type[FactoryError], int], ...] = (
        (UsageError, 400), (PolicyRefused, 403), (Conflict, 409), (LimitExceeded, 429),
    )  # fmt: skip
    status = next((status for kind, status in statuses if isinstance(error, kind)), 500)
    return ApiError(status, message, error.code)


def from_engine(status: int, body: Any, model: str) -> ApiError:
    """An engine's error answer. A prompt that is too long keeps its own code and is never worth trying again."""
    inner = body.get("error", body) if isinstance(body, Mapping) else body
    details: Mapping[str, Any] = inner if isinstance(inner, Mapping) else {"message": str(inner)}
    message = str(details.get("message") or f"the engine of {model} answered with status {status}")
    if TOO_LONG.search(f"{details.get('type', '')} {details.get('code', '')} {message}"):
        return ApiError(400, message, CONTEXT_CODE, param="messages")
    if status in (401, 403):
        # Our key is not the engine's: it was restarted under us, or the file is wrong. Not the client's fault.
        return ApiError(502, f"{model}: {message}", "engine_failed", final=True)
    if 400 <= status < 500 and status != 429:
        return ApiError(status if status in (400, 404, 413, 422) else 400, message, "engine_refused", param=None)
    if status == 429:
        return ApiError(429, message, "engine_busy", retry_after=2, final=True)
    wait = 2 if status == 503 else None
    ours = status if status in (503, 504) else 502
    return ApiError(ours, f"{model}: {message}", "engine_failed", retry_after=wait, final=True)
