"""From outcomes of first tries to an order of candidates inside each routing rule. Pure, and the same for the same.

Only first tries count: a second one is made where another failed, so its tasks are harder than the first one's. How
good a candidate is in one rule is a Beta distribution, pulled to what it is over all rules; in one repository of the
rule it is pulled to what it is in the rule. How hard, is told by how unlike rules and repositories have been
(`pulling.py`). Older outcomes count less.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from appliance.learning.offpolicy import Judged, Logged, compared
from appliance.learning.pulling import USUAL, Cell, pull_of
from appliance.policy import Meaning, Weights, worth
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
 tries.wall_seconds AS seconds, chances.propensity, chances.meaning
FROM tries JOIN items USING (item)
LEFT JOIN (SELECT item, seq, propensity, meaning FROM decisions WHERE source = 'line') AS chances
 ON chances.item = tries.item AND chances.seq = tries.seq
WHERE tries.n = 1 AND tries.rule <> '' AND items.state IN ('closed', 'failed', 'rejected', 'rolled_back')
ORDER BY tries.seq DESC LIMIT {MOST_TRIES}
"""  # noqa: S608 - our own number
"""The newest first: item by item, did the first try hold (shipped, closed, not reverted), and how long did it take."""

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


class Inside(Noun):
    """One rule as it stands: its candidates in order, and what matters in it, as weights."""

    rule: str
    order: tuple[str, ...]
    quality: float
    cost: float
    speed: float

    @property
    def weights(self) -> Weights:
        return Weights(self.quality, self.cost, self.speed)


class Pulls(NamedTuple):
    """Outcomes that a candidate's quality over all rules counts in one rule, and that in a rule in one repository."""

    rule: float = USUAL
    repo: float = USUAL


class Standing(Noun):
    """What is known of one candidate in one rule."""

    candidate: str
    tries: int
    quality: float
    unsure: float
    seconds: float
    worth: float


class Verdict(Noun):
    """One rule, or one repository in it: the order that would hold, the order learned, and whether that is better by
    more than its uncertainty."""

    rule: str
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


def judge(tries: Iterable[Try], rules: Iterable[Inside]) -> list[Verdict]:
    """What the outcomes say of each rule, and after it of each repository in which another order is better still."""
    known = list(tries)
    newest = max((one.at for one in known), default=0.0)
    weights = [0.5 ** ((newest - one.at) / 86_400 / HALF_LIFE_DAYS) for one in known]
    pulls, found = pulls_of(known, weights), []
    for inside in rules:
        verdict = _of_cell(inside, "", known, weights, pulls)
        repos = sorted({one.repo for one in known if one.rule == inside.rule and one.repo})
        own = [_of_cell(inside.with_(order=verdict.order), repo, known, weights, pulls) for repo in repos]
        found += [verdict, *(one for one in own if one.changes)]
    return found


def pulls_of(tries: Sequence[Try], weights: Sequence[float]) -> Pulls:
    """How much rules, and repositories in a rule, tell of one another: from all candidates together."""
    by_rule: dict[str, dict[str, Cell]] = {}
    by_repo: dict[tuple[str, str], dict[str, Cell]] = {}
    for one, weight in zip(tries, weights, strict=True):
        by_rule.setdefault(one.candidate, {}).setdefault(one.rule, Cell()).add(weight, one.held)
        by_repo.setdefault((one.candidate, one.rule), {}).setdefault(one.repo, Cell()).add(weight, one.held)
    return Pulls(pull_of(by_rule.values()), pull_of(by_repo.values()))


def _of_cell(inside: Inside, repo: str, tries: Sequence[Try], weights: Sequence[float], pulls: Pulls) -> Verdict:
    found = {name: one for name in inside.order if (one := _estimate(name, inside.rule, repo, tries, weights, pulls))}
    longest = max((one.seconds for one in found.values()), default=0.0) or 1.0
    for name, one in found.items():
        found[name] = one.with_(worth=round(worth(inside.weights, name, one.quality, one.seconds / longest), 4))
    ranked = iter(sorted(found, key=lambda name: (-found[name].worth, inside.order.index(name))))
    order = tuple(next(ranked) if name in found else name for name in inside.order)
    gain, needed, why = _compared(inside, order, found)
    judged = None
    if not why and order[0] != inside.order[0]:
        judged = _on_the_log(inside, repo, order, tries, longest)
        if judged.conclusive and judged.gain <= SURE * judged.unsure:
            why = f"outcomes speak for another order, but choices left to chance do not: {judged.why}"
    changes = not why
    return Verdict(
        rule=inside.rule, repo=repo, before=inside.order, order=order if changes else inside.order,
        gain=round(gain, 4), needed=round(needed, 4), changes=changes,
        why=why or f"better by {gain:.3f}, {needed:.3f} were needed", candidates=tuple(found.values()),
        pull=round(pulls.repo if repo else pulls.rule, 2), offpolicy=judged,
    )  # fmt: skip


def _on_the_log(inside: Inside, repo: str, order: Sequence[str], tries: Sequence[Try], longest: float) -> Judged:
    """The new order against the one before, on the first tries of this rule (and repository) alone. Time is measured
    by `longest`, as the outcomes' gain is: a single slow try must not shrink all others."""
    own = [one for one in tries if one.rule == inside.rule and (not repo or one.repo == repo)]
    known = [one for one in own if one.propensity is not None and one.candidate in inside.order]
    log = [
        Logged(
            one.repo, one.candidate, one.propensity or 1.0,
            worth(inside.weights, one.candidate, float(one.held), one.seconds / longest),
            old=inside.order[0], new=order[0],
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
    share = inside.quality / (inside.quality + inside.cost + inside.speed)
    needed = MARGIN + SURE * share * math.hypot(new.unsure, old.unsure)
    gain = new.worth - old.worth
    return gain, needed, "" if gain >= needed else f"better by {gain:.3f} only, {needed:.3f} were needed"


def _estimate(
    name: str, rule: str, repo: str, tries: Sequence[Try], weights: Sequence[float], pulls: Pulls
) -> Standing | None:
    """None while there are too few outcomes of this candidate anywhere, or none in the repository that is asked for."""
    own = [(one, weight) for one, weight in zip(tries, weights, strict=True) if one.candidate == name]
    inside = [(one, weight) for one, weight in own if one.rule == rule]
    here = [(one, weight) for one, weight in inside if one.repo == repo] if repo else inside
    if len(own) < LEAST_EVIDENCE or (repo and not here):
        return None
    weight = sum(each for _, each in own)
    quality = (1 + sum(each for one, each in own if one.held)) / (2 + weight)
    seconds = sum(each * one.seconds for one, each in own) / weight
    count = 2 + weight
    for cell, wanted in ((inside, pulls.rule), (here, pulls.repo)) if repo else ((inside, pulls.rule),):
        near = sum(each for _, each in cell)
        pull = min(wanted, count - near)
        quality = (sum(each for one, each in cell if one.held) + pull * quality) / (near + pull)
        seconds = (sum(each * one.seconds for one, each in cell) + pull * seconds) / (near + pull)
        count = near + pull
    return Standing(
        candidate=name, tries=len(here), quality=round(quality, 4),
        unsure=round(math.sqrt(quality * (1 - quality) / (count + 1)), 4), worth=0.0, seconds=round(seconds, 3),
    )  # fmt: skip


def preferences(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """The changed orders as the router's policy file has them."""
    return [
        {
            "rule": one.rule,
            "task": TASK,
            "repo": one.repo,
            "order": list(one.order),
            "evidence": sum(each.tries for each in one.candidates),
        }
        for one in verdicts
        if one.changes
    ]
