"""`appliance route`: the rules that choose models, checked and explained without a running box."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from appliance.cli.context import Box, pass_box, table
from appliance.errors import NotFound
from inference import rules as rules_file
from inference.asked import RouteRequest, Sensitivity
from inference.catalogue import Catalogue, Entry
from inference.conditions import When
from inference.router import Decision, as_json
from inference.router import explain as explained
from models.registry import Registry


@click.group("route")
def command() -> None:
    """Routing rules: who answers what."""


@command.command("list")
@pass_box
def list_rules(box: Box) -> None:
    """The rules in force, in order: the first that holds decides."""
    box.require_home()
    rules = rules_file.load(box.home.routes_file, catalogue(box))
    rows = [rule.model_dump(mode="json", exclude_none=True) for rule in rules.rule]
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
@pass_box
def check(box: Box, file: Path | None) -> None:
    """Test a rules file (default: the one in force) against this box's models; all problems are named."""
    box.require_home()
    if file is not None and not file.is_file():
        raise NotFound(f"there is no file {file}", "name a rules file, or none for the one in force")
    chosen = file or box.home.routes_file
    rules = rules_file.load(chosen, catalogue(box))
    shown = str(chosen) if chosen.is_file() else "the default rules"
    box.emit(
        {"ok": True, "file": shown, "rules": [rule.name for rule in rules.rule]},
        f"{shown}: {len(rules.rule)} rules, all valid",
    )


@command.command("explain")
@click.option("--task", default="chat", show_default=True, help="What is to be done.")
@click.option("--model", default="auto", show_default=True, help="A model, an alias, auto or auto:quality|cost|speed.")
@click.option("--stage", default="", help="Stage of the line.")
@click.option("--language", default="", help="Programming language.")
@click.option("--repo", default="", help="Repository.")
@click.option("--prompt-tokens", default=0, type=click.IntRange(min=0), help="Length of the prompt.")
@click.option("--sensitivity", default="internal", type=click.Choice(list(Sensitivity.__members__)), show_default=True)
@click.option("--needs", multiple=True, type=click.Choice(["tools", "json_schema", "stream"]), help="May be repeated.")
@pass_box
def explain(box: Box, /, needs: tuple[str, ...], sensitivity: str, **fields: Any) -> int:
    """Who would answer, by which rule, and why the others would not. Exit 4 when nobody would."""
    box.require_home()
    models = catalogue(box)
    wanted = RouteRequest(needs=needs, sensitivity=Sensitivity[sensitivity], **fields)
    decision = explained(wanted, rules_file.load(box.home.routes_file, models), models)
    box.emit(dict(as_json(decision)), in_words(decision))
    return 0 if decision.candidates else NotFound.exit_status


def in_words(decision: Decision) -> str:
    """A decision for people."""
    lines = [f"task {decision.task}, model {decision.model}"]
    for rule in decision.considered:
        lines.append(f"  {'holds ' if rule.matched else 'passed'}  {rule.rule}: {rule.why}")
    if decision.candidates:
        lines.append(f"candidates by {decision.rule}: {', '.join(decision.candidates)}")
    else:
        lines += [f"nobody: {decision.refusal}", f"hint: {decision.hint}"]
    return "\n".join([*lines, *(f"  {reason}" for reason in decision.reasons)])


def catalogue(box: Box) -> Catalogue:
    """This box's models, as the gateway sees them."""
    cap = box.settings.engines.context_tokens
    return Catalogue(Entry.of(card, cap) for card in Registry(box.home.models).list())


def _conditions(when: When) -> str:
    stated: dict[str, Any] = when.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    return "; ".join(f"{name} {_short(value)}" for name, value in stated.items()) or "always"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {part}" for key, part in value.items())
    return " or ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
