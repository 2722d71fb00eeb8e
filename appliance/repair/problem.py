"""What is to be repaired, and what came of it."""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from appliance import work
from appliance.repair.source import Source

LARGEST_FILE = 400_000
"""Characters of a source file that is still searched."""

NOT_SOURCE = frozenset(
    {"tests", "test", "testing", "docs", "doc", "examples", "build", "dist", "node_modules", "venv", ".venv"}
)


@dataclass(frozen=True)
class Problem:
    """A fault that known tests show."""

    tree: Path
    """Host folder with the checkout; reproduction tests of the plan are written into it already."""
    acceptance: tuple[str, ...]
    """pytest ids that must pass; they fail now."""
    baseline: Mapping[str, str]
    """Outcome of every test before the change."""
    report: str = ""
    """The bug report's words."""
    similarity: Mapping[str, float] = field(default_factory=dict)
    """"path::function" or path → likeness of report and code, 0..1."""
    refused: frozenset[str] = frozenset()
    """SHA-256 of diffs that later gates turned down: never proposed again."""
    repo: str = ""
    """The repository's name, as what was learned knows it."""
    protected: tuple[str, ...] = ()
    """Glob patterns of paths not to edit. Tests are never edited either."""


@dataclass(frozen=True)
class Found:
    """The search's answer."""

    decision: Literal["ship", "ask", "none"]
    reason: str
    """For people: why it may ship, what is undecided, or where it looked and what it tried."""
    candidates: tuple[work.Candidate, ...] = ()
    """Best first; weight, cluster and telling_input are filled in."""
    tried: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    suspects: tuple[work.Suspect, ...] = ()


def is_test(path: str) -> bool:
    """Whether a path is a test's, by the usual names."""
    pure = PurePosixPath(path)
    name = pure.name
    return (
        (name.startswith("test_") or name.endswith("_test.py") or name in ("conftest.py", "setup.py", "noxfile.py"))
        or not NOT_SOURCE.isdisjoint(pure.parts[:-1])
        or any(part.startswith(".") for part in pure.parts)
    )


def protected(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a glob pattern covers the path."""
    return any(fnmatch.fnmatch(path, p) or (p.startswith("**/") and fnmatch.fnmatch(path, p[3:])) for p in patterns)


def sources(problem: Problem) -> dict[str, Source]:
    """Every file that may be edited, parsed; files that cannot be read or parsed are left out."""
    found: dict[str, Source] = {}
    for path in python_files(problem.tree):
        if is_test(path) or protected(path, problem.protected):
            continue
        try:
            text = (problem.tree / path).read_bytes().decode("utf-8")
            if len(text) <= LARGEST_FILE and "\r" not in text.replace("\r\n", ""):
                found[path] = Source(path, text)
        except (OSError, UnicodeDecodeError, SyntaxError, ValueError, RecursionError):
            continue
    return found


def python_files(tree: Path) -> Iterator[str]:
    """Paths of Python files, relative and POSIX, sorted; links are not followed."""
    for folder, folders, files in tree.walk() if hasattr(tree, "walk") else _walk(tree):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in ("node_modules", "__pycache__")
        )
        for name in sorted(files):
            if name.endswith(".py") and not (folder / name).is_symlink():
                yield (folder / name).relative_to(tree).as_posix()


def _walk(tree: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """`Path.walk` for Python 3.11."""
    import os

    for folder, folders, files in os.walk(tree):
        yield Path(folder), folders, files


def literals(source: Source) -> list[object]:
    """Plain constants of a file, for making inputs."""
    found: dict[str, object] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str) and len(str(node.value)) <= 20:
            found[repr(node.value)] = node.value
    return list(found.values())[:60]
