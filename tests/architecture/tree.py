"""The source tree as the architecture tests read it: parsed, never imported."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("appliance", "inference", "models", "control", "installer")
SANDBOXED = ("appliance/computers/inside.py", "appliance/computers/recorder/", "appliance/repair/runner/")
"""Scripts that run alone inside a sandbox, under a repository's own Python: they are not imported by the box."""


@cache
def sources() -> dict[str, Path]:
    """Each of our own files by its path in the tree; the bundled sample's repository is data."""
    found = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    named = {file.relative_to(ROOT).as_posix(): file for file in found}
    return {name: named[name] for name in sorted(named) if not name.startswith("appliance/sample/repository/")}


@cache
def parsed(name: str) -> ast.Module:
    """The syntax tree of one file."""
    return ast.parse(sources()[name].read_text("utf-8"), name)


def module(name: str) -> str:
    """The dotted name of a file."""
    return name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def imports(name: str) -> set[str]:
    """The first parts of every absolute import anywhere in a file, deferred ones included."""
    found: set[str] = set()
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found
