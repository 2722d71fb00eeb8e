"""One connection to a forge's API, with limits that hold whatever the other side sends, and however slowly."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

import httpx

from appliance.errors import Unavailable
from appliance.mirror import certificates

MOST = 16 * 2**20
"""Bytes of one answer that are read; the longest page of a real forge has a few million."""

VERB_TIMES = 60
"""All calls over one connection may take so many times as long as one: a hostile list could ask for any number."""

IDLE_SECONDS = 2.0
"""So long an idle connection is used again: servers close theirs, the quickest after a few seconds."""


class Wire:
    """A connection that is kept from call to call, for one thread at a time. To be closed."""

    def __init__(self, host: str, trust: ssl.SSLContext | bool, seconds: float) -> None:
        self._host, self._seconds = host, seconds
        self._http = httpx.Client(
            verify=trust,
            trust_env=False,  # no proxy, and no login from a .netrc
            timeout=seconds,
            headers={"Accept-Encoding": "identity"},  # what is packed could unpack to any size
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_SECONDS),
        )
        self._lock = threading.Lock()
        self._held: socket.socket | None = None
        self._call = self._late = 0
        self._spent = 0.0
        self._made = False
        """Was a connection made for the call under way?"""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._hold(None)

    def ask(
        self, verb: str, url: str, headers: Mapping[str, str], params: Mapping[str, str | int],
        body: Mapping[str, Any] | None,
    ) -> httpx.Response:  # fmt: skip
        """One call; its whole answer, whatever its code. Raises Unavailable."""
        with self._watched():
            asked = self._http.build_request(
                verb, url, params=dict(params) or None, json=body, headers=dict(headers),
                extensions={"trace": self._note},
            )  # fmt: skip
            try:
                answer, content = self._answered(asked, again=verb == "GET")
            except (httpx.RequestError, httpx.InvalidURL, OSError) as error:
                if self._late == self._call or isinstance(error, httpx.TimeoutException):
                    raise self._too_slow() from error
                closer = certificates.in_words(str(error), self._host)
                words = f"the forge at {self._host} does not answer: {error}"
                raise closer or Unavailable(words, "is it up, and reachable from this box?") from error
        kept = [(name, value) for name, value in answer.headers.raw if name.lower() != b"content-encoding"]
        return httpx.Response(answer.status_code, headers=kept, content=content, request=answer.request)

    def _answered(self, asked: httpx.Request, again: bool) -> tuple[httpx.Response, bytes]:
        """The answer and its content. A kept connection may have been closed by the other side a moment ago: what only
        reads is asked `again`, on a new one. Nobody knows whether anything else was carried out: that is not."""
        self._made = False
        try:
            answer = self._http.send(asked, stream=True)
            try:
                return answer, self._content(answer)
            finally:
                answer.close()
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            if self._made or not again or self._late == self._call:
                raise
        return self._answered(asked, again=False)

    def _content(self, answer: httpx.Response) -> bytes:
        pieces, size = [], 0
        for piece in answer.iter_bytes():
            size += len(piece)
            if size > MOST:
                raise Unavailable(
                    f"{self._host} sent more than {MOST // 2**20} MB to {answer.request.url.path}",
                    "look at the forge: what does its API show there?",
                )
            pieces.append(piece)
        if self._late == self._call:  # an answer without a length ends where it is cut
            raise self._too_slow()
        return b"".join(pieces)

    def _too_slow(self) -> Unavailable:
        return Unavailable(
            f"the forge at {self._host} takes longer than {self._seconds:g} s for one answer",
            "look at the forge; it is tried again later (mirror.timeout_seconds is the limit, at most 30)",
        )

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """A limit for the whole call: a timeout begins anew with every byte."""
        if self._spent > VERB_TIMES * self._seconds:
            raise Unavailable(
                f"the forge at {self._host} has taken {self._spent:.0f} s for all that was asked at once",
                "look at the forge; it is tried again later",
            )
        began = time.monotonic()
        with self._lock:
            self._call += 1
        watch = threading.Timer(self._seconds, self._cut, (self._call,))
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()
            with self._lock:
                self._call += 1
            self._spent += time.monotonic() - began

    def _cut(self, call: int) -> None:
        with self._lock:
            if self._call != call:
                return  # it has ended meanwhile
            self._late = call
            self._shut()

    def _shut(self) -> None:
        if self._held:
            with contextlib.suppress(OSError):
                self._held.shutdown(socket.SHUT_RDWR)

    def _note(self, event: str, told: Mapping[str, Any]) -> None:
        """Keep a handle of the connection: TLS takes the socket itself over."""
        if event == "connection.connect_tcp.complete":
            self._made = True
            made: socket.socket = told["return_value"].get_extra_info("socket")
            self._hold(socket.socket(fileno=os.dup(made.fileno())))

    def _hold(self, made: socket.socket | None) -> None:
        with self._lock:
            if self._held:
                self._held.close()
            self._held = made
            if self._late == self._call:  # time was over before there was anything to cut
                self._shut()
