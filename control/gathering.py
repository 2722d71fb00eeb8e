"""gunicorn's threads, but a thread is taken only by a request that is here as a whole.

In gunicorn a thread reads from its connection: sixteen senders that drip their headers or bodies hold sixteen threads,
and nobody else is answered. Here the poller gathers what comes, within times and room (`control/arriving.py`), and a
thread reads from memory alone. The poller also waits for callers to hang up after the last answer, which gunicorn's
does one after the other, two seconds each. Where the port speaks TLS (`tls`) it shakes hands there, too: who
connects and says nothing takes no thread for it.

When there is no more room, what has waited longest, or takes most, has to go: a request that comes at once never waits.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from gunicorn.http import RequestParser
from gunicorn.workers.gthread import TConn, ThreadWorker

from appliance.tls import ServerTls, is_plain
from control.arriving import Arriving

WAITING = 512
"""Connections that a request is awaited from; fewer than gunicorn's `worker_connections`, which bounds all."""
ROOM = 128 * 1024 * 1024
"""Bytes of requests that are not whole yet."""
PIECE = 256 * 1024
FIRST_SECONDS = 10.0
"""Until a new connection says something."""
SEND_SECONDS = 60.0
"""For one piece of an answer; a caller that takes longer counts as gone."""
LINGER_SECONDS = 2.0
"""Until a caller has hung up, once the answer is sent: closed at once, its end could be lost."""
LOOK_SECONDS = 0.5
"""Between two looks at who is late."""

TOO_SLOW, TOO_LONG, PLAIN = "too_slow", "too_large", "not_encrypted"
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


def _refusal(status: str, code: str, message: str, hint: str) -> bytes:
    body = f'{{"error":{{"code":"{code}","message":"{message}","hint":"{hint}"}}}}\n'.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


REFUSALS = {
    TOO_SLOW: _refusal("408 Request Timeout", TOO_SLOW, "the request took too long to come", "send it faster"),
    TOO_LONG: _refusal("431 Request Header Fields Too Large", TOO_LONG, "the headers are too long", "send fewer"),
    PLAIN: _refusal("400 Bad Request", PLAIN, "this port speaks TLS, and the request is plain HTTP", "ask https://"),
}


class Caller(TConn):  # type: ignore[misc]
    """A connection, and the request that is on its way."""

    def __init__(self, cfg: Any, sock: socket.socket, address: Any, server: Any, arriving: Arriving) -> None:
        super().__init__(cfg, sock, address, server)
        self.arriving = arriving
        self.ran_dry = False
        """The parser wanted more than was gathered: it cuts requests elsewhere, so the connection is used no more."""
        self.leaving = 0.0
        """Until when it may hang up; 0 while there is something to come."""
        self.discarded = 0
        self.greeted = not isinstance(sock, ssl.SSLSocket)
        """Hands were shaken, or there is no TLS."""

    def init(self) -> None:
        """Called by a thread before it reads."""
        self.sock.settimeout(SEND_SECONDS)

    def hear(self) -> bytes:
        """A piece of what came, empty at its end.

        Raises BlockingIOError, ssl.SSLWantReadError or ssl.SSLWantWriteError while there is none, OSError when there
        will be none.
        """
        if not (self.greeted or self.leaving):
            self.sock.do_handshake()
            self.greeted = True
        piece: bytes = self.sock.recv(PIECE)
        while isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():  # of what is decrypted no poller knows
            piece += self.sock.recv(PIECE)
        return piece

    def say(self, words: bytes) -> None:
        """A few words, which fit into what the kernel holds for it; whether they come, nobody depends on. Plain ones
        where hands were not shaken."""
        with contextlib.suppress(OSError):
            if self.greeted:
                self.sock.send(words)
            else:
                socket.socket.send(self.sock, words)

    def part(self) -> None:
        """Let the caller know that nothing was cut off: TLS has a word for that."""
        if self.greeted and isinstance(self.sock, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):  # ValueError: it was said already
                self.sock.setblocking(False)
                self.sock.unwrap()

    def hand_over(self) -> None:
        """Let a parser read what came."""
        self.initialized, self.ran_dry = True, False
        self.parser = RequestParser(self.cfg, self._once(self.arriving.content), self.client)

    def _once(self, content: bytes) -> Iterator[bytes]:
        yield content
        self.ran_dry = True

    @property
    def until(self) -> float:
        """When it is no longer waited for."""
        return self.leaving or self.arriving.until


class GatheringWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's worker with threads; see above. `most`, `note` and `look` are set before it runs."""

    most: Callable[[bytes], int]
    """Of a request's head: how large a body is gathered, in bytes."""
    note: Callable[[bytes, str], None]
    """Told of a request that was refused here: what came of it, and why."""
    look: Callable[[], None]
    """Called about twice a second."""
    tls: ServerTls | None = None
    """None: plain HTTP."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._waiting: dict[Caller, None] = {}
        """In the order in which they began to wait."""
        self._held = 0
        self._next_look = 0.0
        self._ending = float("inf")

    # --- what gunicorn calls

    def accept(self, listener: socket.socket) -> None:
        """Take a connection, and wait for its request."""
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and self._waiting:  # for the next one there is room then
                self._turn_out(next(iter(self._waiting)))
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        if self.tls:
            try:
                sock = self.tls.context().wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            except OSError:  # it is gone already
                sock.close()
                return
        self.nr_conns += 1
        arriving = Arriving(self.most, time.monotonic(), FIRST_SECONDS)
        self._wait(Caller(self.cfg, sock, address, listener.getsockname(), arriving))

    def finish_request(self, caller: Caller, answered: Any) -> None:
        """After an answer: wait for the next request, or for the caller to hang up."""
        try:
            stays = not answered.cancelled() and answered.result()
        except Exception:  # whatever went wrong with one caller must not end the poller
            self.log.exception("a request could not be answered")
            stays = False
        if not stays or caller.ran_dry:
            self._let_go(caller)
            return
        caller.arriving = Arriving(self.most, time.monotonic(), float(self.cfg.keepalive))
        rest = caller.parser.unreader.take_buffered()  # of a sender that does not wait for answers
        if rest:
            caller.arriving.take(rest, time.monotonic())
        self._wait(caller)
        self._decide(caller)

    def handle_request(self, request: Any, caller: Caller) -> Any:
        """Answer, in a thread."""
        request.scheme = "https" if self.tls else "http"
        request._expected_100_continue = False  # it was told already, or is not to send the rest
        if not caller.arriving.whole:
            request.force_close()
        return super().handle_request(request, caller)

    def murder_pending(self) -> None:
        """End who is late. Called often."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        for caller in [one for one in self._waiting if min(one.until, self._ending) <= now]:
            if caller.leaving or not caller.arriving.size:
                self._drop(caller)
            else:
                self._refuse(caller, TOO_SLOW)
        self.look()

    def _cap_keepalive(self, deadline: float) -> None:
        """Called when the worker is told to end."""
        self._ending = deadline

    # --- waiting

    def _wait(self, caller: Caller) -> None:
        caller.sock.setblocking(False)
        self._waiting[caller] = None
        self._held += caller.arriving.size
        self.poller.register(caller.sock, selectors.EVENT_READ, partial(self._come, caller))
        self._make_room()

    def _come(self, caller: Caller, _sock: Any) -> None:
        """Something came, or the caller hung up."""
        if caller not in self._waiting:  # it had to make room meanwhile, as it may anywhere below
            return
        try:
            piece = caller.hear()
        except ssl.SSLWantWriteError:
            self._look_for(caller, selectors.EVENT_WRITE)
            return
        except (ssl.SSLWantReadError, BlockingIOError, InterruptedError):
            self._look_for(caller, selectors.EVENT_READ)
            return
        except OSError as error:
            if isinstance(error, ssl.SSLError) and is_plain(error):
                self._refuse(caller, PLAIN)
            else:
                self._drop(caller)
            return
        self._look_for(caller, selectors.EVENT_READ)
        self._take(caller, piece)

    def _look_for(self, caller: Caller, event: int) -> None:
        """What has to be possible next: TLS may have to write before it can read."""
        self.poller.modify(caller.sock, event, self.poller.get_key(caller.sock).data)

    def _take(self, caller: Caller, piece: bytes) -> None:
        """A piece of a request came, or of what nobody needs after the last answer; empty: the caller hung up."""
        if caller.leaving:
            caller.discarded += len(piece)
            if not piece or caller.discarded > PIECE:
                self._drop(caller)
            return
        if not piece and not caller.arriving.size:
            self._drop(caller)
            return
        if piece:
            self._held -= caller.arriving.size
            caller.arriving.take(piece, time.monotonic())
            self._held += caller.arriving.size
            self._make_room()
        else:
            caller.arriving.end()
        self._decide(caller)

    def _make_room(self) -> None:
        """End who waits longest, or takes most."""
        while len(self._waiting) > WAITING:
            self._turn_out(next(iter(self._waiting)))
        while self._held > ROOM:
            self._turn_out(max(self._waiting, key=lambda one: one.arriving.size))

    def _decide(self, caller: Caller) -> None:
        """Hand a request over once it is here."""
        if caller not in self._waiting:
            return
        arriving = caller.arriving
        if arriving.ready:
            self._forget(caller)
            caller.hand_over()
            self.enqueue_req(caller)
        elif arriving.head_too_long:
            self._refuse(caller, TOO_LONG)
        elif arriving.waits_for_word:
            arriving.go_on()
            caller.say(GO_ON)

    # --- ending

    def _refuse(self, caller: Caller, reason: str) -> None:
        self._forget(caller)
        caller.say(REFUSALS[reason])
        self.note(caller.arriving.content, reason)
        self._let_go(caller)

    def _turn_out(self, caller: Caller) -> None:
        if not caller.leaving and caller.arriving.size:
            caller.say(REFUSALS[TOO_SLOW])
            self.note(caller.arriving.content, TOO_SLOW)
        self._drop(caller)

    def _let_go(self, caller: Caller) -> None:
        """Say that this was all, and wait for the caller to hang up."""
        caller.part()
        try:
            caller.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(caller)
            return
        now = time.monotonic()
        caller.arriving, caller.leaving = Arriving(self.most, now, 0.0), now + LINGER_SECONDS
        self._wait(caller)

    def _drop(self, caller: Caller) -> None:
        self._forget(caller)
        caller.part()
        self._close(caller)

    def _forget(self, caller: Caller) -> None:
        del self._waiting[caller]
        self._held -= caller.arriving.size
        self.poller.unregister(caller.sock)

    def _close(self, caller: Caller) -> None:
        self.nr_conns -= 1
        caller.close()
