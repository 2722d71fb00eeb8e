"""From first tries whose reports have a vector to what each candidate is worth by what a report means. Pure.

A predictor is worth having only where it chooses better than the order does without it. That is measured on tries it
has not seen (five folds), by the doubly robust estimate of `offpolicy`, so only where first tries were left to chance
now and then; without that proof none is published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from appliance.learning.offpolicy import LARGEST_WEIGHT, Judged, Logged, compared
from appliance.learning.prototypes import fit
from appliance.learning.routing import MARGIN, SURE, TASK, Inside, Orders, Try, order_at
from appliance.policy import CHARACTERS, Predictor, largest_of, worth
from appliance.work import Noun

FOLDS = 5
LEAST_OF_ONE = 20
"""First tries that a candidate needs to be foreseen at all."""
LEAST = 100
"""First tries with a vector that a rule needs."""
SEED = 20261127


class Prospect(Noun):
    """What came of it in one rule; `predictor` is None where reports' meaning does not choose better."""

    rule: str
    tries: int
    """First tries with a vector of the embedding model that made the newest."""
    candidates: tuple[str, ...] = ()
    judged: Judged | None = None
    needed: float = 0.0
    why: str
    quality: float | None = None
    """Share that held of the unseen first tries it would have chosen alike, by their chances: what it promises, and
    is watched against."""
    predictor: Predictor | None = None


def prospects(tries: Iterable[Try], rules: Iterable[Inside], orders: Orders) -> list[Prospect]:
    """What reports' meaning would gain in each rule. `orders` are those that would hold without it."""
    known = [one for one in tries if one.meaning is not None]
    return [_of_rule(inside, [one for one in known if one.rule == inside.rule], orders) for inside in rules]


def _of_rule(inside: Inside, tries: Sequence[Try], orders: Orders) -> Prospect:
    own = [one for one in _of_newest_maker(tries) if one.candidate in inside.order]
    counted = Counter(one.candidate for one in own)
    names = tuple(name for name in inside.order if counted[name] >= LEAST_OF_ONE)
    own = [one for one in own if one.candidate in names]
    found = Prospect(rule=inside.rule, tries=len(own), candidates=names, why="")
    if len(own) < LEAST or len(names) < 2:
        return found.with_(
            why=f"{len(own)} first tries have a vector, {LEAST} of two candidates ({LEAST_OF_ONE} each) are needed"
        )
    seen = _unseen(inside, own, names, orders)
    log = [one for one, _ in seen]
    judged = compared(log)
    needed = round(MARGIN + SURE * judged.unsure, 4)
    found = found.with_(judged=judged, needed=needed, why=judged.why)
    if not judged.conclusive:
        return found
    if judged.gain < needed:
        return found.with_(why=f"{judged.why}; {needed:.3f} were needed")
    agreeing = [(min(1 / one.propensity, LARGEST_WEIGHT), held) for one, held in seen if one.action == one.new]
    promised = sum(weight * held for weight, held in agreeing) / sum(weight for weight, _ in agreeing)
    return found.with_(predictor=_fitted(inside.rule, own, names), quality=round(promised, 4))


def _of_newest_maker(tries: Sequence[Try]) -> list[Try]:
    """Vectors of another model, or of other weights, mean something else."""
    newest = max(tries, key=lambda one: one.at, default=None)
    made = _maker(newest) if newest else None
    return [one for one in tries if _maker(one) == made]


def _maker(one: Try) -> tuple[str, str, int]:
    assert one.meaning is not None, "only tries with a vector come here"
    return one.meaning.embedder, one.meaning.digest, one.meaning.vector.size


def _unseen(inside: Inside, tries: Sequence[Try], names: Sequence[str], orders: Orders) -> list[tuple[Logged, bool]]:
    """Every try with a chance, whether it held, and whom the order and a predictor that has not seen it put first."""
    folds = np.random.default_rng(SEED).permutation(len(tries)) % FOLDS
    largest = largest_of([one.spent for one in tries])
    found = []
    for fold in range(FOLDS):
        predictor = _fitted(inside.rule, [one for one, own in zip(tries, folds, strict=True) if own != fold], names)
        for one in (one for one, own in zip(tries, folds, strict=True) if own == fold and one.propensity):
            assert one.meaning is not None and one.propensity is not None
            order = order_at(orders, inside.rule, one.language, one.repo) or inside.order
            logged = Logged(
                place=one.repo,
                action=one.candidate,
                propensity=one.propensity,
                reward=worth(inside.weights, float(one.held), one.spent.over(largest)),
                old=next((name for name in order if name in names), names[0]),
                new=predictor.foresee(one.meaning, inside.weights)[0].candidate,
            )
            found.append((logged, one.held))
    return found


def _fitted(rule: str, tries: Sequence[Try], names: Sequence[str]) -> Predictor:
    """A predictor of these tries. A candidate that none of them is of has the mean of all: it is not left out, so that
    each fold foresees the same candidates."""
    held = np.full((len(tries), len(names)), np.nan)
    for row, one in enumerate(tries):
        held[row, names.index(one.candidate)] = float(one.held)
    held[0, np.isnan(held).all(axis=0)] = np.nanmean(held)
    embedder, digest, _ = _maker(tries[0])
    vectors = np.stack([one.meaning.vector for one in tries if one.meaning is not None])
    quality = fit(vectors, held, names, embedder=embedder, digest=digest, characters=CHARACTERS, seed=SEED)
    return Predictor(
        rule=rule, task=TASK, quality=quality, seconds=_means(tries, names, lambda one: one.seconds),
        model_seconds=_means(tries, names, lambda one: one.spent.model_seconds),
        tokens=_means(tries, names, lambda one: one.tokens),
    )  # fmt: skip


def _means(tries: Sequence[Try], names: Sequence[str], value: Callable[[Try], float | None]) -> dict[str, float]:
    """By candidate; 0 where none of its tries told."""
    told = {name: [value(one) for one in tries if one.candidate == name] for name in names}
    known = {name: [one for one in values if one is not None] for name, values in told.items()}
    return {name: float(np.mean(values)) if values else 0.0 for name, values in known.items()}
