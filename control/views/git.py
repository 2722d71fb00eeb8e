"""The mirrors for an unmodified git: `git clone http://box.example/git/NAME.git`, read-only, with a key of the box.

Git shows what it is told in plain text, as `remote: …`. No session here: the key is the password, whatever the user
name, or a Bearer token. Whoever keeps presenting wrong keys has to wait.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from flask import Blueprint, Response, current_app, request
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

from appliance.errors import FactoryError, LimitExceeded, NotFound, PolicyRefused, Unavailable, UsageError
from appliance.keys import READ, Key, ring
from appliance.ports import Stream
from appliance.work import utcnow
from control.desk import EXTENSION, Desk, desk
from control.gate import http_status
from control.refusals import NotSignedIn, TooManyTries
from control.throttle import Throttle

blueprint = Blueprint("git", __name__, url_prefix="/git")
log = logging.getLogger("console")

DOOR = "appliance.git"
LONGEST_REQUEST = 32 * 1024 * 1024
"""Bytes of one request, unpacked: a line of 50 for each branch and each commit that a client tells of."""
PIECE = 64 * 1024
PATIENCE_SECONDS = 2.0
"""Wait for a place before a client is asked to come back."""
COME_BACK_SECONDS = 15


class Closed(NotSignedIn):
    """No key, or one that opens nothing."""


@dataclass(frozen=True)
class Door:
    """What all requests share."""

    places: threading.BoundedSemaphore
    throttle: Throttle


@blueprint.record_once
def _with_door(state: BlueprintSetupState) -> None:
    settings: Desk = state.app.extensions[EXTENSION]
    places = threading.BoundedSemaphore(max(1, settings.settings.console.clones))
    state.app.extensions[DOOR] = Door(places, Throttle(time.monotonic))


@blueprint.get("/<name>.git/info/refs")
def refs(name: str) -> ResponseReturnValue:
    """Branches and tags of a mirror, as git asks for them; a key with the scope git opens it."""
    key = _reader(name)
    service = request.args.get("service", "")
    if service == "git-receive-pack":
        raise _read_only()
    if service != "git-upload-pack":
        raise UsageError("this door speaks git's smart protocol alone", "use git 1.6.6 or newer")
    return _answer(name, key, "advertisement", lambda: desk().mirrors.refs(name, _protocol()))


@blueprint.post("/<name>.git/git-upload-pack")
def pack(name: str) -> ResponseReturnValue:
    """What a clone or fetch asks of a mirror, sent as it is packed."""
    key = _reader(name)
    with _asked() as asked:
        return _answer(name, key, "result", lambda: desk().mirrors.pack(name, _protocol(), asked), _verb(asked))


@blueprint.post("/<name>.git/git-receive-pack")
def write(name: str) -> ResponseReturnValue:
    """Refused: a mirror is read only."""
    _reader(name)
    raise _read_only()


@blueprint.errorhandler(FactoryError)
def _in_plain_words(error: FactoryError) -> ResponseReturnValue:
    answer = Response(f"{error.message}\n{error.hint}\n", http_status(error), mimetype="text/plain")
    if isinstance(error, NotSignedIn):
        answer.headers["WWW-Authenticate"] = 'Basic realm="appliance", charset="UTF-8"'
    if isinstance(error, Unavailable):
        answer.headers["Retry-After"] = str(COME_BACK_SECONDS)
    if isinstance(error, TooManyTries):
        answer.headers["Retry-After"] = str(error.seconds)
    return answer


def _reader(name: str) -> Key:
    """The key that asks, once it may read this repository. Which repositories there are is told to nobody else."""
    key = _key()
    if not desk().settings.console.clones:
        raise PolicyRefused("this box serves no repositories", "set console.clones above zero")
    if READ not in key.scopes:
        raise PolicyRefused(
            f"key {key.name!r} opens no repositories",
            f"`appliance key set {key.name} --scope {READ}` lets it read them",
        )
    known = None
    if key.reads(name):
        with suppress(NotFound):
            known = desk().ledger.repository(name)
    if known is None:
        raise NotFound(
            f"there is no repository {name!r} for this key", "`appliance repo list` and `appliance key show`"
        )
    return key


def _key() -> Key:
    """The key that was presented, alive. Raises Closed, TooManyTries."""
    shown = request.authorization
    token = (shown.token if shown.type == "bearer" else shown.password) if shown else None
    if not token:
        raise Closed("show a key of this box", "any user name, and as password what `appliance key create` printed")
    door, address = _door(), request.remote_addr or "?"
    key = ring(desk().home.secrets / "keys.json").find(token)
    if key is None:
        wait = door.throttle.failed(address)
        if wait:
            raise TooManyTries(wait)
        log.warning("git: a wrong key was presented from %s", address)
        raise Closed("this is no key of this box", "`appliance key create NAME --scope git` makes one")
    door.throttle.succeeded(address)
    if why := key.dead(utcnow()):
        raise Closed(why, "ask the operator for a new one")
    return key


def _read_only() -> PolicyRefused:
    return PolicyRefused(
        "the box's mirrors are read only", "push to the repository's own server; the box fetches from there"
    )


def _answer(name: str, key: Key, kind: str, start: Callable[[], Stream], verb: str = "") -> Response:
    """git's answer, whose first piece is there before anything is said: a failure can still be told in words."""
    door = _door()
    if not door.places.acquire(timeout=PATIENCE_SECONDS):
        raise Unavailable(
            "as many clones as this box serves at once are under way", f"try again in {COME_BACK_SECONDS} s"
        )
    try:
        sending = Sending(start(), door, f"{key.name!r} ({key.id})", name, verb)
    except BaseException:
        door.places.release()
        raise
    try:
        sending.begin()
    except BaseException:
        sending.close()
        raise
    return Response(sending, mimetype=f"application/x-git-upload-pack-{kind}")


class Sending:
    """An answer under way: holds a place until it is closed, and then notes who read what."""

    def __init__(self, stream: Stream, door: Door, key: str, name: str, verb: str) -> None:
        self._stream = stream
        self._door = door
        self._line = (name, verb, key, request.remote_addr or "?")
        self._verb = verb
        self._pieces = iter(stream)
        self._first = b""
        self._bytes = 0
        self._whole = False
        self._open = True
        self._since = time.monotonic()

    def begin(self) -> None:
        """Wait for the first piece. Raises FactoryError when there is none."""
        self._first = next(self._pieces, b"")

    def __iter__(self) -> Iterator[bytes]:
        yield self._first
        self._bytes = len(self._first)
        try:
            for piece in self._pieces:
                yield piece
                self._bytes += len(piece)
            self._whole = True
        except FactoryError as error:  # too late to tell the client, who sees that the end is missing
            log.warning("git: %s: %s", self._line[0], error.message)

    def close(self) -> None:
        """End git, give the place back and write the line. Called by the server, whatever became of the client."""
        if not self._open:
            return
        self._open = False
        self._stream.close()
        self._door.places.release()
        if self._verb:
            seconds, end = time.monotonic() - self._since, "" if self._whole else ", cut off"
            log.info("git: %s %s by key %s from %s: %d bytes in %.1f s%s", *self._line, self._bytes, seconds, end)


@contextmanager
def _asked() -> Iterator[IO[bytes]]:
    """The request's body in a file, unpacked; unbuffered, for git reads on where the file stands. Raises LimitExceeded
    for one that is too large, UsageError for what is no gzip."""
    request.max_content_length = LONGEST_REQUEST
    with tempfile.TemporaryFile(buffering=0) as kept:
        try:
            _unpack(kept)
        except RequestEntityTooLarge as error:
            raise LimitExceeded("the request is too large", "fetch fewer branches at once") from error
        except zlib.error as error:
            raise UsageError(f"this is not the gzip that it says: {error}", "send gzip, or say nothing") from error
        kept.seek(0)
        yield kept


def _unpack(kept: IO[bytes]) -> None:
    """Raises zlib.error, RequestEntityTooLarge."""
    packed = request.headers.get("Content-Encoding", "") in ("gzip", "x-gzip")
    unpack, size = zlib.decompressobj(zlib.MAX_WBITS | 16), 0
    while piece := request.stream.read(PIECE):
        while piece:
            content, piece = (unpack.decompress(piece, PIECE), unpack.unconsumed_tail) if packed else (piece, b"")
            size += kept.write(content)
            if size > LONGEST_REQUEST:
                raise RequestEntityTooLarge


def _verb(asked: IO[bytes]) -> str:
    """What is asked for, for the log; "" for a mere look at the branches."""
    opening = asked.read(PIECE)
    asked.seek(0)
    if b"command=ls-refs" in opening[:PIECE]:
        return ""
    return "fetched" if b"have " in opening else "cloned"


def _protocol() -> str:
    return request.headers.get("Git-Protocol", "")


def _door() -> Door:
    found: Door = current_app.extensions[DOOR]
    return found
