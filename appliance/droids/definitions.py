"""Functions and classes of a Python text, by qualified name, and how to put new ones in their place. Pure."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache

from appliance.droids.lines import shifted, spliced, split_lines, trimmed

Node = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def parsed(text: str) -> ast.Module | None:
    """The syntax tree, or None for a text that is not Python. Never raises and never warns."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's invalid escapes are not our warnings
            return ast.parse(text.removeprefix("\ufeff"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def walk(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """Every definition with its qualified name, in the order of the file."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Node):
            yield f"{prefix}{child.name}", child
            yield from walk(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from walk(child, prefix)


def find(text: str, name: str) -> Node | None:
    """The definition with this qualified name; a method's bare name will do when it is the only one."""
    tree = parsed(text)
    if tree is None:
        return None
    exact = [node for qualified, node in walk(tree) if qualified == name]
    if exact:
        return exact[-1]  # the one that is in force
    ending = [node for qualified, node in walk(tree) if qualified.endswith(f".{name}")]
    return ending[0] if len(ending) == 1 else None


def span(node: Node) -> tuple[int, int]:
    """First and one-past-last line index of a definition, decorators included."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return first - 1, node.end_lineno or node.lineno


@lru_cache(maxsize=16)
def outline(text: str) -> tuple[tuple[str, int, int], ...]:
    """Qualified name, first and one-past-last line index of every definition; () for a text that is not Python."""
    tree = parsed(text)
    return tuple((name, *span(node)) for name, node in walk(tree)) if tree is not None else ()


def top_names(text: str) -> set[str] | None:
    """Functions and classes at the top of a module; None when it is no Python."""
    tree = parsed(text)
    return None if tree is None else {node.name for node in tree.body if isinstance(node, Node)}


def only_definitions(text: str, known: str) -> dict[str, str]:
    """A text of definitions and of imports that `known` has too, as {name: source}; {} when it holds anything else."""
    tree, lines, old = parsed(text), text.split("\n"), parsed(known)
    imports = {ast.unparse(node) for node in (old.body if old else []) if isinstance(node, ast.Import | ast.ImportFrom)}
    parts: dict[str, str] = {}
    for node in tree.body if tree else []:
        if isinstance(node, ast.Import | ast.ImportFrom) and ast.unparse(node) in imports:
            continue
        if not isinstance(node, Node) or node.name in parts:
            return {}
        start, end = span(node)
        parts[node.name] = "\n".join(lines[start:end])
    return parts


def put(text: str, parts: Mapping[str, str], longest: int) -> tuple[str, str]:
    """`text` with definitions replaced by new sources, and "" or why not. Nothing outside them changes."""
    for name, source in parts.items():
        node = find(text, name)
        if node is None:
            return text, f"there is no {name} in it"
        (start, end), lines, new = span(node), split_lines(text), trimmed(source)
        if end - start > longest:
            return text, f"{name} is longer than {longest} lines: use SEARCH/REPLACE"
        before = lines[start][: node.col_offset] if lines[start].isascii() else " " * node.col_offset
        if before.strip():
            return text, f"{name} shares its line with other code: use SEARCH/REPLACE"
        if not _is_one(new, name):
            return text, f"what is given for {name} must be that definition and nothing else"
        text = spliced(lines, start, end, shifted(new, _to(before, new[0])))
    return text, ""


def _to(before: str, first: str) -> str | int:
    """How to shift lines whose first is `first` so that it stands where `before` ends."""
    own = first[: len(first) - len(first.lstrip(" \t"))]
    return before[len(own) :] if before.startswith(own) else len(before) - len(own)


def _is_one(lines: list[str], name: str) -> bool:
    """Whether lines are one definition of this name, at whatever depth of indentation."""
    if not lines:
        return False
    own = len(lines[0]) - len(lines[0].lstrip(" \t"))
    tree = parsed("\n".join(shifted(lines, -own)))
    if tree is None or len(tree.body) != 1:
        return False
    node = tree.body[0]
    return isinstance(node, Node) and node.name == name.rsplit(".", 1)[-1]
