"""From outcomes of first tries to an order of candidates inside each routing rule. Pure, and the same for the same.

Only first tries count: a second one is made where another failed, so its tasks are harder than the first one's. How
good a candidate is in one rule is a Beta distribution, pulled to what it is over all rules; in one language or
repository of the rule it is pulled to what it is in the rule. How hard, is told by how unlike rules, languages and
repositories have been (`pulling.py`). Older outcomes count less.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from appliance.learning.offpolicy import Judged, Logged, compared
from appliance.learning.pulling import USUAL, Cell, pull_of
from appliance.policy import Meaning, Spent, Weights, largest_of, spent, worth
from appliance.work import Noun

TASK = "repair"
"""What the outcomes are of."""
MOST_TRIES = 20_000
FIRST_TRIES = f"""
WITH tries AS (SELECT *, max(n) OVER (PARTITION BY item) AS latest FROM attempts)
SELECT epoch(tries.happened) AS at, tries.rule, items.repo,
 CASE WHEN tries.strategy = 'search' THEN 'search' ELSE tries.model END AS candidate,
 items.state = 'closed' AND tries.outcome <> 'none' AND tries.latest = tries.n
 AND items.item NOT IN (SELECT item FROM releases WHERE reverted IS NOT NULL) AS held,
 tries.wall_seconds AS seconds, chances.propensity, chances.meaning, coalesce(chances.language, '') AS language,
 tries.prompt_tokens + tries.completion_tokens AS tokens, tries.model_seconds, tries.item, tries.happened
FROM tries JOIN items USING (item)
LEFT JOIN (SELECT item, seq, propensity, meaning, language FROM decisions WHERE source = 'line') AS chances
 ON chances.item = tries.item AND chances.seq = tries.seq
WHERE tries.n = 1 AND tries.rule <> '' AND items.state IN ('closed', 'failed', 'rejected', 'rolled_back')
ORDER BY tries.seq DESC LIMIT {MOST_TRIES}
"""  # noqa: S608 - our own number
"""The newest first: item by item, did the first try hold (shipped, closed, not reverted), and what did it take."""

OUTCOMES = f"""
WITH outcomes AS ({FIRST_TRIES}), waits AS (
 SELECT item, sum(waited_seconds) AS waited FROM outcomes JOIN model_calls AS calls USING (item)
 WHERE calls.task = '{TASK}' AND calls.model = outcomes.candidate AND calls.happened <= outcomes.happened GROUP BY item)
SELECT "at", rule, repo, candidate, held, seconds, propensity, meaning, language, tokens,
 CASE WHEN model_seconds IS NULL THEN NULL ELSE greatest(model_seconds - coalesce(waited, 0), 0) END AS model_seconds,
 waited
FROM outcomes LEFT JOIN waits USING (item) ORDER BY "at" DESC, item
"""  # noqa: S608 - our own words
"""The same with how long its calls waited before an engine answered: that is no model's time. NULL where no call of the
item is known (it is older than calls are kept, or asked no model)."""

HALF_LIFE_DAYS = 60.0
LEAST_EVIDENCE = 5
MARGIN = 0.02
SURE = 1.64
"""Standard deviations a gain must have: one in twenty orders that are equally good is changed by chance."""


class Try(NamedTuple):
    """One outcome."""

    at: float
    rule: str
    repo: str
    candidate: str
    held: bool
    seconds: float
    propensity: float | None = None
    """How likely it was to come first, as the gateway told; None where that is not known."""
    meaning: Meaning | None = None
    """The vector of its report; None where none was kept."""
    language: str = ""
    """Of what it had to change; "" where that is not known."""
    tokens: float | None = None
    model_seconds: float | None = None
    """Without the waiting; None where nobody told."""
    waited: float | None = None
    """Seconds that its calls waited before an engine answered; None where no call is known."""

    @property
    def spent(self) -> Spent:
        return spent(self.candidate, self.seconds, self.model_seconds, self.tokens)


class Place(NamedTuple):
    """Where outcomes are looked at: a rule, or a language or a repository in it."""

    rule: str
    language: str = ""
    repo: str = ""

    def has(self, one: Try) -> bool:
        return one.rule == self.rule and self.language in ("", one.language) and self.repo in ("", one.repo)


class Inside(Noun):
    """One rule as it stands: its candidates in order, and what matters in it, as weights."""

    rule: str
    order: tuple[str, ...]
    quality: float
    cost: float
    speed: float
    tokens: float = 0.0

    @property
    def weights(self) -> Weights:
        return Weights(self.quality, self.cost, self.speed, self.tokens)


class Pulls(NamedTuple):
    """Outcomes that a candidate's quality over all rules counts in one rule, that in a rule in one of its languages,
    and that in a rule in one repository."""

    rule: float = USUAL
    language: float = USUAL
    repo: float = USUAL


class Standing(Noun):
    """What is known of one candidate in one rule: means for each first try."""

    candidate: str
    tries: int
    quality: float
    unsure: float
    seconds: float
    worth: float
    model_seconds: float = 0.0
    tokens: float | None = None
    """None where no try told; likewise `waited_seconds`."""
    waited_seconds: float | None = None

    @property
    def spent(self) -> Spent:
        return Spent(self.seconds, self.model_seconds, self.tokens or 0.0)


class Verdict(Noun):
    """One rule, or one language or repository in it: the order that would hold, the order learned, and whether that is
    better by more than its uncertainty."""

    rule: str
    language: str = ""
    repo: str = ""
    before: tuple[str, ...]
    order: tuple[str, ...]
    gain: float
    needed: float
    changes: bool
    why: str
    candidates: tuple[Standing, ...]
    pull: float = USUAL
    """Outcomes that what is known of a candidate elsewhere counts here."""
    offpolicy: Judged | None = None
    """What the log says of the new order where another candidate could have come first; None where there is none."""

    @property
    def place(self) -> Place:
        return Place(self.rule, self.language, self.repo)


Orders = Mapping[Place, Sequence[str]]


def judge(tries: Iterable[Try], rules: Iterable[Inside]) -> list[Verdict]:
    """What the outcomes say of each rule, after it of each of its languages and then of each repository in which
    another order is better still."""
    known = list(tries)
    newest = max((one.at for one in known), default=0.0)
    weights = [0.5 ** ((newest - one.at) / 86_400 / HALF_LIFE_DAYS) for one in known]
    pulls, found = pulls_of(known, weights), []
    for inside in rules:
        own = [one for one in known if one.rule == inside.rule]
        verdict = _of_cell(inside, Place(inside.rule), known, weights, pulls)
        orders = {verdict.place: verdict.order}
        found.append(verdict)
        languages = sorted({one.language for one in own})
        named = [Place(inside.rule, language=name) for name in languages if name and len(languages) > 1]
        repos = [Place(inside.rule, repo=name) for name in sorted({one.repo for one in own}) if name]
        for place in (*named, *repos):
            spoken = place.language or language_in(place, own)
            order = order_at(orders, place.rule, spoken, "") or verdict.order
            narrow = _of_cell(inside.with_(order=order), place, known, weights, pulls)
            if narrow.changes:
                orders[place] = narrow.order
                found.append(narrow)
    return found


def order_at(orders: Mapping[Place, Any], rule: str, language: str, repo: str) -> Any:
    """What holds there: the narrowest, a repository before a language, as the router reads a policy; None for none."""
    narrow = [place for place in (Place(rule, repo=repo), Place(rule, language=language)) if place != Place(rule)]
    return next((orders[place] for place in (*narrow, Place(rule)) if place in orders), None)


def language_in(place: Place, tries: Iterable[Try]) -> str:
    """The language that most first tries there were about; "" for none."""
    return next((name for name, _ in Counter(one.language for one in tries if place.has(one)).most_common(1)), "")


def pulls_of(tries: Sequence[Try], weights: Sequence[float]) -> Pulls:
    """How much rules, and languages and repositories in a rule, tell of one another: from all candidates together."""
    cells: tuple[dict[tuple[str, ...], dict[str, Cell]], ...] = ({}, {}, {})
    for one, weight in zip(tries, weights, strict=True):
        inside = one.candidate, one.rule
        groups = ((one.candidate,), one.rule), (inside, one.language), (inside, one.repo)
        for cell, (group, name) in zip(cells, groups, strict=True):
            cell.setdefault(group, {}).setdefault(name, Cell()).add(weight, one.held)
    return Pulls(*(pull_of(cell.values()) for cell in cells))


def _of_cell(inside: Inside, place: Place, tries: Sequence[Try], weights: Sequence[float], pulls: Pulls) -> Verdict:
    found = {name: one for name in inside.order if (one := _estimate(name, place, tries, weights, pulls))}
    largest = largest_of([one.spent for one in found.values()])
    for name, one in found.items():
        found[name] = one.with_(worth=round(worth(inside.weights, one.quality, one.spent.over(largest)), 4))
    ranked = iter(sorted(found, key=lambda name: (-found[name].worth, inside.order.index(name))))
    order = tuple(next(ranked) if name in found else name for name in inside.order)
    gain, needed, why = _compared(inside, order, found)
    judged = None
    if not why and order[0] != inside.order[0]:
        judged = _on_the_log(inside, place, order, tries, largest)
        if judged.conclusive and judged.gain <= SURE * judged.unsure:
            why = f"outcomes speak for another order, but choices left to chance do not: {judged.why}"
    changes = not why
    pull = pulls.repo if place.repo else pulls.language if place.language else pulls.rule
    return Verdict(
        **place._asdict(), before=inside.order, order=order if changes else inside.order,
        gain=round(gain, 4), needed=round(needed, 4), changes=changes,
        why=why or f"better by {gain:.3f}, {needed:.3f} were needed", candidates=tuple(found.values()),
        pull=round(pull, 2), offpolicy=judged,
    )  # fmt: skip


def _on_the_log(inside: Inside, place: Place, order: Sequence[str], tries: Sequence[Try], largest: Spent) -> Judged:
    """The new order against the one before, on the first tries of this place alone. What they took is measured by
    `largest`, as the outcomes' gain is: a single slow try must not shrink all others."""
    own = [one for one in tries if place.has(one)]
    known = [one for one in own if one.propensity is not None and one.candidate in inside.order]
    log = [
        Logged(
            one.repo, one.candidate, one.propensity or 1.0,
            worth(inside.weights, float(one.held), one.spent.over(largest)), old=inside.order[0], new=order[0],
        )
        for one in known
    ]  # fmt: skip
    return compared(log)


def _compared(inside: Inside, order: Sequence[str], found: Mapping[str, Standing]) -> tuple[float, float, str]:
    """Gain of the new order, the gain it needs, and why the old one stays ("" when it does not)."""
    at = next((n for n, name in enumerate(order) if name != inside.order[n]), None)
    if len(found) < 2:
        return 0.0, 0.0, f"fewer than two candidates have {LEAST_EVIDENCE} outcomes of first tries"
    if at is None:
        return 0.0, 0.0, "the outcomes agree with the order"
    new, old = found[order[at]], found[inside.order[at]]
    share = inside.quality / sum(inside.weights)
    needed = MARGIN + SURE * share * math.hypot(new.unsure, old.unsure)
    gain = new.worth - old.worth
    return gain, needed, "" if gain >= needed else f"better by {gain:.3f} only, {needed:.3f} were needed"


def _estimate(name: str, place: Place, tries: Sequence[Try], weights: Sequence[float], pulls: Pulls) -> Standing | None:
    """None while there are too few outcomes of this candidate anywhere, or none in the place that is asked for."""
    own = [(one, weight) for one, weight in zip(tries, weights, strict=True) if one.candidate == name]
    here = [(one, weight) for one, weight in own if place.has(one)]
    narrow = place.language or place.repo
    if len(own) < LEAST_EVIDENCE or (narrow and not here):
        return None
    layers: list[tuple[float, Outcomes]] = [(0.0, own)]
    layers.append((pulls.rule, [(one, weight) for one, weight in own if one.rule == place.rule]))
    if narrow:
        layers.append((pulls.repo if place.repo else pulls.language, here))
    quality, count = _pooled(layers, lambda one: float(one.held), prior=(1.0, 2.0))
    seconds, _ = _pooled(layers, lambda one: one.seconds)
    model_seconds, _ = _pooled(layers, lambda one: one.spent.model_seconds)
    tokens, told = _pooled(layers, lambda one: one.tokens)
    waited, seen = _pooled(layers, lambda one: one.waited)
    return Standing(
        candidate=name, tries=len(here), quality=round(quality, 4),
        unsure=round(math.sqrt(quality * (1 - quality) / (count + 1)), 4), worth=0.0, seconds=round(seconds, 3),
        model_seconds=round(model_seconds, 3), tokens=round(tokens, 1) if told else None,
        waited_seconds=round(waited, 3) if seen else None,
    )  # fmt: skip


Outcomes = Sequence[tuple[Try, float]]
"""Tries with what each counts."""


def _pooled(
    layers: Sequence[tuple[float, Outcomes]], value: Callable[[Try], float | None], prior: tuple[float, float] = (0, 0)
) -> tuple[float, float]:
    """The mean of a value in the last of these layers, each pulled to the mean in the one before by so many outcomes,
    and by never more than there are; and what it rests on, in outcomes. (0, 0) where no try has the value.

    `prior` is a sum and the outcomes it is of."""
    summed, count = prior
    mean = 0.0
    for number, (wanted, outcomes) in enumerate(layers):
        known = [(told, weight) for one, weight in outcomes if (told := value(one)) is not None]
        near = sum(weight for _, weight in known)
        pull = min(wanted, max(0.0, count - near)) if number else count
        if near + pull:
            mean = (sum(weight * told for told, weight in known) + (pull * mean if number else summed)) / (near + pull)
        count = near + pull
    return mean, count


def preferences(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """The changed orders as the router's policy file has them."""
    return [
        {
            "rule": one.rule,
            "task": TASK,
            "language": one.language,
            "repo": one.repo,
            "order": list(one.order),
            "evidence": sum(each.tries for each in one.candidates),
        }
        for one in verdicts
        if one.changes
    ]
