"""What one sitting can hold: modules and functions stay short."""

from __future__ import annotations

import ast

from tests.architecture.tree import parsed, sources

LONGEST_MODULE = 400
LONGEST_FUNCTION = 50


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {name: len(file.read_text("utf-8").splitlines()) for name, file in sources().items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_no_function_is_longer_than_50_lines() -> None:
    lengths = {
        f"{name}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name in sources()
        for node in ast.walk(parsed(name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {place: length for place, length in lengths.items() if length > LONGEST_FUNCTION} == {}
