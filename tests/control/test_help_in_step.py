"""The manual tells of everything there is: a new setting, command, stage, metric or route without a word fails here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest
from flask import Flask

from appliance.cli.main import COMMANDS, root
from appliance.config import documented
from appliance.learning.queries import QUERIES
from appliance.learning.tables import TABLES
from appliance.line.runner import STAGES
from appliance.work import Autonomy, State
from control.manual import FOLDER, names, page, routes_table, source
from inference.gateway.app import _add_paths
from inference.gateway.metrics import Metrics
from tests.control.world import Console


def whole() -> str:
    return "\n".join(page(name).html for name in names())


def commands(command: click.Command, path: str, context: click.Context) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield path
        return
    for name in (*command.list_commands(context), *(["serve"] if command is root else [])):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from commands(inner, f"{path} {name}", context)


def test_every_setting_is_told_in_its_section_with_its_meaning() -> None:
    parts = dict(re.findall(r"<h2>(\w+)</h2>(.*?)(?=<h2>|\Z)", page("settings").html, re.DOTALL))
    for row in documented():
        section, _, field = row["name"].partition(".")
        assert f"<td><code>{field}</code></td>" in parts[section]
        assert re.search(rf"<code>{field}</code></td>\s*<td><code>.+?</code></td>\s*<td>\w+", parts[section]), row


def test_every_command_is_told_with_an_example() -> None:
    text = source("cli")
    told = set(re.findall(r"^\| `(appliance [^`]+)` \| [^|]+ \| `appliance [^`]+` \|$", text, re.MULTILINE))
    assert told == set(commands(root, "appliance", click.Context(root)))
    assert {line.split()[1] for line in told} == set(COMMANDS)


def test_every_example_on_the_command_line_page_is_one_the_commands_accept() -> None:
    for example in re.findall(r"\| `(appliance [^`]+)` \|$", source("cli"), re.MULTILINE):
        _parse(root, click.Context(root), [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', example)[1:]])


def _parse(command: click.Command, context: click.Context, words: list[str]) -> None:
    if isinstance(command, click.Group):
        words = words[2:] if words[0] == "--home" else words
        inner = command.get_command(context, words[0])
        assert inner is not None, words
        _parse(inner, click.Context(inner), words[1:])
        return
    known = {option for parameter in command.params if isinstance(parameter, click.Option) for option in parameter.opts}
    for word in words:
        assert not word.startswith("--") or word in known | {"--home", "--json"}, (command.name, word)


def test_every_stage_state_and_level_of_autonomy_is_told() -> None:
    text = source("concepts")
    told = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert told == ["signal", *STAGES, *Autonomy]
    for state in State:
        assert state in text, state


def test_every_metric_of_the_gateway_is_told() -> None:
    told = set(re.findall(r"^\| `(appliance_gateway_\w+)` \|", source("metrics"), re.MULTILINE))
    metrics = {
        f"{family.name}_total" if family.type == "counter" else family.name for family in Metrics().registry.collect()
    }
    assert told == metrics


def test_every_route_of_the_gateway_is_told() -> None:
    app = Flask("gateway", static_folder=None)
    _add_paths(app, None)  # type: ignore[arg-type]
    there = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule) for rule in app.url_map.iter_rules()}
    text = source("routes").partition("## Console")[0]
    assert set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)) == there


def test_every_route_of_the_console_is_told_in_words(console: Console) -> None:
    table = routes_table(console.app)
    for rule in console.app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        (line,) = [line for line in table.splitlines() if line.startswith(f"| `{path}` | {_methods(rule)} |")]
        assert len(line.split("|")[4].strip()) > 5, line
    assert "{routes}" not in page("routes", table).html


def _methods(rule: object) -> str:
    return ", ".join(sorted(set(rule.methods) - {"HEAD", "OPTIONS"}))  # type: ignore[attr-defined]


def test_every_table_and_question_of_the_learning_store_is_told() -> None:
    text = source("learning")
    for table, columns in TABLES.items():
        (line,) = re.findall(rf"^\| `{table}` \|.*$", text, re.MULTILINE)
        assert re.findall(r"`(\w+)`", line)[1:] == list(columns)
    for name, query in QUERIES.items():
        (line,) = re.findall(rf"^\| `{name}` \|.*$", text, re.MULTILINE)
        assert re.findall(r"`(\w+)`", line)[1:] == list(query.parameters)


def test_every_setting_named_on_a_page_exists() -> None:
    known = {row["name"] for row in documented()}
    sections = {name.partition(".")[0] for name in known}
    for name in names():
        for word in re.findall(r"`([a-z]+\.[a-z_]+)`", source(name)):
            section, _, field = word.partition(".")
            if section in sections and field not in {"db", "log", "toml", "duckdb", "py", "pem"}:
                assert word in known, (name, word)


class Links(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


@pytest.mark.parametrize("name", names())
def test_every_page_has_a_title_and_only_links_that_lead_somewhere_on_the_box(name: str, console: Console) -> None:
    assert source(name).startswith("# ")
    browser = console.browser()
    answer = browser.get(f"/help/{name}")
    assert answer.status_code == 200
    for link in Links(answer.text).found:
        assert link.startswith(("/", "#")), link
        if not link.startswith("#"):
            assert browser.get(link).status_code == 200, link


def test_the_contents_list_names_every_page_there_is() -> None:
    files = {str(file.relative_to(FOLDER).with_suffix("")) for file in Path(FOLDER).rglob("*.md")}
    assert files == set(names())
