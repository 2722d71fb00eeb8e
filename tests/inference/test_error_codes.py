"""Every code of an error that the gateway's source can give is told in the manual."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import inference.gateway
from control.manual import source
from inference.gateway.faults import CONTEXT_CODE

MAKERS = {"ApiError": "code", "bad_request": "code"}


def calls() -> Iterator[ast.Call]:
    """All places that make an error."""
    for file in Path(inference.gateway.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
                yield node


def codes() -> set[str]:
    """What stands where a code belongs: both ways of a choice; names of variables are left out."""
    found = {CONTEXT_CODE, "invalid_value"}
    for call in calls():
        named = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
        for value in named or call.args[2:3]:
            choices = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
            found |= {one.value for one in choices if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return found


def test_every_code_of_an_error_is_told() -> None:
    table = source("clients").partition("## What errors mean")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    assert codes() - told == set()
    assert told - codes() == {"config", "unavailable", "refused"}, "what comes from errors of the floor"
