"""How other processes ask the learning store: one JSON line there and one back, over a Unix socket.

::

    {"ask": "outcomes", "with": {"repo": "shop"}}     {"rows": [...]}
    {"ask": "sql", "with": {"sql": "…", "most": 9}}   {"columns": [...], "rows": [[...]], "more": false}
    … with "format": "arrow"                          {"rows": 9, "more": true, "bytes": 704} and the bytes after it
    {"ask": "export"}                                 {"folder": "…", "rows": {"events": 7, …}}
    {"ask": "status"}                                 {"status": {...}}
    {"ask": "rebuild"}                                {"status": {...}}    once it is done
    {"ask": "forget", "with": {"name": "ada"}}        {"status": {...}}    likewise
                                                      {"error": {"code", "message", "hint"}}
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.config import Home
from appliance.errors import FactoryError, LimitExceeded, NotFound, Unavailable, UsageError
from appliance.sockets import short_name

LONGEST_ANSWER = 64 * 1024 * 1024
"""Bytes. An answer is read whole."""

LONG_SECONDS = 3600.0
CONTENT = "content"
"""Bytes that an answer has beside its JSON."""

RAISED = {kind.code: kind for kind in (UsageError, NotFound, LimitExceeded, Unavailable)}


def socket_file(home: Home) -> Path:
    """Where the learning process listens."""
    return home.run / "learning.sock"


class LearningClient:
    """Asks the learning process of a home."""

    def __init__(self, home: Home, timeout: float = 15.0) -> None:
        self._file = socket_file(home)
        self._timeout = timeout

    def query(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a named question (see `queries.py`).

        Raises:
            Unavailable: the learning process does not answer.
            NotFound: there is no such question.
            UsageError: a parameter is wrong.
            LimitExceeded: it took too long.
        """
        rows: list[dict[str, Any]] = self._ask({"ask": name, "with": parameters}, self._timeout)["rows"]
        return rows

    def look(self, sql: str, most: int = 1000) -> dict[str, Any]:
        """The first rows of a SELECT of one's own: `columns`, `rows` (lists), and whether there are `more`.

        Raises as `query` does; UsageError when it is no SELECT over the store's tables.
        """
        return self._ask({"ask": "sql", "with": {"sql": sql, "most": most}}, self._timeout)

    def stream(self, sql: str, most: int = 1000) -> tuple[bytes, bool]:
        """The same rows as a stream in Arrow's IPC format, and whether there are more. Raises as `look` does."""
        told = self._ask({"ask": "sql", "with": {"sql": sql, "most": most, "format": "arrow"}}, self._timeout)
        return told[CONTENT], told["more"]

    def export(self) -> dict[str, Any]:
        """Have all tables written as Parquet: the `folder` they are in, to be moved from there, and `rows` of each."""
        return self._ask({"ask": "export"}, LONG_SECONDS)

    def status(self) -> dict[str, Any]:
        """How far the store is, and what it holds. Raises Unavailable."""
        status: dict[str, Any] = self._ask({"ask": "status"}, self._timeout)["status"]
        return status

    def rebuild(self) -> dict[str, Any]:
        """Have the store built anew from the ledger; returns its status once it has caught up. Raises Unavailable."""
        status: dict[str, Any] = self._ask({"ask": "rebuild"}, LONG_SECONDS)["status"]
        return status

    def forget(self, name: str) -> dict[str, Any]:
        """Have the store built anew without a person's name: its status, and the `pseudonym` in the name's place.

        Raises Unavailable, or UsageError for what is no name.
        """
        status: dict[str, Any] = self._ask({"ask": "forget", "with": {"name": name}}, LONG_SECONDS)["status"]
        return status

    def answers(self) -> bool:
        """Is the learning process there?"""
        try:
            self.status()
        except Unavailable:
            return False
        return True

    def _ask(self, question: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        try:
            with short_name(self._file) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(timeout)
                line.connect(name)
                line.sendall(json.dumps(question).encode() + b"\n")
                line.shutdown(socket.SHUT_WR)
                with line.makefile("rb") as answer:
                    raw = answer.read(LONGEST_ANSWER + 1)
            if len(raw) > LONGEST_ANSWER:
                raise LimitExceeded(f"the answer is longer than {LONGEST_ANSWER // 2**20} MiB", "ask for fewer rows")
            said, _, content = raw.partition(b"\n")
            told: dict[str, Any] = json.loads(said)
            if len(content) != told.get("bytes", 0):
                raise ValueError("the answer breaks off")
            if content:
                told[CONTENT] = content
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"the learning process does not answer: {error}",
                "start it with `appliance up`; logs/learning.log tells more",
            ) from error
        if "error" in told:
            wrong = told["error"]
            raise RAISED.get(wrong.get("code"), FactoryError)(str(wrong.get("message")), str(wrong.get("hint")))
        return told
