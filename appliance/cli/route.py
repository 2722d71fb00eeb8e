"""`appliance route`: the rules that choose models, checked, explained and tried out without a running box."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from appliance.cli.context import Box, pass_box, table
from appliance.errors import ConfigError, NotFound, UsageError, VerificationFailed
from appliance.ledger import open_ledger
from appliance.ledger.routes import Routes, digest
from inference import rules as rules_file
from inference.asked import NEEDS, RouteRequest, Sensitivity
from inference.catalogue import Catalogue, Entry
from inference.conditions import When
from inference.keys import KeyStore
from inference.permits import permitted
from inference.policy import Learned, now, read_policy
from inference.reach import review
from inference.router import Decision, as_json
from inference.router import explain as explained
from inference.rules import Rule
from inference.simulation import Side, Simulation
from inference.simulation import simulate as simulated
from models.card import TASKS
from models.registry import Registry

Found = TypeVar("Found")


@click.group("route")
def command() -> None:
    """Routing rules: who answers what."""


@command.command("list")
@pass_box
def list_rules(box: Box) -> None:
    """The rules in force, in order: the first that holds decides."""
    box.require_home()
    rules = rules_file.load(box.home.routes_file, catalogue(box))
    rows = [rule.model_dump(mode="json", exclude_none=True, by_alias=True) for rule in rules.rule]
    shown = table(
        "RULE", "WHEN", "CANDIDATES", "FALLBACK", "LEARNING",
        rows=[
            (rule.name, _conditions(rule.when), ", ".join(rule.candidates), ", ".join(rule.fallback) or "-",
             rule.learning)
            for rule in rules.rule
        ],
    )  # fmt: skip
    box.emit(rows, shown if rows else "no rules: calls to `auto` are refused")


@command.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Exit 5 when there is anything to warn of.")
@pass_box
def check(box: Box, file: Path | None, strict: bool) -> int:
    """Test a rules file (default: the one in force) against this box: models, names, rules no call reaches, overlaps.

    Faults are named all at once, with exit 2; what is only odd is a warning.
    """
    box.require_home()
    chosen = _existing(file) if file else box.home.routes_file
    models = catalogue(box)
    rules = rules_file.load(chosen, models)
    findings = review(rules, models, known_names(box))
    shown = str(chosen) if chosen.is_file() else "the default rules"
    lines = [f"{shown}: {len(rules.rule)} rules, all valid"]
    lines += [f"  warning: {one.rule!r}: {one.text}" for one in findings]
    box.emit(
        {"ok": True, "file": shown, "rules": [rule.name for rule in rules.rule],
         "warnings": [one.model_dump(mode="json") for one in findings]},
        "\n".join(lines),
    )  # fmt: skip
    return VerificationFailed.exit_status if strict and findings else 0


@command.command("explain")
@click.option("--task", default="chat", type=click.Choice(TASKS), show_default=True, help="What is to be done.")
@click.option("--model", default="auto", show_default=True, help="A model, an alias, auto or auto:quality|cost|speed.")
@click.option("--stage", default="", help="Stage of the line.")
@click.option("--language", default="", help="Programming language.")
@click.option("--repo", default="", help="Repository.")
@click.option("--key", default="", help="Name of a key; its team and its restrictions count too.")
@click.option("--team", default="", help="Team of a key.")
@click.option("--severity", default=0, type=click.IntRange(0, 4), help="Of the item, 1 is worst.")
@click.option("--attempt", default=0, type=click.IntRange(min=0), help="Which try at the item, from 1.")
@click.option("--load", default=0, type=click.IntRange(min=0), help="Other calls in flight.")
@click.option("--at", type=click.DateTime(("%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M")), help="Time on the box; else now.")
@click.option("--prompt-tokens", default=0, type=click.IntRange(min=0), help="Length of the prompt.")
@click.option("--sensitivity", default="internal", type=click.Choice(list(Sensitivity.__members__)), show_default=True)
@click.option("--needs", multiple=True, type=click.Choice(list(NEEDS)), help="May be repeated.")
@pass_box
def explain(
    box: Box, /, needs: tuple[str, ...], sensitivity: str, at: datetime | None, key: str, team: str, **fields: Any
) -> int:
    """Who would answer, by which rule, and why the others would not. Exit 4 when nobody would."""
    box.require_home()
    models = catalogue(box)
    found = next((one for one in KeyStore(box.home.secrets / "keys.json").list() if one.name == key), None)
    wanted = RouteRequest(
        needs=needs, sensitivity=Sensitivity[sensitivity], at=at or datetime.now().astimezone(), key=key,
        team=team or (found.terms.team if found else ""), **fields,
    )  # fmt: skip
    decision = explained(wanted, rules_file.load(box.home.routes_file, models), models, learned(box))
    if found is not None:
        decision = permitted(found, decision)
    box.emit(dict(as_json(decision)), in_words(decision))
    return 0 if decision.candidates else NotFound.exit_status


@command.command("simulate")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--rules", "changed", required=True, type=click.Path(path_type=Path), help="The changed rules file.")
@pass_box
def simulate(box: Box, file: Path, changed: Path) -> None:
    """Decide recorded calls by the rules in force and by a changed file, and show what would differ.

    FILE holds a call in each line, as the gateway writes them to spool/usage-DATE.jsonl.
    """
    box.require_home()
    models = catalogue(box)
    before, after = (rules_file.load(one, models) for one in (box.home.routes_file, _existing(changed)))
    with _existing(file).open(encoding="utf-8", errors="replace") as lines:
        made = simulated(lines, before, after, models, learned(box))
    if made.unreadable and not made.calls:
        raise UsageError(
            f"{file} holds no call: {made.unreadable[0]}", "name a usage file, like spool/usage-DATE.jsonl"
        )
    box.emit(made.model_dump(mode="json"), difference_in_words(made))


@command.command("save")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--why", required=True, help="The reason; it is kept with the version.")
@pass_box
def save(box: Box, file: Path, why: str) -> None:
    """Put a changed rules file in force, if it is valid; the gateway takes it over at once. Each version is kept."""
    box.require_home()
    rules = rules_file.load(_existing(file), catalogue(box))
    number = _kept(
        box, lambda kept: kept.save(file.read_text(encoding="utf-8"), digest(kept.text()), getpass.getuser(), why)
    )
    box.emit(
        {"version": number, "rules": len(rules.rule)}, f"version {number} with {len(rules.rule)} rules is in force"
    )


@command.command("versions")
@pass_box
def versions(box: Box) -> None:
    """The rules that were saved, the newest first: who, when and why."""
    box.require_home()
    known = _kept(box, Routes.versions)
    rows = [(one.number, f"{one.at:%Y-%m-%d %H:%M}", one.by, one.why) for one in known]
    box.emit([one.model_dump(mode="json") for one in known], table("version", "saved", "by", "why", rows=rows))


@command.command("restore")
@click.argument("number", type=click.IntRange(min=1))
@click.option("--why", required=True, help="The reason; it is kept with the version.")
@pass_box
def restore(box: Box, number: int, why: str) -> None:
    """Put an earlier version in force again, if it is still valid for this box."""
    box.require_home()
    models = catalogue(box)

    def again(kept: Routes) -> int:
        text = kept.version(number).text
        rules_file.parse(text, models, f"version {number}")
        return kept.save(text, digest(kept.text()), getpass.getuser(), why)

    made = _kept(box, again)
    box.emit({"version": made, "of": number}, f"version {number} is in force again, as version {made}")


def _kept(box: Box, what: Callable[[Routes], Found]) -> Found:
    ledger = open_ledger(box.home)
    try:
        return what(Routes(box.home, ledger))
    finally:
        ledger.close()


def difference_in_words(made: Simulation) -> str:
    """A simulation for people."""
    lines = [f"{made.calls} calls, {made.same} decided as before, {made.calls - made.same} otherwise"]
    for one in made.differences:
        lines += [f"  {one.calls} calls: {one.what} (for example {', '.join(one.examples)})"]
        lines += [f"    {word}: {_side(side)}" for word, side in (("before", one.before), ("after ", one.after))]
    return "\n".join([*lines, *(f"  passed over: {why}" for why in made.unreadable)])


def _side(side: Side) -> str:
    who = ", ".join(side.candidates) or f"nobody ({side.refusal})"
    actions = "; ".join(f"{name} {_short(value)}" for name, value in side.actions.items())
    return f"{side.rule or 'no rule'}: {who}" + (f" [{actions}]" if actions else "")


def in_words(decision: Decision) -> str:
    """A decision for people."""
    lines = [f"task {decision.task}, model {decision.model}"]
    for rule in decision.considered:
        lines.append(f"  {'holds ' if rule.matched else 'passed'}  {rule.rule}: {rule.why}")
    if decision.candidates:
        lines.append(f"candidates by {decision.rule}: {', '.join(decision.candidates)}")
    else:
        lines += [f"nobody: {decision.refusal}", f"hint: {decision.hint}"]
    said = [*decision.reasons, *([f"learning: {decision.policy}"] if decision.policy else [])]
    return "\n".join([*lines, *(f"  {reason}" for reason in said)])


def readable(box: Box) -> tuple[Rule, ...]:
    """The rules in force; none when they cannot be read, which `route check` and the doctor tell."""
    try:
        return tuple(rules_file.load(box.home.routes_file, catalogue(box)).rule)
    except ConfigError:
        return ()


def catalogue(box: Box) -> Catalogue:
    """This box's models, as the gateway sees them."""
    cap = box.settings.engines.context_tokens
    return Catalogue(Entry.of(card, cap) for card in Registry(box.home.models).list())


def learned(box: Box) -> Learned:
    """The policy, as the gateway sees it."""
    return read_policy(box.home.policy_file).at(now(), box.settings.gateway.policy_days)


def known_names(box: Box) -> Mapping[str, Collection[str]]:
    """The keys and teams of this box, and its repositories when it has a ledger."""
    keys = [key for key in KeyStore(box.home.secrets / "keys.json").list() if not key.revoked]
    found: dict[str, Collection[str]] = {"key": {key.name for key in keys}, "team": {key.terms.team for key in keys}}
    if box.home.ledger.exists():
        found["repo"] = {one.name for one in open_ledger(box.home).repositories()}
    return found


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise NotFound(f"there is no file {file}", "name a file that there is")
    return file


def _conditions(when: When) -> str:
    stated: dict[str, Any] = when.model_dump(mode="json", exclude_defaults=True, exclude_none=True, by_alias=True)
    return "; ".join(f"{name} {_short(value)}" for name, value in stated.items()) or "always"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_short(part)}" for key, part in value.items())
    return " or ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
