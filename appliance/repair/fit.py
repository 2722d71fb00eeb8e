"""Fit the ranking's weights on slips in functions of the standard library: `python -m appliance.repair.fit`.

For each sound function one slip is made; the right answer among all edits of the broken function is the one that
restores it. Weights maximise the likelihood of the right answers (a softmax over each bug's edits, with a pull towards
the weights in force). Nothing is run: what coverage and reports say (`ochiai`, `trace`, `words`, `similar`) keeps its
weight. How often each template and kind of statement is right is written too, as the base for what a site learns
(`priors.py`). What no right answer ever has (`hollow`, `unset`, `dead`) is seldom among the wrong ones that matter, so
the likelihood hardly moves it: such weights were set by hand and stay near what the file has. The language model learns
from one half of the files and is judged on the other.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import sysconfig
import textwrap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.repair.edits import Edit, new_contents
from appliance.repair.localise import Fault, Suspicion
from appliance.repair.ngram import NGrams, build, sources
from appliance.repair.priors import places
from appliance.repair.rank import Weights, described_all, fitted, with_strangeness
from appliance.repair.source import Function, Source
from appliance.repair.spectrum import Spectrum
from appliance.repair.templates import edits_of

SLIPS: Mapping[str, float] = {
    "comparison": 3.0,
    "constant": 2.0,
    "usual constant": 0.5,
    "known constant": 0.5,
    "variable": 3.0,
    "global variable": 0.3,
    "off by one": 1.5,
    "arithmetic operator": 2.0,
    "boolean operator": 1.5,
    "dropped operand": 1.5,
    "dropped step": 1.0,
    "added operand": 0.5,
    "dropped condition": 1.5,
    "negated condition": 1.5,
    "dropped not": 1.0,
    "function": 1.5,
    "attribute": 1.0,
    "swapped arguments": 1.0,
    "swapped operands": 1.0,
    "slice": 1.0,
    "subscript": 1.0,
    "dropped argument": 1.0,
    "unwrapped call": 1.0,
    "dropped method": 1.0,
    "return value": 1.0,
    "flow": 1.0,
    "deleted statement": 1.5,
    "swapped statements": 1.0,
    "augmented operator": 1.0,
    "wrapped in a call": 0.5,
    "added subscript": 0.5,
    "dropped subscript": 0.5,
    "one branch": 0.5,
    "assignment target": 0.5,
    "exception": 0.5,
    "extended condition": 0.5,
    "dropped attribute": 0.7,
    "moved outside": 0.3,
    "moved inside": 0.3,
    "inserted step": 0.3,
    "yield": 0.3,
    "swapped sides": 0.5,
    "dropped sign": 0.5,
    "negated value": 0.5,
    "copied statement": 0.5,
}
"""How often each class of slip is made: an assumption, not a measurement."""

FITTED = (
    "strangeness",
    "own",
    "unread",
    "unset",
    "dead",
    "foreign",
    "role",
    "kind",
    "twin",
    "doubled",
    "hollow",
    "size",
    "idle",
)
LINES = (4, 40)
PULL = 0.02
STEPS, RATE = 400, 0.3


@dataclass(frozen=True)
class Bug:
    """Every edit of one broken function: traits, template numbers, and which of them are right."""

    traits: NDArray[np.float64]
    templates: NDArray[np.int64]
    right: NDArray[np.bool_]
    places: tuple[str, ...]
    """The kind of statement that each edit is made in."""


def functions(rng: random.Random, taught: bool, left_out: Collection[str] = ()) -> Iterator[tuple[Source, Function]]:
    """Functions of the standard library's files, those the language model learnt from or the others."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    for file in rng.sample(files, len(files)):
        if learnt_from(file) != taught or file.stat().st_size > 150_000 or file.stem in left_out:
            continue
        source = Source(file.name, file.read_text(encoding="utf-8"))
        inner = [f for f in source.functions if LINES[0] <= f.last - f.first <= LINES[1]]
        yield from ((source, function) for function in rng.sample(inner, min(12, len(inner))))


def learnt_from(file: Path) -> bool:
    """Which half a file belongs to."""
    return sum(file.name.encode()) % 2 == 0


def bugs(
    model: NGrams, names: list[str], rng: random.Random, count: int, left_out: Collection[str] = ()
) -> Iterator[Bug]:
    """Slips that some edit restores."""
    made = 0
    for source, function in functions(rng, taught=False, left_out=left_out):
        lines = dict.fromkeys(range(function.first, function.last + 1), 1.0)
        kinds: dict[str, list[Edit]] = {}
        for edit in edits_of(source, lines):
            kinds.setdefault(edit.template, []).append(edit)
        drawn = [kind for kind in kinds if kind in SLIPS]
        for kind in rng.choices(drawn, [SLIPS[kind] for kind in drawn], k=4) if drawn else ():
            bug = _bug(source, function, rng.choice(kinds[kind]), model, names)
            if bug is not None:
                made += 1
                yield bug
        if made >= count:
            return


def _bug(source: Source, function: Function, slip: Edit, model: NGrams, names: list[str]) -> Bug | None:
    sound = source.text
    text = new_contents(slip, {source.path: sound})[source.path]
    try:
        broken = Source(source.path, text)
    except SyntaxError:
        return None
    last = function.last + text.count("\n") - sound.count("\n")
    lines = {(source.path, line): Suspicion(1.0) for line in range(function.first, last + 1)}
    fault = Fault(Spectrum(), {source.path: broken}, lines)
    found = described_all(list(edits_of(broken, {line: 1.0 for _, line in lines})), fault)
    edits = with_strangeness(found, fault, model)
    start, tail = sound_start(source, function)
    right = np.array([_restores(edit, text, sound, start, tail) for edit in edits], dtype=np.bool_)
    if not right.any() or right.all():
        return None
    traits = np.array([[edit.traits[name] for name in FITTED] for edit in edits])
    kind = places(broken)
    numbers = np.array([names.index(edit.template) for edit in edits])
    return Bug(traits, numbers, right, tuple(kind(edit.line) for edit in edits))


def sound_start(source: Source, function: Function) -> tuple[int, int]:
    """Where a function starts, and how many characters follow it."""
    return source.starts[function.first - 1], len(source.text) - min(source.starts[function.last], len(source.text))


def _restores(edit: Edit, text: str, sound: str, start: int, tail: int) -> bool:
    """Whether an edit leads back to the sound function, layout aside."""
    changed = new_contents(edit, {edit.path: text})[edit.path]
    if abs(len(changed) - len(sound)) > 6:
        return False
    mine, wanted = changed[start : len(changed) - tail], sound[start : len(sound) - tail]
    if mine == wanted:
        return True
    if sorted(mine.replace(" ", "")) != sorted(wanted.replace(" ", "")):
        return False
    try:
        return ast.dump(ast.parse(textwrap.dedent(mine))) == ast.dump(ast.parse(textwrap.dedent(wanted)))
    except SyntaxError:
        return False


def fit(found: list[Bug], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (traits first, then templates) by gradient ascent."""
    weights, speed = start.copy(), np.zeros_like(start)
    for _ in range(STEPS):
        slope = -PULL * (weights - start)
        for bug in found:
            share, wanted = _shares(bug, weights)
            difference = (wanted - share) / len(found)
            slope[: len(FITTED)] += difference @ bug.traits
            np.add.at(slope, bug.templates + len(FITTED), difference)
        speed = 0.9 * speed + slope
        weights += RATE * speed
    return weights


def _shares(bug: Bug, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each edit's share of the odds, in all and among the right ones."""
    logs = bug.traits @ weights[: len(FITTED)] + weights[bug.templates + len(FITTED)]
    odds = np.exp(logs - logs.max())
    wanted = np.where(bug.right, odds, 0.0)
    return odds / odds.sum(), wanted / max(wanted.sum(), 1e-300)


def shares(found: list[Bug], weights: NDArray[np.float64], names: list[str]) -> dict[str, dict[str, float]]:
    """How often an edit of each template, and of each kind of statement, is the right one."""
    templates, kinds = dict.fromkeys(names, 0.0), dict[str, float]()
    for bug in found:
        _, wanted = _shares(bug, weights)
        for at in np.flatnonzero(bug.right):
            share = float(wanted[at]) / len(found)
            templates[names[bug.templates[at]]] += share
            kinds[bug.places[at]] = kinds.get(bug.places[at], 0.0) + share
    return {
        "templates": {name: round(share, 4) for name, share in templates.items()},
        "places": {name: round(share, 4) for name, share in sorted(kinds.items())},
    }


def reciprocal_rank(found: list[Bug], weights: NDArray[np.float64]) -> float:
    """Mean of 1 / rank of the first right edit."""
    ranks = []
    for bug in found:
        logs = bug.traits @ weights[: len(FITTED)] + weights[bug.templates + len(FITTED)]
        ranks.append(1 + int((logs > logs[bug.right].max()).sum()))
    return float(np.mean([1.0 / rank for rank in ranks]))


def main() -> None:
    """Fit, judge on bugs held out, and write the weights where they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bugs", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file to write; without it the figures alone are printed")
    parser.add_argument("--leave-out", default="", help="modules not to learn from, with commas between: measured ones")
    options = parser.parse_args()
    counts, total = build(sources(lambda file: not learnt_from(file)))
    model, now = NGrams(counts, total), fitted()
    names = sorted({*now.templates, *SLIPS})
    start = np.array([now.features.get(n, 0.0) for n in FITTED] + [now.templates.get(n, 0.0) for n in names])
    left_out = options.leave_out.split(",")
    rng = random.Random(options.seed)  # noqa: S311 -- repeatable
    found = list(bugs(model, names, rng, options.bugs, left_out))
    cut = len(found) * 3 // 4
    weights = fit(found[:cut], start)
    before, after = reciprocal_rank(found[cut:], start), reciprocal_rank(found[cut:], weights)
    print(f"{len(found)} bugs; mean reciprocal rank on held-out ones {before:.3f} before, {after:.3f} after")  # noqa: T201
    if options.out:
        options.out.write_text(_stored(now, names, weights, shares(found, weights, names)), encoding="utf-8")


def _stored(
    now: Weights, names: list[str], weights: NDArray[np.float64], bases: Mapping[str, Mapping[str, float]]
) -> str:
    values = [round(float(value), 3) for value in weights]
    features = {**now.features, **dict(zip(FITTED, values[: len(FITTED)], strict=True))}
    templates = dict(zip(names, values[len(FITTED) :], strict=True))
    return json.dumps({"features": features, "templates": templates, "shares": bases}, indent=1) + "\n"


if __name__ == "__main__":
    main()
