"""What a repository defines, the most relevant first, as a short list that a model can read.

Files are nodes; a file that uses a name points to the files that define it. A random walk that starts anew at the
suspected files says how much each matters (personalised PageRank), and a definition gets its share by who uses it.
Names that the report mentions count ten times; private ones, and those that many files define, a tenth.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.droids.definitions import Node, parsed, walk
from appliance.droids.edits import is_test

MAX_FILES, MAX_BYTES = 2000, 400_000
MENTIONED, PRIVATE, COMMON = 10.0, 0.1, 0.1
DEFINED_WIDELY = 5
"""Files that define a name before it counts as common."""
DAMPING, ROUNDS = 0.85, 30
_WORD = re.compile(r"[A-Za-z_]\w*")
SKIPPED = frozenset({"node_modules", "build", "dist", "site-packages", "venv", "env", "__pycache__", "vendor"})


@dataclass(frozen=True)
class Definition:
    """One function or class, with how much it matters."""

    path: str
    name: str
    line: int
    signature: str
    score: float = 0.0


@dataclass(frozen=True)
class Source:
    """One file: what it defines and how often it uses which names."""

    path: str
    definitions: tuple[Definition, ...]
    uses: Mapping[str, int]


def sources(tree: Path) -> list[Source]:
    """Every readable Python file of the tree outside its tests. Reads syntax; runs nothing."""
    found = []
    for path in python_files(tree):
        try:
            text = (tree / path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        module = parsed(text)
        if module is not None:
            found.append(_source(path, module, text))
    return found


def python_files(tree: Path) -> Iterator[str]:
    """Paths of the tree's own Python files, links and tests left out."""
    count = 0
    for file in sorted(tree.rglob("*.py")):
        path = file.relative_to(tree)
        hidden = any(part.startswith(".") or part in SKIPPED for part in path.parts[:-1])
        if hidden or file.is_symlink() or not file.is_file() or is_test(path.as_posix()):
            continue
        if not file.resolve().is_relative_to(tree.resolve()) or file.stat().st_size > MAX_BYTES:
            continue
        count += 1
        if count > MAX_FILES:
            return
        yield path.as_posix()


def _source(path: str, module: ast.Module, text: str) -> Source:
    found = tuple(Definition(path, name, node.lineno, signature(node)) for name, node in walk(module))
    uses = Counter(_WORD.findall(text))  # words, comments included: ten times quicker than names out of the syntax
    for one in found:
        uses[one.name.rpartition(".")[2]] -= 1  # where it is defined it is not used
    uses = Counter({name: count for name, count in uses.items() if count > 0})
    return Source(path, found, uses)


def signature(node: Node) -> str:
    """The first line of a definition, without its body."""
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"class {node.name}({bases})" if bases else f"class {node.name}"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"def {node.name}({ast.unparse(node.args)}){returns}"[:160]


def rank(files: list[Source], mentioned: Iterable[str], suspected: Mapping[str, float]) -> list[Definition]:
    """All definitions, the most relevant first. `suspected` is path → weight; empty means no file is preferred."""
    told = {name.lower() for name in mentioned}
    owners: dict[str, set[str]] = defaultdict(set)
    for file in files:
        for one in file.definitions:
            owners[one.name.rpartition(".")[2]].add(file.path)
    weights = {name: _weight(name, told, len(paths)) for name, paths in owners.items()}
    edges: dict[str, dict[str, float]] = {file.path: defaultdict(float) for file in files}
    shares: dict[tuple[str, str], float] = defaultdict(float)
    for file in files:
        for name, count in file.uses.items():
            for owner in owners.get(name, ()):
                edges[file.path][owner] += weights[name] * math.sqrt(count) * (0.1 if owner == file.path else 1.0)
    scores = page_rank(edges, suspected)
    for file in files:
        out = sum(edges[file.path].values()) or 1.0
        for name, count in file.uses.items():
            for owner in owners.get(name, ()):
                shares[owner, name] += scores[file.path] * weights[name] * math.sqrt(count) / out
    ranked = []
    for file in files:
        for one in file.definitions:
            name = one.name.rpartition(".")[2]
            own = 0.1 * scores[file.path] * weights[name]
            ranked.append(Definition(one.path, one.name, one.line, one.signature, shares[file.path, name] + own))
    return sorted(ranked, key=lambda one: (-one.score, one.path, one.line))


def _weight(name: str, mentioned: set[str], definers: int) -> float:
    weight = MENTIONED if name.lower() in mentioned else 1.0
    weight *= PRIVATE if name.startswith("_") else 1.0
    return weight * (COMMON if definers > DEFINED_WIDELY else 1.0)


def page_rank(edges: Mapping[str, Mapping[str, float]], preferred: Mapping[str, float]) -> dict[str, float]:
    """The share of a random walk that each node gets; it starts anew at `preferred`. Shares sum to 1."""
    nodes = list(edges)
    start = {node: max(preferred.get(node, 0.0), 0.0) for node in nodes}
    total = sum(start.values())
    start = {n: start[n] / total for n in nodes} if total > 0 else dict.fromkeys(nodes, 1.0 / max(1, len(nodes)))
    scores = dict(start)
    sums = {node: sum(edges[node].values()) for node in nodes}
    for _ in range(ROUNDS):
        idle = sum(scores[node] for node in nodes if sums[node] <= 0)
        fresh = {node: (1 - DAMPING + DAMPING * idle) * start[node] for node in nodes}
        for node in nodes:
            for target, weight in edges[node].items() if sums[node] > 0 else ():
                fresh[target] += DAMPING * scores[node] * weight / sums[node]
        scores = fresh
    return scores


def identifiers(text: str) -> set[str]:
    """Words of a text that can be names of code."""
    return set(re.findall(r"[A-Za-z_]\w{2,}", text))


def render(ranked: list[Definition], characters: int) -> str:
    """The best definitions that fit, grouped by file, in the order of their lines."""
    kept: dict[str, list[Definition]] = {}
    room = characters
    for one in ranked:
        cost = len(_line(one)) + 1 + (0 if one.path in kept else len(one.path) + 2)
        if cost > room:
            break
        room -= cost
        kept.setdefault(one.path, []).append(one)
    blocks = ["\n".join([f"{path}:", *(_line(d) for d in sorted(kept[path], key=lambda d: d.line))]) for path in kept]
    return "\n".join(blocks)


def _line(one: Definition) -> str:
    return f"{'  ' * (one.name.count('.') + 1)}{one.line}: {one.signature}"
