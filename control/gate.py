"""Who gets in. Installed once for the whole application, so that a new view is closed until it is let out by name.

In order: the Host header must be ours; an unsafe request from a browser must come from our own pages (Origin); then a
session or `Authorization: Bearer` must say on whose behalf it is; the role of who asks must reach as far as the route
needs; and an unsafe request of a session must carry its CSRF token. Whoever acts is in every event that comes of it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from datetime import timedelta

from flask import Flask, Response, current_app, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue

from appliance.errors import FactoryError, PolicyRefused, UsageError
from appliance.ledger import Ledger
from appliance.ledger.acting import ACTOR
from appliance.settings import ConsoleSettings
from appliance.tls import HSTS
from appliance.user import CONSOLE, Owed, Session, Who
from control import roles
from control.hosts import is_ours, local_path, own_names
from control.identity_provider import IdentityProvider, Person
from control.one_time import Codes
from control.refusals import NotSignedIn
from control.roles import SAFE_METHODS
from control.signing_in import SigningIn

EXTENSION = "appliance.gate"
log = logging.getLogger("console")

OPEN_ENDPOINTS = frozenset(
    {
        "static", "door.sign_in", "health.healthz", "hooks.take", "hooks.take_shared", "git.refs", "git.pack",
        "git.write", "door.ask_provider", "door.back_from_provider", "certificate.root",
    }
)  # fmt: skip
"""All that a stranger may ask for; a hook is let in by its signature, git by a key. The root of the certificate is
public: whoever is to trust the box has to have it first."""

STEPS = {Owed.CODE: "door.give_code", Owed.PASSWORD: "door.give_password"}
"""What a sign-in still owes → the one page it may see, beside signing out."""


class Gate:
    """Checks each request before any view sees it."""

    def __init__(self, ledger: Ledger, codes: Codes, token: str, session_key: str, settings: ConsoleSettings) -> None:
        self._session_key = session_key
        self._settings = settings
        self._names = own_names(settings.host, settings.reached_by)
        self._cookie = f"appliance_console_{settings.port}"  # cookies know no ports: two boxes may share a host
        if settings.secure:  # then browsers take it from this very host, and by TLS, alone
            self._cookie = f"__Host-{self._cookie}"
        self.codes = codes
        self.tls = settings.tls
        self.provider = IdentityProvider(settings) if settings.oidc_issuer else None
        self.signing_in = SigningIn(ledger, codes, token, settings)
        # a session opened with the box's token is bound to it: a new token ends it
        self._mark = hmac.new(session_key.encode(), token.encode(), hashlib.sha256).hexdigest()

    def install(self, app: Flask) -> None:
        """Put the gate before every view of `app`."""
        app.secret_key = self._session_key
        app.config.update(
            SESSION_COOKIE_NAME=self._cookie,
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Strict",
            SESSION_COOKIE_SECURE=self._settings.secure,
            PERMANENT_SESSION_LIFETIME=timedelta(hours=self._settings.session_hours),
        )
        app.extensions[EXTENSION] = self
        app.before_request(self._check)
        app.after_request(_protect)
        app.teardown_request(_forget_actor)
        app.context_processor(_for_pages)

    # --- opening and closing sessions

    def sign_in_with_token(self, offered: str) -> None:
        """Open a session of the box's own. Raises NotSignedIn or TooManyTries when the token is not the right one."""
        address, agent = request.remote_addr or "?", request.user_agent.string
        self._begin(self.signing_in.open_with_token(offered, address, agent))

    def sign_in_with_password(self, name: str, password: str) -> Session:
        """Begin or open a person's session. Raises NotSignedIn or TooManyTries."""
        address, agent = request.remote_addr or "?", request.user_agent.string
        secret, opened = self.signing_in.open_with_password(name, password, address, agent)
        self._begin(secret)
        return opened

    def sign_in_for(self, person: Person) -> None:
        """Open a session for whom the identity provider vouches. Raises NotSignedIn, Conflict."""
        address, agent = request.remote_addr or "?", request.user_agent.string
        self._begin(self.signing_in.open_for(person, address, agent))

    def go_on(self, step: tuple[str, Session]) -> Session:
        """Take the session that the next step of a sign-in opened."""
        self._begin(step[0])
        return step[1]

    def _begin(self, secret: str) -> None:
        self.signing_in.make_room(str(session.get("secret", "")))
        session.clear()
        session.permanent = True
        session["secret"] = secret
        session["mark"] = self._mark
        session["csrf"] = secrets.token_urlsafe(32)

    def opened(self) -> Session | None:
        """The session of the browser that asks, whatever it still owes."""
        found = self.signing_in.session(str(session.get("secret", "")))
        if found and not found.user and not hmac.compare_digest(str(session.get("mark", "")), self._mark):
            return None
        return found

    # --- each request

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
            bearer = offered.strip() if scheme.lower() == "bearer" else ""
            return self._let_in(self.signing_in.by_token(bearer, request.remote_addr or "?"))
        if request.endpoint == "floor.show" and "token" in request.args:
            self.sign_in_with_token(request.args["token"])
            return redirect(url_for("floor.show"), 303)  # the token must not stay in the address bar
        opened = self.opened()
        if opened is None:
            return self._turn_away()
        answer = self._in_session(opened)
        if answer is None and unsafe:
            self._check_csrf()
        return answer

    def _in_session(self, opened: Session) -> ResponseReturnValue | None:
        g.session = opened
        if opened.owes != Owed.NOTHING:
            if request.endpoint in (STEPS[opened.owes], "door.sign_out"):
                return None
            if is_for_programs():
                raise NotSignedIn("the sign-in is not finished", "finish it in the browser")
            return redirect(url_for(STEPS[opened.owes]), 303)
        if request.endpoint in STEPS.values():
            return redirect(url_for("floor.show"), 303)
        who = self.signing_in.who(opened, request.remote_addr or "?")
        if who is None:
            return self._turn_away()
        g.by_cookie = True
        return self._let_in(who)

    @staticmethod
    def _let_in(who: Who) -> None:
        g.who = who
        try:
            roles.check(who, request.endpoint, request.method)
        except PolicyRefused as error:
            asked = (request.method, request.path, error.message)
            log.warning("refused to %s from %s: %s %r, %s", who.name, who.address, *asked)
            raise
        told = {"name": who.name, "address": who.address, "session": who.session, "token": who.token}
        g.actor = ACTOR.set({key: value for key, value in told.items() if value})

    @staticmethod
    def _turn_away() -> ResponseReturnValue:
        if is_for_programs():
            raise NotSignedIn("no token was presented", "send `Authorization: Bearer` with a token")
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


def the_gate() -> Gate:
    """The gate of the application that answers the current request."""
    found: Gate = current_app.extensions[EXTENSION]
    return found


def person() -> str:
    """The name of who asks, for `by` in what is recorded."""
    who: Who | None = g.get("who")
    return who.name if who else CONSOLE


def source(door: str) -> str:
    """Where a signal comes from: the door, and the person behind it where there is a name."""
    return door if person() == CONSOLE else f"{door}:{person()}"


def who_asks() -> Who:
    """On whose behalf the current request is answered; only where the gate let somebody in."""
    found: Who = g.who
    return found


LOOK_SECONDS = 2.0
"""Pause between looks whether a stream's session is still open."""


def ended() -> Callable[[], bool]:
    """For a long answer to the current request: tells, asked at any time later, whether its session has ended."""
    if not g.get("by_cookie", False):
        return lambda: False
    gate = the_gate()
    secret, looked = str(session["secret"]), time.monotonic()

    def is_over() -> bool:
        nonlocal looked
        if time.monotonic() - looked < LOOK_SECONDS:
            return False
        looked = time.monotonic()
        return not gate.signing_in.is_open(secret)

    return is_over


def _for_pages() -> dict[str, object]:
    who: Who | None = g.get("who")
    return {
        "csrf": session.get("csrf", ""),
        "signed_in": g.get("by_cookie", False),
        "who": who,
        "may": lambda endpoint, method="POST": bool(who and who.may(roles.needed(endpoint, method))),
    }


def _forget_actor(_error: BaseException | None) -> None:
    mark = g.pop("actor", None)
    if mark is not None:
        ACTOR.reset(mark)


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
    if request.endpoint == "door.sign_out":
        headers["Clear-Site-Data"] = '"cache", "storage"'  # cookies of other ports of this host must stay
    if the_gate().tls:
        headers["Strict-Transport-Security"] = HSTS
    if request.endpoint != "static":
        kept = "ETag" in headers and not g.get("by_cookie", False)
        headers["Cache-Control"] = "private, no-cache" if kept else "no-store"
    return response


STATUS_OF = {
    "usage": 400, "config": 400, "refused": 403, "no_sandbox": 403, "not_found": 404, "conflict": 409, "changed": 412,
    "limit": 413, "unavailable": 503, "not_signed_in": 401, "too_many_tries": 429, "wrong_signature": 401,
    "verification_failed": 422, "too_fast": 429,
}  # fmt: skip
"""Error code → HTTP status; anything else is 500."""


def http_status(error: FactoryError) -> int:
    """The HTTP status that says what this error says."""
    return STATUS_OF.get(error.code, 500)
