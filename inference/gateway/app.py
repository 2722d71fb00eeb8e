"""The Flask application: paths, keys, headers, and how everything that goes wrong is said."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import gevent
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from appliance.errors import FactoryError
from inference.gateway import views
from inference.gateway.doors import COUNT, DOORS, RATE_HEADERS, RESPONSES, failure_body, rate_headers
from inference.gateway.faults import ApiError, from_factory
from inference.gateway.openapi import document
from inference.gateway.parts import Parts
from inference.keys import Key

log = logging.getLogger("inference.gateway")

OPEN = frozenset({"healthz", "readyz", "metrics", "openapi"})
"""Endpoints that need no key: they say nothing about what anybody asks."""
SCOPES = {"route": "route"}
"""Endpoint → scope of keys that opens it; `infer` for all others."""
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
EXTENSION = "gateway"
MEBIBYTE = 1024 * 1024
CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "x-appliance-model, x-appliance-route, x-appliance-ignored, x-appliance-count, "
     "x-request-id, retry-after, "
     + ", ".join(RATE_HEADERS)),
)  # fmt: skip
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "*, Authorization",
    "Access-Control-Max-Age": "86400",
}
ENGLISH = {404: "there is no such path", 405: "this path takes another method", 413: "the body is too large"}


def create_app(parts: Parts) -> Flask:
    """The application around these parts."""
    app = Flask("inference.gateway", static_folder=None)
    app.extensions[EXTENSION] = parts
    app.config["MAX_CONTENT_LENGTH"] = parts.settings.gateway.max_body_mb * MEBIBYTE
    app.before_request(partial(_enter, parts))
    app.after_request(partial(_leave, parts))
    app.register_error_handler(Exception, partial(_failed, parts))
    _add_paths(app, parts)
    return app


def _add_paths(app: Flask, parts: Parts) -> None:
    for path in DOORS:
        app.add_url_rule(path, path, partial(views.answer_call, parts, path), methods=["POST"])
    app.add_url_rule(COUNT, "count", partial(views.count_tokens, parts), methods=["POST"])
    app.add_url_rule(f"{RESPONSES}/<id>", "response", partial(views.show_response, parts))
    app.add_url_rule(f"{RESPONSES}/<id>", "drop", partial(views.drop_response, parts), methods=["DELETE"])
    app.add_url_rule("/v1/route", "route", partial(views.explain_route, parts), methods=["POST"])
    app.add_url_rule("/v1/models", "models", partial(views.list_models, parts))
    app.add_url_rule("/v1/models/<path:name>", "model", partial(views.show_model, parts))
    described = document()
    app.add_url_rule("/openapi.json", "openapi", lambda: views.json_response(described))
    app.add_url_rule("/healthz", "healthz", lambda: views.json_response({"ok": True}))
    app.add_url_rule("/readyz", "readyz", partial(views.ready, parts))
    app.add_url_rule(
        "/metrics", "metrics", lambda: Response(parts.metrics.text(), mimetype="text/plain; version=0.0.4")
    )


def _enter(parts: Parts) -> Response | None:
    """Number the request, answer preflights, look at the key. An unknown path is told before the key is asked for."""
    gevent.sleep(0)  # a connection whose next call is always there already would never let others run
    g.started = time.perf_counter()
    environ, endpoint = request.environ, request.endpoint
    given = environ.get("HTTP_X_REQUEST_ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
    if environ["REQUEST_METHOD"] == "OPTIONS":
        return Response(status=204, headers=PREFLIGHT)
    if endpoint is not None and endpoint not in OPEN:
        g.key = _checked_key(parts, environ, SCOPES.get(endpoint, "infer"))
    return None


def _checked_key(parts: Parts, environ: Mapping[str, Any], scope: str) -> Key:
    """The caller's key. Raises ApiError (401, 403)."""
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else environ.get("HTTP_X_API_KEY", "")
    if not token:
        raise ApiError(401, "give a key as `Authorization: Bearer KEY` (`appliance key create`)", "missing_api_key")
    key = parts.surroundings.keys.find(token)
    if key is None:
        raise ApiError(401, "this key is not known here (`appliance key create` makes one)", "invalid_api_key")
    if why := key.dead(datetime.now(UTC)):
        raise ApiError(401, why, "invalid_api_key")
    if scope not in key.scopes:
        raise ApiError(403, f"key {key.name!r} has no scope {scope!r}", "missing_scope")
    return key


def _leave(parts: Parts, response: Response) -> Response:
    here = g._get_current_object()  # the proxy would look it up at every use
    call, id = here.get("call"), here.request_id
    model = (call.model if call is not None else "") or "none"
    route = header_text(here.get("route") or "none")
    told = [("x-request-id", id), ("request-id", id), ("x-appliance-model", model), ("x-appliance-route", route)]
    if ignored := here.get("ignored"):
        told.append(("x-appliance-ignored", header_text(", ".join(ignored))))
    if "key" in here:
        told += rate_headers(request.path, parts.desk.rates_left(here.key), time.time())
    if response.status_code == 401:
        told.append(("WWW-Authenticate", "Bearer"))
    if "Cache-Control" not in response.headers:  # what was asked and answered is nobody else's
        told.append(("Cache-Control", "no-store"))
    response.headers.extend((*told, *CORS, ("X-Content-Type-Options", "nosniff")))
    endpoint = request.url_rule.rule if request.url_rule is not None else "unknown"
    parts.metrics.requests.labels(endpoint, model, str(response.status_code)).inc()
    return response


def header_text(text: str) -> str:
    """Text that may stand in a header: one line of ASCII that can be seen, not too long.

    >>> header_text("rule\\n‘a\\x00’")
    'rule ?a??'
    """
    line = " ".join(text.split()).encode("ascii", "replace").decode()
    return "".join(sign if sign.isprintable() else "?" for sign in line)[:500]


def _failed(parts: Parts, error: Exception) -> Response:
    """Everything that is raised ends here, in the shape of the API that was spoken."""
    if isinstance(error, HTTPException):
        status = error.code or 500
        said = ENGLISH.get(status) or error.description or "the request was refused"
        error = ApiError(
            status, f"{said}: {request.method} {request.path}", "unknown_path" if status == 404 else "http"
        )
    elif isinstance(error, FactoryError):
        error = from_factory(error)
    elif not isinstance(error, ApiError):
        log.error("request %s failed", g.get("request_id"), exc_info=error)
        error = ApiError(500, "the gateway failed; its log says why", "internal_error", final=True)
    if "call" not in g:  # else it is counted when the call is settled
        endpoint = request.url_rule.rule if request.url_rule is not None else "unknown"
        parts.metrics.errors.labels(endpoint, error.code).inc()
    response = views.json_response(failure_body(request.path, error, g.request_id), error.status)
    response.headers.update(error.headers())
    return response
