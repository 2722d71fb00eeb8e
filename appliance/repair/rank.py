"""The order in which edits are tried: a log-linear prior over the template, the place and how natural the line reads.

``score = weight[template] + Σ weight[f] · f`` with f = log Ochiai, traceback, words and likeness of the report, the
line's strangeness against what it was, to the language model and to the rest of its own file, what becomes of the
function's names, whether a name is used so elsewhere, whether the line stands so elsewhere, whether it says a thing
twice or asks what is known, and the edit's size. What past repairs of the repository and the site say is added as it is
(`priors.py`). Without the language model its feature is 0 for every edit.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources

from appliance.repair.echoes import Echoes
from appliance.repair.edits import Edit
from appliance.repair.idioms import Idioms
from appliance.repair.localise import Fault, Suspicion
from appliance.repair.ngram import NGrams, Own
from appliance.repair.priors import NOTHING, Past, places
from appliance.repair.roles import Roles
from appliance.repair.source import Source
from appliance.repair.templates import changed_line

IDLE = re.compile(
    r"[*/] ?1\b(?!\.)|[-+|^] ?0\b(?![.x])|(<<|>>) ?0\b(?!x)|\bor (False|None)\b|\band True\b|\+ ?1 - ?1\b|- ?1 \+ ?1\b"
)
"""What does nothing: `* 1`, `+ 0`. A person would write the operand alone, and there is an edit for that."""

MOST_EDITS = 30_000
"""Edits that are ranked with the language model; of more, those likeliest without it."""
STRANGEST = 6.0
"""Nats per token beyond which a line is not called stranger still."""


@dataclass(frozen=True)
class Weights:
    """What each trait of an edit counts."""

    features: Mapping[str, float]
    templates: Mapping[str, float]
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """How often each template, and each kind of statement, was right among the slips they were fitted on."""

    def score(self, edit: Edit) -> float:
        """Natural logarithm of the odds, up to a constant of the bug."""
        traits = sum(self.features.get(name, 0.0) * value for name, value in edit.traits.items())
        return self.templates.get(edit.template, 0.0) + traits + edit.traits.get("past", 0.0)


@cache
def fitted() -> Weights:
    """The weights that come with the box."""
    stored = json.loads(resources.files("appliance.repair").joinpath("weights.json").read_text(encoding="utf-8"))
    return Weights(stored["features"], stored["templates"], stored["shares"])


def ranked(
    edits: Sequence[Edit], fault: Fault, model: NGrams | None, weights: Weights, past: Past = NOTHING
) -> list[Edit]:
    """Edits with traits and score, best first; ties in the order of the text. Of too many, the likeliest."""
    described = with_past(described_all(edits, fault), fault, past)
    if len(described) > MOST_EDITS:  # the language model is what costs
        described = _in_order(described, weights)[:MOST_EDITS]
    return _in_order(with_strangeness(described, fault, model), weights)


def _in_order(edits: Sequence[Edit], weights: Weights) -> list[Edit]:
    scored = [replace(edit, score=weights.score(edit)) for edit in edits]
    return sorted(scored, key=lambda edit: (-edit.score, edit.path, edit.line, edit.spans))


def described_all(edits: Sequence[Edit], fault: Fault) -> list[Edit]:
    """Edits with their traits, but for what the language model says."""
    own = _own(edits, fault.sources)
    touched = {edit.path for edit in edits}
    idioms = {path: Idioms(fault.sources[path]) for path in touched}
    roles = {path: Roles(fault.sources[path]) for path in touched}
    echoes = {path: Echoes(fault.sources[path]) for path in touched}
    return [
        replace(
            edit,
            traits={
                **_of_place(fault.lines[edit.path, edit.line]),
                "own": alien,
                "unread": idioms[edit.path].unread(edit),
                "unset": idioms[edit.path].unset(edit),
                "dead": idioms[edit.path].dead(edit),
                "foreign": idioms[edit.path].foreign(edit),
                **dict(zip(("role", "kind"), roles[edit.path].compared(edit), strict=True)),
                "twin": echoes[edit.path].twin(edit),
                "doubled": echoes[edit.path].doubled(edit),
                "hollow": echoes[edit.path].hollow(edit),
                "size": _size(edit, fault.sources[edit.path]),
                "idle": float(
                    bool(IDLE.search(" ".join(new for _, _, new in _widened(edit, fault.sources[edit.path]))))
                ),
            },
        )
        for edit, alien in zip(edits, own, strict=True)
    ]


def with_past(edits: Sequence[Edit], fault: Fault, past: Past) -> list[Edit]:
    """Edits with one more trait: what past repairs speak for or against them, in nats."""
    touched = {edit.path for edit in edits}
    kinds = {path: places(fault.sources[path]) for path in touched}
    return [
        replace(edit, traits={**edit.traits, "past": past.term(edit, kinds[edit.path](edit.line), len(touched))})
        for edit in edits
    ]


def with_strangeness(edits: Sequence[Edit], fault: Fault, model: NGrams | None) -> list[Edit]:
    """Edits with one more trait: how much stranger the changed lines read than the old ones, in nats per token."""
    if model is None:
        return [replace(edit, traits={**edit.traits, "strangeness": 0.0}) for edit in edits]
    pairs = [changed_line(fault.sources[edit.path], edit) for edit in edits]
    before = model.surprise(["\n" + old for old, _ in pairs])
    after = model.surprise(["\n" + new for _, new in pairs])
    return [
        replace(edit, traits={**edit.traits, "strangeness": _bounded(new - old)})
        for edit, old, new in zip(edits, before, after, strict=True)
    ]


def _of_place(suspicion: Suspicion) -> dict[str, float]:
    return {
        "ochiai": math.log(max(suspicion.ochiai, 0.02)),
        "trace": suspicion.trace,
        "words": suspicion.words,
        "similar": suspicion.similar,
    }


def _widened(edit: Edit, source: Source) -> list[tuple[int, int, str]]:
    """Spans with the few characters around them, so that `* 1` is seen where only the `*` is new."""
    return [(a, b, source.text[max(0, a - 6) : a] + new + source.text[b : b + 6]) for a, b, new in edit.spans]


def _size(edit: Edit, source: Source) -> float:
    """Characters that are really other ones, on a logarithmic scale; of two that change places, the shorter."""
    olds, news = [source.text[start:end] for start, end, _ in edit.spans], [new for _, _, new in edit.spans]
    if len(olds) == 2 and [one.strip() for one in olds] == [one.strip() for one in reversed(news)]:
        return math.log1p(min(map(len, olds)))
    return math.log1p(sum(different(old, new) for old, new in zip(olds, news, strict=True)))


def different(old: str, new: str) -> int:
    """How many characters two texts differ in, apart from what they begin or end with alike, or what one has whole."""
    if old in new or new in old:
        return abs(len(old) - len(new))
    first = _alike(old, new)
    return max(len(old), len(new)) - first - _alike(old[first:][::-1], new[first:][::-1])


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _own(edits: Sequence[Edit], sources: Mapping[str, Source]) -> list[float]:
    """How much stranger each edit's lines read than the old ones, as the rest of the file would have it."""
    places: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for number, edit in enumerate(edits):
        old, new = changed_line(sources[edit.path], edit)
        places.setdefault((edit.path, old), []).append((number, new))
    files = {path: Own(sources[path].text) for path in {path for path, _ in places}}
    found = [0.0] * len(edits)
    for (path, old), news in places.items():
        alien = files[path].stranger("\n" + old, ["\n" + new for _, new in news])
        for (number, _), one in zip(news, alien, strict=True):
            found[number] = _bounded(one)
    return found


def _bounded(difference: float) -> float:
    return max(-STRANGEST, min(STRANGEST, difference))
