"""From a call to the router's decision: its facts collected, the decision made, narrowed to what its key may use, and
kept to the model of its episode."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from appliance.policy import Meaning
from inference.asked import RouteRequest
from inference.gateway.chat import Prepared
from inference.gateway.episodes import Episode
from inference.gateway.faults import bad_request
from inference.gateway.parts import Parts
from inference.keys import Key
from inference.permits import permitted
from inference.router import Decision, decide, explain, keep_to, written_out

SAID = ("task", "stage", "language", "repo", "sensitivity")
"""What a caller says of a call in `metadata`."""
NUMBERS = ("severity", "attempt")
"""The same, in numbers. Other programs may use these words for something else: what is no number counts as not said."""
NUMBER = re.compile(r"[0-9]{1,6}")
WRITING = frozenset({"/v1/chat/completions", "/v1/completions"})
"""Where the parameters of a rule mean something."""


def facts_of(parts: Parts, key: Key, prepared: Prepared, task: str) -> RouteRequest:
    """What the router is asked about a call. Raises ApiError (400)."""
    said = prepared.metadata
    fields = {name: said[name] for name in SAID if name in said}
    fields |= {name: int(said[name]) for name in NUMBERS if NUMBER.fullmatch(str(said.get(name)))}
    if fields.get("severity", 0) > 4:
        del fields["severity"]
    return routed(
        {"task": task, **fields, "model": prepared.model, "prompt_tokens": prepared.prompt_tokens,
         "needs": prepared.needs, "answering": True, **surrounding(parts, key)}
    )  # fmt: skip


def surrounding(parts: Parts, key: Key) -> dict[str, Any]:
    """The facts that no caller says: whose call it is, what time it is, how busy the gateway is."""
    return {
        "key": key.name, "team": key.terms.team, "at": datetime.now().astimezone(), "load": parts.in_flight,
    }  # fmt: skip


def routed(fields: Mapping[str, Any]) -> RouteRequest:
    """Raises ApiError (400) with the field's name."""
    try:
        return RouteRequest.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        said = problem["msg"].removeprefix("Value error, ")
        raise bad_request(f"{'.'.join(map(str, problem['loc']))}: {said}", str(problem["loc"][0])) from error


def route(parts: Parts, key: Key, wanted: RouteRequest, episode: Episode | None = None) -> Decision:
    """The decision, counted; it may name nobody. Raises PolicyRefused or ConfigError."""
    began = time.perf_counter()
    around = parts.surroundings
    decision = decide(wanted, around.rules, around.catalogue, around.learned)
    outcome = "found" if decision.candidates else "refused"
    parts.metrics.routes.labels(decision.rule or "none", outcome).inc()
    decision = kept(parts, permitted(key, decision), episode)
    parts.metrics.decision.observe(time.perf_counter() - began)
    return decision


def meant(said: Any) -> Meaning:
    """The vector that a caller says a text has. Raises ApiError (400)."""
    try:
        return Meaning.model_validate(said)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(["meaning", *map(str, problem["loc"])])
        raise bad_request(f"{where}: {problem['msg'].removeprefix('Value error, ')}", "meaning") from error


def explained(
    parts: Parts, key: Key, wanted: RouteRequest, episode: Episode | None = None, meaning: Meaning | None = None
) -> Decision:
    """The decision with all its reasons. No call is counted; a draw of exploring is, since whoever asks goes by the
    answer. Raises PolicyRefused or ConfigError."""
    around = parts.surroundings
    decision = permitted(key, explain(wanted, around.rules, around.catalogue, around.learned, meaning))
    if episode is not None:
        return kept(parts, decision, episode)
    rule = next((one for one in around.rules.rule if one.name == decision.rule), None)
    among = written_out(rule, wanted.task, around.catalogue) if rule else ()
    return parts.explorer.choose(decision, among, wanted)


def kept(parts: Parts, decision: Decision, episode: Episode | None) -> Decision:
    """The decision, with the model first that has served this episode."""
    model = parts.episodes.model(episode) if episode else ""
    return keep_to(decision, model) if model else decision


def shaped_by(decision: Decision, prepared: Prepared) -> Prepared:
    """The call with the rule's parameters; what the client sent in vain is named among the ignored."""
    wanted = decision.parameters
    if not (wanted.strip or wanted.set) or prepared.path not in WRITING:
        return prepared
    payload, in_vain = wanted.applied(prepared.payload)
    return replace(prepared, payload=payload, ignored=(*prepared.ignored, *in_vain))
