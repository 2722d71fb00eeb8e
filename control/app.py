"""The Flask application: the gate, the blueprints, and how errors are shown."""

from __future__ import annotations

import logging
from pathlib import Path

from flask import Flask, Response, jsonify, make_response, render_template, request
from flask.typing import ResponseReturnValue
from gunicorn.http.errors import ParseException
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from appliance.config import Home
from appliance.errors import FactoryError
from control import access, api, places, views, wording
from control.desk import EXTENSION, Desk
from control.gate import Gate, http_status, is_for_programs
from control.one_time import Codes
from control.refusals import ComeLater, NotSignedIn, TooManyTries

log = logging.getLogger("console")

SAID = {
    404: ("there is no such page", "check the address; the manual's page on routes lists all"),
    405: ("this address takes another method", "the manual's page on routes lists all"),
    413: ("what was sent is too large", "send less than 1 MiB at once"),
}
LARGEST_BODY = 1024 * 1024
"""Bytes of one request."""


def create_app(desk: Desk, token: str, session_key: str) -> Flask:
    """The application for one process."""
    app = Flask("control")
    app.config.update(MAX_CONTENT_LENGTH=LARGEST_BODY, MAX_FORM_MEMORY_SIZE=LARGEST_BODY)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(wording.FILTERS)
    app.jinja_env.globals.update(has_asset=has_asset, bar=places.bar, within=places.WITHIN)
    app.extensions[EXTENSION] = desk
    codes = Codes(access.ensure_code_key(desk.home))
    Gate(desk.ledger, codes, token, session_key, desk.settings.console).install(app)
    for blueprint in (*views.BLUEPRINTS, *api.BLUEPRINTS):
        app.register_blueprint(blueprint)
    app.register_error_handler(FactoryError, _on_factory_error)
    app.register_error_handler(ValidationError, _on_bad_content)
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(ParseException, _on_broken_chunks)
    app.register_error_handler(Exception, _on_surprise)
    return app


def has_asset(name: str) -> bool:
    """Did the set-up bring this file of a third party? Pages do without where it could not."""
    return (Path(__file__).parent / "static" / "vendor" / name).is_file()


def home_of(app: Flask) -> Home:
    """The home an application works on."""
    desk: Desk = app.extensions[EXTENSION]
    return desk.home


def _on_factory_error(error: FactoryError) -> ResponseReturnValue:
    return _shown(error.code, error.message, error.hint, http_status(error), error)


def _on_bad_content(error: ValidationError) -> ResponseReturnValue:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the request"
    return _shown("usage", f"{place}: {first['msg']}", "mend the field named and send it again", 400)


def _on_http_error(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    code = {404: "not_found", 413: "limit"}.get(status, "usage" if status < 500 else "failed")
    message, hint = SAID.get(status, (error.description or error.name, ""))
    return _shown(code, message, hint, status)


def _on_broken_chunks(_error: ParseException) -> ResponseReturnValue:
    """A stranger may send such: it must leave no traceback in the log."""
    return _shown("usage", "the chunks of what was sent are not well formed", "send it again", 400)


def _on_surprise(error: Exception) -> ResponseReturnValue:
    """The boundary of the process: whatever went wrong, the caller gets the same shape and the log the traceback."""
    log.exception("%s %r failed", request.method, request.path, exc_info=error)
    return _shown("failed", "the console failed while answering", "logs/console.log has the details", 500)


def _shown(code: str, message: str, hint: str, status: int, error: FactoryError | None = None) -> Response:
    if is_for_programs():
        response = jsonify({"error": {"code": code, "message": message, "hint": hint}})
    elif isinstance(error, NotSignedIn | TooManyTries):
        response = make_response(render_template("sign_in.html", problem=error, next="/", people=False, name=""))
    else:
        response = make_response(render_template("error.html", status=status, message=message, hint=hint))
    response.status_code = status
    if isinstance(error, NotSignedIn):
        response.headers["WWW-Authenticate"] = 'Bearer realm="appliance"'
    if isinstance(error, ComeLater):
        response.headers["Retry-After"] = str(error.seconds)
    return response
