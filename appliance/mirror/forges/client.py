"""How adapters speak with a forge: one host, one token, limits, pages, and every refusal in words.

The token goes into a header and nowhere else: no message of this module shows it. Redirects are not followed, for they
would carry it to another host.
"""

from __future__ import annotations

import contextlib
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from appliance.errors import Conflict, FactoryError, NotFound, PolicyRefused, Unavailable
from appliance.mirror.certificates import trusting
from appliance.mirror.forges.wire import Wire

PAGES = 200
"""Most pages of one list that are read."""
LIST_BYTES = 64 * 2**20
"""Most of one list that is kept in memory."""
LIST_TIMES = 10
"""A whole list may take so many times as long as one answer."""


class Client:
    """The API of one forge. `base` is where its paths begin, like http://git.example/api/v1."""

    def __init__(self, base: str, headers: Mapping[str, str], ca: Path, seconds: float) -> None:
        self._base = base.rstrip("/")
        self._host = urlsplit(self._base).netloc
        self._headers = {"Accept": "application/json", **headers}
        self._ca = ca
        self._seconds = seconds
        self._kept = threading.local()
        self.clock = datetime.now(UTC)
        """The forge's own time, as its last answer said it."""

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """All calls of this thread meanwhile go over one connection, which ends with it."""
        with self._wire():
            yield

    def get(self, path: str, **params: str | int) -> Any:
        """One object. Raises as `call` does."""
        return self.call("GET", path, params=params)

    def find(self, path: str, **params: str | int) -> Any | None:
        """One object, or None where there is none."""
        try:
            return self.get(path, **params)
        except NotFound:
            return None

    def pages(self, path: str, **params: str | int) -> list[Any]:
        """A whole list, page by page, as the forge's Link headers lead."""
        rows: list[Any] = []
        target: str | None = path
        seen: set[str] = set()
        size, until = 0, time.monotonic() + LIST_TIMES * self._seconds
        with self.connected():
            while (
                target and target not in seen and len(seen) < PAGES and size < LIST_BYTES and time.monotonic() < until
            ):
                seen.add(target)
                answer = self._send("GET", target, params if target == path else {}, None)
                size += len(answer.content)
                page = self._json(answer)
                if not isinstance(page, list | None):
                    raise self._nonsense()
                rows += page or []
                target = self._following(answer)
        if target is None:
            return rows
        raise Unavailable(f"the forge's list {path} has no end", "look at the forge; the list is read again later")

    def call(
        self, verb: str, path: str, body: Mapping[str, Any] | None = None, params: Mapping[str, str | int] | None = None
    ) -> Any:
        """One call; what it answered as JSON, None for nothing.

        Raises:
            Unavailable: no answer, a failure of the forge, or a wish to wait (the hint says how long).
            PolicyRefused: the token may not (401, 403), or the forge does not allow it (405, 423).
            NotFound: 404, 410. Conflict: 409, 412. FactoryError: any other refusal, in the forge's words.
        """
        return self._json(self._send(verb, path, params or {}, body))

    def _send(
        self, verb: str, path: str, params: Mapping[str, str | int], body: Mapping[str, Any] | None
    ) -> httpx.Response:
        with self._wire() as wire:
            answer = wire.ask(verb, self._base + path, self._headers, params, body)
        with contextlib.suppress(ValueError):
            self.clock = parsedate_to_datetime(answer.headers.get("date", "")).astimezone(UTC)
        if answer.status_code >= 300:
            raise refusal(answer, verb, self._host)
        return answer

    @contextlib.contextmanager
    def _wire(self) -> Iterator[Wire]:
        kept: Wire | None = getattr(self._kept, "wire", None)
        if kept:
            yield kept
            return
        with Wire(self._host, self._trust, self._seconds) as made:
            self._kept.wire = made
            try:
                yield made
            finally:
                del self._kept.wire

    @cached_property
    def _trust(self) -> ssl.SSLContext | bool:
        """Raises VerificationFailed."""
        return trusting(self._ca) if self._base.startswith("https://") else False

    def _json(self, answer: httpx.Response) -> Any:
        if not answer.content:
            return None
        try:
            return answer.json()
        except (ValueError, RecursionError) as error:  # the latter: nested too deeply
            raise self._nonsense() from error

    def _nonsense(self) -> Unavailable:
        return Unavailable(f"{self._host} does not answer as a forge's API would", "check the address given with --api")

    def _following(self, answer: httpx.Response) -> str | None:
        """The next page, on this host alone: anything else would carry the token away."""
        url = str(answer.links.get("next", {}).get("url", ""))
        if not url:
            return None
        try:
            parts, ours = urlsplit(url), urlsplit(self._base).path
        except ValueError as error:
            raise self._nonsense() from error
        if not parts.path.startswith(ours + "/"):
            raise Unavailable(f"the next page of {self._host} is not on its API: {parts.path}", "check --api")
        inner = parts.path.removeprefix(ours)
        return f"{inner}?{parts.query}" if parts.query else inner


def refusal(answer: httpx.Response, verb: str, host: str) -> FactoryError:
    """What the forge turned down, as an error with a remedy."""
    code, said = answer.status_code, _said(answer)
    words = f"{host} answered {code} to {verb} {answer.request.url.path}: {said}"
    if code == 429 or (code in (403, 503) and _spent(answer, said)):
        return Unavailable(f"{host} asks to wait: {said}", f"try again in {_wait(answer)} s")
    if code < 400:
        return Unavailable(
            f"{host} sends the box elsewhere ({code})",
            "give its final address with --api, and the project's name of today",
        )
    if code == 401:
        return PolicyRefused(f"{host} does not accept the box's token: {said}", "make a new token and store it anew")
    if code in (403, 405, 423):
        return PolicyRefused(words, "let the box's account do this, or do it by hand; `repo check` tells what is owed")
    if code in (404, 410):
        return NotFound(words, "check the project's path, and that the box's account may see it")
    if code in (409, 412):
        return Conflict(words, "it is tried again from how things stand now")
    if code >= 500:
        return Unavailable(words, "look at the forge; it is tried again later")
    return FactoryError(words, "`repo check` looks at the forge's settings")


def _said(answer: httpx.Response) -> str:
    try:
        told = answer.json()
    except (ValueError, RecursionError):
        return answer.reason_phrase or "no reason given"
    words = told.get("message") or told.get("error") if isinstance(told, dict) else told
    further = told.get("errors") if isinstance(told, dict) else None
    if isinstance(further, list):  # GitHub says what is wrong here, and that something is wrong in the message
        words = ", ".join(
            [str(words), *(str(one.get("message", one) if isinstance(one, dict) else one) for one in further)]
        )
    return re.sub(r"[\x00-\x1f\x7f]+", " ", str(words))[:300] or "no reason given"


def _spent(answer: httpx.Response, said: str) -> bool:
    """Were there too many calls? A forge need not send a header for its finer limits."""
    headers = answer.headers
    return headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers or "rate limit" in said.lower()


def _wait(answer: httpx.Response) -> int:
    """Seconds until the forge listens again."""
    after = answer.headers.get("retry-after", "")
    until = answer.headers.get("x-ratelimit-reset") or answer.headers.get("ratelimit-reset", "")  # the latter: GitLab
    if re.fullmatch("[0-9]{1,12}", after):
        return int(after)
    if re.fullmatch("[0-9]{1,12}", until):
        return max(1, int(until) - int(datetime.now(UTC).timestamp()))
    return 60
