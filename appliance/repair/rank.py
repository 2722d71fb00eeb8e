"""The order in which edits are tried: a log-linear prior over the template, the place and how natural the line reads.

``score = weight[template] + Σ weight[f] · f`` with f = log Ochiai, traceback, words and likeness of the report, the
line's strangeness against what it was, to the language model and to the rest of its own file, and the edit's size.
Without the language model its feature is 0 for every edit.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from appliance.repair.edits import Edit
from appliance.repair.localise import Fault, Suspicion
from appliance.repair.ngram import NGrams, Own
from appliance.repair.source import Source
from appliance.repair.templates import changed_line

IDLE = re.compile(
    r"[*/] ?1\b(?!\.)|[-+|^] ?0\b(?![.x])|(<<|>>) ?0\b(?!x)|\bor (False|None)\b|\band True\b|\+ ?1 - ?1\b|- ?1 \+ ?1\b"
)
"""What does nothing: `* 1`, `+ 0`. A person would write the operand alone, and there is an edit for that."""

STRANGEST = 6.0
"""Nats per token beyond which a line is not called stranger still."""


@dataclass(frozen=True)
class Weights:
    """What each trait of an edit counts."""

    features: Mapping[str, float]
    templates: Mapping[str, float]

    def score(self, edit: Edit) -> float:
        """Natural logarithm of the odds, up to a constant of the bug."""
        traits = sum(self.features.get(name, 0.0) * value for name, value in edit.traits.items())
        return self.templates.get(edit.template, 0.0) + traits


@cache
def fitted() -> Weights:
    """The weights that come with the box."""
    stored = json.loads(resources.files("appliance.repair").joinpath("weights.json").read_text(encoding="utf-8"))
    return Weights(stored["features"], stored["templates"])


def ranked(edits: Sequence[Edit], fault: Fault, model: NGrams | None, weights: Weights) -> list[Edit]:
    """Edits with traits and score, best first; ties in the order of the text."""
    described = described_all(edits, fault, model)
    scored = [replace(edit, score=weights.score(edit)) for edit in described]
    return sorted(scored, key=lambda edit: (-edit.score, edit.path, edit.line, edit.spans))


def described_all(edits: Sequence[Edit], fault: Fault, model: NGrams | None) -> list[Edit]:
    """Edits with their traits."""
    pairs = [changed_line(fault.sources[edit.path], edit) for edit in edits]
    strangeness = _strangeness(pairs, model)
    own = _own(edits, pairs, fault.sources)
    return [
        replace(
            edit,
            traits={
                **_of_place(fault.lines[edit.path, edit.line]),
                "strangeness": strange,
                "own": alien,
                "size": _size(edit),
                "idle": float(
                    bool(IDLE.search(" ".join(new for _, _, new in _widened(edit, fault.sources[edit.path]))))
                ),
            },
        )
        for edit, strange, alien in zip(edits, strangeness, own, strict=True)
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


def _size(edit: Edit) -> float:
    """Characters replaced and put in, on a logarithmic scale."""
    return math.log1p(sum(max(end - start, len(new)) for start, end, new in edit.spans))


def _strangeness(pairs: Sequence[tuple[str, str]], model: NGrams | None) -> list[float]:
    """How much stranger the changed lines read than the old ones, in nats per token."""
    if model is None:
        return [0.0] * len(pairs)
    before = model.surprise(["\n" + old for old, _ in pairs])
    after = model.surprise(["\n" + new for _, new in pairs])
    return [_bounded(new - old) for old, new in zip(before, after, strict=True)]


def _own(edits: Sequence[Edit], pairs: Sequence[tuple[str, str]], sources: Mapping[str, Source]) -> list[float]:
    """The same, as the rest of the file would have it."""
    places: dict[tuple[str, str], list[int]] = {}
    for number, (edit, (old, _)) in enumerate(zip(edits, pairs, strict=True)):
        places.setdefault((edit.path, old), []).append(number)
    files = {path: Own(sources[path].text) for path, _ in places}
    found = [0.0] * len(edits)
    for (path, old), numbers in places.items():
        alien = files[path].stranger("\n" + old, ["\n" + pairs[number][1] for number in numbers])
        for number, one in zip(numbers, alien, strict=True):
            found[number] = _bounded(one)
    return found


def _bounded(difference: float) -> float:
    return max(-STRANGEST, min(STRANGEST, difference))
