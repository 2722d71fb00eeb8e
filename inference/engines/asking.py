"""One short question to an engine over HTTP, and in words why there was no answer."""

from __future__ import annotations

import http.client
import json
import math
import re
import ssl
from typing import Any
from urllib.parse import urlsplit

from appliance.errors import Unavailable
from inference.engines.engine import Seat

PROBE_SECONDS = 30.0
"""How long one token or one vector may take on a slow box before the next look."""
ALIVE_SECONDS = 10.0
"""How long an answer that costs no work may take."""
LONGEST = 16 * 2**20
"""Bytes of an answer that are read: a server that is not the box's own could send any number."""
REFUSED = 401, 403
HINT = "see its log, or `appliance model show` for its state"


def fetch(
    seat: Seat, method: str, path: str, body: dict[str, Any] | None = None, seconds: float = PROBE_SECONDS
) -> bytes:
    """What the engine answers with status 200, given so long. Raises Unavailable with the reason."""
    parts = urlsplit(seat.url)
    raw = None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {seat.key}"} if seat.key else {})
    connection = connect(seat.url, seat.ca_file, seconds)
    try:
        connection.request(method, parts.path.rstrip("/") + path, raw, headers)
        response = connection.getresponse()
        answer = response.read(LONGEST)
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{seat.url} does not answer: {in_words(error)}", HINT) from error
    finally:
        connection.close()
    if response.status in REFUSED:
        raise Unavailable(f"{seat.url} refuses the key (status {response.status})", "give it another key")
    if response.status != 200:
        raise Unavailable(f"{seat.url} answers {path} with status {response.status}: {_said(answer)}", HINT)
    return answer


def ask(seat: Seat, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The JSON object the engine answers with. Raises Unavailable with the reason."""
    try:
        answer = json.loads(fetch(seat, "POST", path, body))
    except ValueError as error:
        raise Unavailable(f"{seat.url} answers {path} with something that is no JSON", HINT) from error
    if not isinstance(answer, dict):
        raise Unavailable(f"{seat.url} answers {path} with something that is no JSON object", HINT)
    return answer


def counts(seat: Seat, names: str) -> bool:
    """Whether one of the engine's own counters (a regular expression) is above zero.

    One that does not answer does no work.
    """
    try:
        answer = fetch(seat, "GET", "/metrics")
    except Unavailable:
        return False
    found = re.findall(rf"^(?:{names})(?:{{[^}}]*}})? (\S+)".encode(), answer, re.MULTILINE)
    return any(float(count) > 0 for count in found)


def connect(url: str, ca_file: str, timeout: float) -> http.client.HTTPConnection:
    """A connection, not opened yet. Raises Unavailable when the CA's file cannot be used."""
    parts = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    if parts.scheme != "https":
        return http.client.HTTPConnection(host, parts.port, timeout=timeout)
    return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=trusting(ca_file))


def trusting(ca_file: str) -> ssl.SSLContext:
    """Checks certificates against this CA alone; against the machine's where none is named. Raises Unavailable."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"the CA file {ca_file} cannot be used: {error}", "give a PEM file with --ca") from error


def in_words(error: BaseException) -> str:
    """Why a connection failed.

    >>> in_words(ConnectionRefusedError(111, "Connection refused"))
    'nothing listens there (yet)'
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not one that the CA vouches for ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"it does not speak TLS as it should ({error.reason or error})"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there (yet)"
    if isinstance(error, TimeoutError):
        return "no word in time"
    return str(error) or type(error).__name__


def is_vector(answer: dict[str, Any], length: int = 0) -> bool:
    """A whole vector of finite numbers, not all zero: a broken model is found here and not by its users."""
    rows = answer.get("data") or [{}]
    vector = rows[0].get("embedding") or []
    return bool(vector) and length in (0, len(vector)) and all(map(math.isfinite, vector)) and any(vector)


def is_ranking(answer: dict[str, Any]) -> bool:
    """One document with a finite score."""
    results = answer.get("results") or []
    return len(results) == 1 and math.isfinite(results[0].get("relevance_score", math.nan))


def _said(body: bytes) -> str:
    """The message of an error's body, else its beginning."""
    text = body[:10_000].decode("utf-8", "replace")
    if text.lstrip()[:1] == "<":
        title = re.search(r"<title>\s*([^<]+)", text, re.IGNORECASE)
        return f"a web page ({title[1].strip()[:100]})" if title else "a web page"
    try:
        error = json.loads(text).get("error")
        found = error.get("message") if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        found = None
    return str(found or text)[:200].strip()
