"""Who gets in. Installed once for the whole application, so that a new view is closed until it is let out by name.

In order: the Host header must be ours; an unsafe request from a browser must come from our own pages (Origin); then a
session cookie or `Authorization: Bearer` must show the token; then an unsafe request with a cookie must carry the
session's CSRF token.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import secrets
import time
from datetime import timedelta
from typing import ClassVar
from urllib.parse import urlsplit

from flask import Flask, Response, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue

from appliance.errors import FactoryError, PolicyRefused, UsageError
from appliance.settings import ConsoleSettings
from control.hosts import is_ours, local_path, own_names
from control.throttle import Throttle

log = logging.getLogger("console")

OPEN_ENDPOINTS = frozenset(
    {
        "static", "door.sign_in", "health.healthz", "hooks.take", "hooks.take_shared", "git.refs", "git.pack",
        "git.write",
    }
)  # fmt: skip
"""All that a stranger may ask for; a hook is let in by its signature, git by a key."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SESSION_HOURS = 12


class NotSignedIn(PolicyRefused):
    """No token, or not the right one."""

    code = "not_signed_in"


class WrongSignature(PolicyRefused):
    """A message that its sender did not sign with the repository's secret."""

    code = "wrong_signature"


class ComeLater(PolicyRefused):
    """Refused for so many seconds."""

    message_shown: ClassVar[str]

    def __init__(self, seconds: float) -> None:
        self.seconds = math.ceil(seconds)
        super().__init__(self.message_shown, f"try again in {self.seconds} s")


class TooManyTries(ComeLater):
    """This address keeps presenting wrong tokens."""

    code = "too_many_tries"
    message_shown = "too many wrong tokens from this address"


class TooFast(ComeLater):
    """More messages come for a repository than the settings allow."""

    code = "too_fast"
    message_shown = "more webhooks came for this repository than intake.hooks_per_minute allows"


class Gate:
    """Checks each request before any view sees it."""

    def __init__(self, token: str, session_key: str, settings: ConsoleSettings) -> None:
        self._token = token.encode()
        self._session_key = session_key
        of_url = [urlsplit(settings.url).hostname or ""] if settings.url else []
        self._names = own_names(settings.host, [*settings.host_names, *of_url])
        self._cookie = f"appliance_console_{settings.port}"  # cookies know no ports: two boxes may share a host
        self._throttle = Throttle(time.monotonic)
        # a session is bound to the token it was opened with: a new token ends it
        self._mark = hmac.new(session_key.encode(), self._token, hashlib.sha256).hexdigest()

    def install(self, app: Flask) -> None:
        """Put the gate before every view of `app`."""
        app.secret_key = self._session_key
        app.config.update(
            SESSION_COOKIE_NAME=self._cookie,
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Strict",
            PERMANENT_SESSION_LIFETIME=timedelta(hours=SESSION_HOURS),
        )
        app.extensions["appliance.gate"] = self
        app.before_request(self._check)
        app.after_request(_protect)
        app.context_processor(lambda: {"csrf": session.get("csrf", ""), "signed_in": g.get("by_cookie", False)})

    def sign_in(self, offered: str) -> None:
        """Open a session. Raises NotSignedIn or TooManyTries when the token is not the right one."""
        self._compare(offered)
        session.clear()
        session.permanent = True
        session["mark"] = self._mark
        session["csrf"] = secrets.token_urlsafe(32)

    def _compare(self, offered: str) -> None:
        address = request.remote_addr or "?"
        if hmac.compare_digest(offered.encode(), self._token):
            self._throttle.succeeded(address)
            return
        wait = self._throttle.failed(address)
        if wait:
            raise TooManyTries(wait)
        log.warning("a wrong token was presented from %s", address)
        raise NotSignedIn("the token is not the right one", "it is in secrets/console.token of the box's home")

    def _check(self) -> ResponseReturnValue | None:
        if not is_ours(request.host, self._names):
            raise UsageError(
                f"this box is not called {request.host!r}", "add the name to console.host_names in the settings"
            )
        unsafe = request.method not in SAFE_METHODS
        if unsafe:
            self._check_origin()
        if request.endpoint in OPEN_ENDPOINTS:
            return None
        header = request.headers.get("Authorization", "")
        if header:
            scheme, _, offered = header.partition(" ")
            self._compare(offered.strip() if scheme.lower() == "bearer" else "")
            return None
        if request.endpoint == "floor.show" and "token" in request.args:
            self.sign_in(request.args["token"])
            return redirect(url_for("floor.show"), 303)  # the token must not stay in the address bar
        if hmac.compare_digest(str(session.get("mark", "")), self._mark):
            g.by_cookie = True
            if unsafe:
                self._check_csrf()
            return None
        return self._turn_away()

    @staticmethod
    def _turn_away() -> ResponseReturnValue:
        if is_for_programs():
            raise NotSignedIn("no token was presented", "send `Authorization: Bearer` with secrets/console.token")
        wanted = local_path(request.full_path.rstrip("?")) if request.method == "GET" else "/"
        return redirect(url_for("door.sign_in", next=wanted if wanted != "/" else None), 303)

    def _check_origin(self) -> None:
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != request.host:
            raise PolicyRefused("the request came from another site", "use the console's own pages")

    @staticmethod
    def _check_csrf() -> None:
        sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf", "")
        kept = str(session.get("csrf", ""))
        if not kept or not hmac.compare_digest(sent.encode(), kept.encode()):
            raise PolicyRefused("the form is out of date", "load the page again and repeat what you did")


def is_for_programs() -> bool:
    """Is this request from a program, which wants JSON, rather than a person's browser?"""
    return request.path.startswith(("/api/", "/events", "/healthz", "/hooks/", "/metrics"))


def _protect(response: Response) -> Response:
    """Headers that keep a page's content in the page."""
    headers = response.headers
    headers["Content-Security-Policy"] = (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    )
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "same-origin"  # not no-referrer: that would blank the Origin of our own forms
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    if request.endpoint != "static":
        headers["Cache-Control"] = "no-store"
    return response


STATUS_OF = {
    "usage": 400, "config": 400, "refused": 403, "no_sandbox": 403, "not_found": 404, "conflict": 409,
    "limit": 413, "unavailable": 503, "not_signed_in": 401, "too_many_tries": 429, "wrong_signature": 401,
    "verification_failed": 422, "too_fast": 429,
}  # fmt: skip
"""Error code → HTTP status; anything else is 500."""


def http_status(error: FactoryError) -> int:
    """The HTTP status that says what this error says."""
    return STATUS_OF.get(error.code, 500)
