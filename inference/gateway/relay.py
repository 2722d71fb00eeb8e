"""Streams: an engine's chunks to the client, with comment lines while nothing comes.

An answer is found in a greenlet of its own (`_ask`), so that the client can be told meanwhile to wait. Until the first
piece has come the answer's status is open, and everything that fails is an ordinary error; when that takes long, the
headers go out anyway, and from then on the model stays and failures are events in the stream. Once there is an answer,
the engine is read as fast as the client takes it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import gevent
from gevent import Greenlet

from inference.gateway.calls import Call, lost
from inference.gateway.faults import ApiError, from_engine
from inference.gateway.parts import Parts
from inference.gateway.pieces import speaks
from inference.gateway.stream import UNREADABLE, Broken, ChatVoice, Events, Shaper, Voice
from inference.gateway.transcripts import Heard
from inference.gateway.upstream import LOST, Answer
from inference.gateway.watch import GONE, ended_early
from inference.limits import Priority

log = logging.getLogger("inference.gateway")

COMMENT = b": still working\n\n"
LAST_SECONDS = 1.0
"""How long an engine may take from its last word to the end of its answer, after which its connection can be kept."""

Piece = bytes | ApiError | None
"""Data, the failure that ended the stream, or its end."""
WAITING = b""
"""Nothing came for a while."""


class Relay:
    """One stream."""

    def __init__(self, parts: Parts, call: Call, voice: Callable[[str, Priority], Voice]) -> None:
        """`voice` makes the voice once the model is known."""
        self._parts = parts
        self._call = call
        self._voice_of = voice
        self._voice: Voice = ChatVoice()
        self._asking: Greenlet[[], Piece] | None = gevent.spawn(self._ask)
        """None once it has found an answer, or none."""
        self._answer: Answer | None = None
        self._patience = parts.settings.gateway.keepalive_seconds
        self._first: Piece = WAITING
        self._shaper = Shaper("")
        self._failure: ApiError | None = None
        self._whole = False
        self._settled = False
        self._heard = Heard() if parts.transcripts.on else None

    def begin(self) -> None:
        """Wait for the first piece, or until clients must hear something. Raises ApiError when nobody answers."""
        self._first = self._next()
        if isinstance(self._first, ApiError):
            self._failure = self._first
            self.close()
            raise self._first
        self._call.pinned = True
        self._call.model = self._call.model or self._call.decision.candidates[0]
        self._shaper = Shaper(self._call.model, self._call.prepared.must_call)
        self._voice = self._voice_of(self._call.model, self._call.priority)
        self._parts.first_byte(self._call)

    def body(self) -> Iterator[bytes]:
        """What the client gets."""
        events, piece, spoken = Events(), self._first, time.monotonic()
        if greeting := self._voice.begin():
            yield greeting
        while piece is not None and not isinstance(piece, ApiError):
            try:
                out = self._shape(events, piece) if piece else COMMENT
            except Broken as error:
                piece = from_engine(500, error.body, self._call.model)
                break
            if out or time.monotonic() - spoken > self._patience:
                yield out or COMMENT
                spoken = time.monotonic()
            if self._whole:
                return
            piece = self._next()
        if piece is None and self._shaper.finished:
            self._whole = True
            self._parts.desk.settle(self._call, self._shaper.usage, None)
            yield self._voice.end(self._shaper.usage)
            return
        self._failure = piece or self._broken(EOFError("the stream ended before the answer did"))
        self._parts.desk.settle(self._call, self._shaper.usage, self._failure)  # before the client sees the end
        if self._call.trip.ended != GONE:
            yield self._voice.fail(self._failure)

    def close(self) -> None:
        """The response is over, by its end or by the client's. Safe to call twice."""
        if self._settled:
            return
        self._settled = True
        if not self._whole:
            self._call.trip.end(GONE)
            self._failure = self._failure or ended_early(self._call.trip.ended)
        self._parts.settle(self._call, self._shaper.usage, self._failure, self._heard.whole() if self._heard else None)
        if self._asking is not None:
            self._asking.kill(block=False)
        elif self._answer is not None:
            self._hang_up(self._answer)

    def _hang_up(self, answer: Answer) -> None:
        """Leave the engine; its connection is kept when the answer is at its end."""
        try:
            while self._whole and answer.piece_within(LAST_SECONDS):
                pass
        except LOST:
            pass  # everybody has what they wanted
        finally:
            answer.close()

    def _shape(self, events: Events, piece: bytes) -> bytes:
        shaped = []
        for payload in events.feed(piece):
            if payload == b"[DONE]":
                self._whole = True
                shaped.append(self._voice.end(self._shaper.usage))
                break
            try:
                chunk = self._shaper.shape(payload)
                if chunk is not None:
                    if not self._call.spoke and speaks(chunk):
                        self._parts.first_token(self._call)
                    shaped.append(self._voice.say(chunk))
                    if self._heard is not None:
                        self._heard.take(chunk)
            except UNREADABLE as error:
                raise Broken({"error": {"message": f"a chunk of the stream cannot be read: {error}"}}) from error
        self._call.generated = self._shaper.generated
        if self._whole:
            self._parts.desk.settle(self._call, self._shaper.usage, None)  # before the client sees the end
        return b"".join(shaped)

    def _next(self) -> Piece:
        if self._asking is not None:
            self._asking.join(self._patience)
            if not self._asking.ready():
                return WAITING
            first: Piece = self._asking.value
            self._asking = None
            return first
        assert self._answer is not None, "after a failure nothing is asked for"
        try:
            piece = self._answer.piece_within(self._patience)
        except LOST as error:
            return self._broken(error)
        return WAITING if piece is None else piece or None

    def _broken(self, error: BaseException) -> ApiError:
        """Why the engine's answer broke off: we hung up, or it did."""
        over = self._call.trip.over
        return ended_early(over) if over else lost(self._call.model, error)

    def _ask(self) -> Piece:
        """Find an answer; its first piece, or why there is none."""
        try:
            self._answer, piece = self._parts.caller.answer(self._call, first_piece)
            return piece
        except ApiError as error:
            return error
        except Exception:  # the end of a greenlet: whoever waits on it must hear of it
            log.exception("a stream failed")
            return ApiError(500, "the gateway failed; its log says why", "internal_error", final=True)


def first_piece(answer: Answer) -> tuple[Answer, bytes]:
    """The answer with its first bytes. A stream that ends before them was lost."""
    piece = answer.piece()
    if not piece:
        raise ConnectionResetError("the stream ended before it began")
    return answer, piece
