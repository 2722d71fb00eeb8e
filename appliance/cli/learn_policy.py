"""`appliance learn train|report|promote|rollback`: the order of candidates that outcomes speak for."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from appliance.cli.context import Box, pass_box
from appliance.cli.route import catalogue
from appliance.learning.client import LearningClient
from appliance.learning.foreseeing import Prospect, prospects
from appliance.learning.policies import Policies
from appliance.learning.reporting import searched, words
from appliance.learning.routing import MOST_TRIES, OUTCOMES, TASK, Inside, Standing, Try, Verdict, judge, preferences
from appliance.learning.savings import saved
from appliance.ledger import open_ledger
from appliance.policy import Meaning, Predictor
from inference import rules as rules_file
from inference.router import written_out

MOST_VERSIONS = 200
"""Versions whose savings are summed, the newest."""
GROWN = 1.2
"""How much more a predictor must have seen than the published one of its rule to be worth a version of its own."""
LOOK_SECONDS = 60.0
"""For the outcomes of all first tries, some with the vector of their report (about 1 kB each)."""


@click.command()
@pass_box
def report(box: Box) -> None:
    """What was learned and what it saves, in words and figures: each rule's order by outcomes, choices that followed a
    policy, tokens and seconds, repair by search, lessons. Nothing is written."""
    verdicts, seen = _judged(box)
    client = LearningClient(box.home, LOOK_SECONDS)
    with _policies(box) as kept:
        current, evaluations = kept.current(), kept.evaluations(MOST_VERSIONS)
    more: dict[str, Any] = {
        "saved": [one.model_dump() for one in saved(client.query("policy_weeks"), evaluations)],
        "costs": client.query("costs", by="rule"), "search": searched(box.home.policy),
        "lessons": client.query("lessons_used")[0],
    }  # fmt: skip
    head = f"policy {current} is in use" if current else "rules decide alone: no policy is in use"
    said = [head, *_lines(verdicts, seen), *words(more)]
    box.emit({"policy": current, **_as_told(verdicts, seen), **more, "words": said}, lambda: "\n".join(said))


@click.command()
@pass_box
def train(box: Box) -> None:
    """Publish a policy, if outcomes speak for one by more than chance; `learn promote` takes it into use.

    With `learning.promote = "auto"` one that is proved is taken into use at once; one that was not proved when it was
    published, or whose training was killed before that step, by the next training.
    """
    verdicts, seen = _judged(box)
    wanted, predictors = preferences(verdicts), [one.predictor for one in seen if one.predictor]
    gains, auto = bool(wanted or predictors), box.settings.learning.promote == "auto"
    with _policies(box) as kept:
        number = next(reversed(kept.versions()), 0)
        fresh = gains and not (number and _says_the_same(kept.read(number)["policy"], wanted, predictors))
        if fresh:
            said = _as_told(verdicts, seen)
            number = kept.publish(wanted, said["rules"], datetime.now(UTC), predictors, said["prospects"])
        promoted = auto and gains and kept.awaits(number) and proved(verdicts, predictors)
        if promoted:
            kept.promote(number, "learning")
    why = f"policy {number} is published: `appliance learn promote {number}` takes it into use"
    if promoted:
        why = f"policy {number} is published and in use (learning.promote); it is rolled back if it is worse"
    elif fresh and auto:
        why += "; not by itself: choices left to chance do not prove each of its orders yet"
    elif not fresh:
        why = "nothing new is published: " + ("the newest policy says the same" if gains else "no rule would gain")
    told = {"published": number if fresh else None, "promoted": promoted, **_as_told(verdicts, seen)}
    box.emit(told, lambda: "\n".join([why, *_lines(verdicts, seen)]))


@click.command()
@click.argument("number", type=click.IntRange(min=1))
@pass_box
def promote(box: Box, number: int) -> None:
    """Take a published policy into use. Rules with `learning = "apply"` follow it at once."""
    box.require_home()
    with _policies(box) as kept:
        kept.promote(number, getpass.getuser())
    box.emit({"policy": number}, f"policy {number} is in use; `appliance learn rollback` goes back")


@click.command()
@click.option("--why", default="", help="The reason, for the record.")
@pass_box
def rollback(box: Box, why: str) -> None:
    """Go back to the policy before, or to the rules alone."""
    box.require_home()
    with _policies(box) as kept:
        before = kept.roll_back(getpass.getuser(), why)
    box.emit({"policy": before}, f"policy {before} is in use again" if before else "rules decide alone again")


def in_words(one: Verdict) -> list[str]:
    """A rule's verdict for people."""
    what = f"better: {', '.join(one.order)}" if one.changes else "stays"
    where = f" in {one.repo or one.language}" if one.repo or one.language else ""
    lines = [f"{one.rule}{where}: {', '.join(one.before) or 'nobody may answer'}", f"  {what} ({one.why})"]
    if one.offpolicy and one.changes:
        lines.append(f"  on the log: {one.offpolicy.why}")
    return lines + [f"  {_standing(each)}" for each in one.candidates]


def _standing(one: Standing) -> str:
    """What is known of a candidate, and what a try of it takes on average."""
    parts = [f"{one.model_seconds:.3g} s of models"] if one.model_seconds else []
    parts += [f"{one.waited_seconds:.2g} s waiting"] if one.waited_seconds else []
    took = f"{one.seconds:.3g} s" + (f" ({', '.join(parts)})" if parts else "")
    tokens = f", {one.tokens:,.0f} tokens" if one.tokens is not None else ""
    return f"{one.candidate}: holds {one.quality:.0%} ± {one.unsure:.0%}, {took}{tokens}, {one.tries} tries"


def proved(verdicts: Sequence[Verdict], predictors: Sequence[Predictor] = ()) -> bool:
    """Is each changed order better on choices that were left to chance? Nobody looks at a policy that promotes itself,
    so what is inconclusive is no proof. A predictor is only made where there is one."""
    changed = [one for one in verdicts if one.changes]
    return bool(changed or predictors) and all(
        one.offpolicy is not None and one.offpolicy.conclusive for one in changed
    )


def _says_the_same(policy: Mapping[str, Any], wanted: list[dict[str, Any]], predictors: Sequence[Predictor]) -> bool:
    """Has a published policy the same orders, and predictors of the same rules that have seen about as much?"""
    seen = {one["rule"]: one["quality"]["evidence"] for one in policy.get("predictors") or ()}
    same_rules = set(seen) == {one.rule for one in predictors}
    grown = any(one.quality.evidence > GROWN * seen.get(one.rule, 0) for one in predictors)
    return _orders(policy["preferences"]) == _orders(wanted) and same_rules and not grown


def _as_told(verdicts: Sequence[Verdict], seen: Sequence[Prospect]) -> dict[str, list[Any]]:
    return {
        "rules": [one.model_dump(mode="json") for one in verdicts],
        "prospects": [
            {**one.model_dump(mode="json", exclude={"predictor"}), "foresees": one.predictor is not None}
            for one in seen
        ],
    }


def _lines(verdicts: Sequence[Verdict], seen: Sequence[Prospect]) -> list[str]:
    said = [line for one in verdicts for line in in_words(one)]
    return said + [
        f"{one.rule}, by what reports mean: {'better' if one.predictor else 'stays with the order'} ({one.why})"
        for one in seen
    ]


def _orders(wanted: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[str]]:
    return {(one["rule"], one.get("language", ""), one.get("repo", "")): one["order"] for one in wanted}


def _judged(box: Box) -> tuple[list[Verdict], list[Prospect]]:
    """What outcomes say of each rule's order, and what reports' meaning would gain beyond that."""
    box.require_home()
    rows = LearningClient(box.home, LOOK_SECONDS).look(OUTCOMES, MOST_TRIES)["rows"]
    tries = [Try(*row)._replace(held=bool(row[4]), meaning=_meaning(row[7])) for row in rows]
    models = catalogue(box)
    inside = [
        Inside(rule=rule.name, order=written_out(rule, TASK, models), **rule.objective.model_dump())
        for rule in rules_file.load(box.home.routes_file, models).rule
        if rule.learning != "off" and (not rule.when.task or TASK in rule.when.task)
    ]
    verdicts = judge(tries, inside)
    return verdicts, prospects(tries, inside, {one.place: one.order for one in verdicts})


def _meaning(said: str | None) -> Meaning | None:
    """None for what an older embedding model's odd vector may be: it is then a try without one."""
    try:
        return Meaning.model_validate_json(said) if said else None
    except ValueError:
        return None


@contextmanager
def _policies(box: Box) -> Iterator[Policies]:
    ledger = open_ledger(box.home)
    try:
        yield Policies(box.home, ledger)
    finally:
        ledger.close()
