"""What a report means, and how alike it and each function of a repository are, by the box's embedding model."""

from __future__ import annotations

import ast
from pathlib import Path

from appliance.by_hand import is_test
from appliance.errors import NotFound
from appliance.policy import CHARACTERS, Meaning
from appliance.ports import Embedder, Model
from appliance.secrets import redact

MOST_FUNCTIONS = 400
"""Functions embedded at most, about 2 s on two cores; of more, those that share most words with the report."""
LONGEST_SOURCE = 700
"""Characters of a function that are embedded (the model reads about 256 tokens)."""


def meaning_of(text: str, embedder: Embedder) -> Meaning | None:
    """The vector of a report, without what looks like a secret in it; None on a box without an embedding model.

    Raises Unavailable when none answers.
    """
    try:
        made = embedder.embedded([redact(text)[0][:CHARACTERS]])
    except NotFound:
        return None
    return Meaning.of(made.vectors[0], made.model, made.digest)


def rate(tree: Path, report: str, model: Model) -> dict[str, float]:
    """`path::qualified.name` → cosine (0..1) of report and function. Raises Unavailable when no model answers."""
    functions = functions_of(tree)
    words = set(report.lower().split())
    ranked = sorted(functions, key=lambda name: -len(words & set(functions[name].lower().split())))[:MOST_FUNCTIONS]
    if not ranked:
        return {}
    vectors = model.embed([report[:2000], *(functions[name] for name in ranked)])
    return {
        name: max(0.0, sum(a * b for a, b in zip(vectors[0], vector, strict=True)))
        for name, vector in zip(ranked, vectors[1:], strict=True)
    }


def functions_of(tree: Path) -> dict[str, str]:
    """`path::qualified.name` → name, docstring and first lines, of every function outside the tests."""
    found: dict[str, str] = {}
    for file in sorted(tree.rglob("*.py")):
        relative = file.relative_to(tree).as_posix()
        if ".git/" in relative or is_test(relative):
            continue
        try:
            text = file.read_text(encoding="utf-8")
            module = ast.parse(text)
        except (SyntaxError, ValueError, OSError):
            continue  # what cannot be read cannot be the place a search would edit
        _collect(module, "", relative, text, found)
    return found


def _collect(node: ast.AST, prefix: str, path: str, text: str, found: dict[str, str]) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            source = ast.get_source_segment(text, child) or child.name
            found[f"{path}::{prefix}{child.name}"] = f"{child.name.replace('_', ' ')}\n{source[:LONGEST_SOURCE]}"
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _collect(child, f"{prefix}{child.name}.", path, text, found)
