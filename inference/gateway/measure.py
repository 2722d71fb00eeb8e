"""How many tokens a prompt has: as a loaded engine counts them, else an estimate. No model is loaded for it."""

from __future__ import annotations

from typing import Any

import orjson

from appliance.errors import Unavailable
from inference.gateway.calls import parsed
from inference.gateway.chat import Prepared
from inference.gateway.surroundings import Row, Surroundings
from inference.gateway.upstream import LOST, Upstream
from inference.gateway.watch import Trip
from inference.router import Decision

TEMPLATE, TOKENIZE = "/apply-template", "/tokenize"
SHAPING = ("messages", "tools", "chat_template_kwargs")
"""What of a call becomes part of its prompt."""


class Measure:
    """Asks engines for the length of prompts."""

    def __init__(self, surroundings: Surroundings, upstream: Upstream) -> None:
        self._surroundings = surroundings
        self._upstream = upstream

    def tokens(self, prepared: Prepared, decision: Decision, trip: Trip) -> tuple[int, bool]:
        """The prompt's length in tokens, and whether an engine of a candidate counted it."""
        for model in decision.candidates:
            row = self._surroundings.engine(model)
            if row is not None and row.state == "ready":
                try:
                    found = self._counted(row, prepared.payload, trip)
                except (*LOST, Unavailable):
                    break
                if found is not None:
                    return found, True
        return max(1, prepared.prompt_tokens), False

    def _counted(self, row: Row, payload: dict[str, Any], trip: Trip) -> int | None:
        """llama-server fills its template, then cuts the text; vLLM does both at once."""
        wanted: dict[str, Any] = {key: payload[key] for key in SHAPING if key in payload}
        filled = self._ask(row, TEMPLATE, wanted, trip).get("prompt")
        if isinstance(filled, str):
            asked: dict[str, Any] = {"content": filled, "add_special": True, "parse_special": True}
        else:
            asked = {**wanted, "model": row.served_as, "add_generation_prompt": True}
        told = self._ask(row, TOKENIZE, asked, trip)
        tokens = told.get("tokens")
        count = told.get("count", len(tokens) if isinstance(tokens, list) else None)
        return count if isinstance(count, int) and count > 0 else None

    def _ask(self, row: Row, path: str, body: dict[str, Any], trip: Trip) -> dict[str, Any]:
        """The JSON object the engine answers with; an empty one when it does not know the path."""
        token = self._surroundings.token(row)
        answer = self._upstream.post(row.url, path, orjson.dumps(body), token, trip, row.ca_file)
        try:
            made = parsed(answer.read())
        finally:
            answer.close()
        return made if isinstance(made, dict) and answer.status == 200 else {}
