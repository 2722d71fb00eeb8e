"""Where the fault may be: Ochiai over coverage, the traceback, the report's words, likeness of report and code.

Ochiai (Abreu, Zoeteweij, van Gemund 2006): ``ef / sqrt(nf * (ef + ep))`` with ef, ep the failing and passing tests that
run a line and nf all failing tests.
"""

from __future__ import annotations

import ast
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from appliance import ports
from appliance.repair.problem import Problem, sources
from appliance.repair.runners import Runner, limits_for
from appliance.repair.source import Function, Source
from appliance.repair.spectrum import Line, Spectrum, gather
from appliance.work import Suspect

AT_IMPORT = 0.8
"""Share of a reader's suspicion that the definition of what it reads gets (constants, defaults, class attributes)."""

SUSPECTS = 50

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,}")
_PLACE = re.compile(r"^([\w./-]+\.py):(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Suspicion:
    """What speaks against one statement, each 0..1."""

    ochiai: float
    trace: float = 0.0
    words: float = 0.0
    similar: float = 0.0

    @property
    def score(self) -> float:
        return self.ochiai * (1.0 + 0.4 * self.trace + 0.3 * self.words + 0.3 * self.similar) / 2.0


@dataclass(frozen=True)
class Fault:
    """Suspicion by file and line of a statement's start."""

    spectrum: Spectrum
    sources: Mapping[str, Source]
    lines: Mapping[Line, Suspicion]


def localise(
    problem: Problem, sandbox: ports.Sandbox, limits: ports.Limits, python: str, progress: ports.Progress
) -> tuple[Suspect, ...]:
    """The most suspicious statements, worst first.

    Raises:
        UsageError: no test is named that must pass.
        LimitExceeded: the tests cannot be collected in time.
        Unavailable: the sandbox or its runner did not work.
    """
    processes = os.cpu_count() or 1
    with Runner(sandbox, problem.tree, limits_for(limits, 300.0), python, hot=True, processes=processes) as runner:
        return suspects(locate(problem, gather(problem, runner, say=progress)))


def locate(problem: Problem, spectrum: Spectrum) -> Fault:
    """Weigh every statement that failing tests run, and the definitions these read."""
    parsed = sources(problem)
    ochiai = _ochiai(spectrum)
    traced = _traced(spectrum)
    told = _told(problem)
    lines: dict[Line, Suspicion] = {}
    for path, source in parsed.items():
        statements = _statements(source, path, ochiai)
        for line, value in statements.items():
            function = source.function_at(line)
            lines[path, line] = Suspicion(
                ochiai=value,
                trace=traced.get((path, line), 0.0),
                words=told.get(function.name.rpartition(".")[2].lower(), 0.0),
                similar=_similarity(problem, path, function),
            )
    lines |= _read_at_import(parsed, lines)
    lines |= _broken_imports(spectrum, parsed, lines)
    return Fault(spectrum, parsed, lines)


def suspects(fault: Fault) -> tuple[Suspect, ...]:
    """As the plan shows them."""
    ranked = sorted(fault.lines.items(), key=lambda entry: (-entry[1].score, entry[0]))[:SUSPECTS]
    return tuple(
        Suspect(
            path=path,
            line=line,
            function=fault.sources[path].function_at(line).name,
            score=min(1.0, s.score),
            why=_why(s),
        )
        for (path, line), s in ranked
    )


def _why(suspicion: Suspicion) -> str:
    parts = [f"run by the failing tests more than by others (Ochiai {suspicion.ochiai:.2f})"]
    if suspicion.trace:
        parts.append("on the traceback")
    if suspicion.words:
        parts.append("the report names its function")
    if suspicion.similar:
        parts.append(f"like the report's words ({suspicion.similar:.2f})")
    return "; ".join(parts)


def _ochiai(spectrum: Spectrum) -> dict[Line, float]:
    failing: dict[Line, int] = {}
    passing: dict[Line, int] = {}
    for lines in spectrum.failing.values():
        for line in lines:
            failing[line] = failing.get(line, 0) + 1
    for lines in spectrum.passing.values():
        for line in lines:
            passing[line] = passing.get(line, 0) + 1
    total = len(spectrum.failing)
    return {line: count / math.sqrt(total * (count + passing.get(line, 0))) for line, count in failing.items()}


def _traced(spectrum: Spectrum) -> dict[Line, float]:
    """1 for the innermost step of a traceback, less for each step out."""
    found: dict[Line, float] = {}
    for steps in spectrum.steps.values():
        for depth, step in enumerate(reversed(steps)):
            found[step] = max(found.get(step, 0.0), 0.7**depth)
    return found


def _told(problem: Problem) -> dict[str, float]:
    """Words of the report, and with less weight those of the failing tests' names."""
    words = {
        word.lower(): 0.5 for test in problem.acceptance for word in re.split(r"[^A-Za-z0-9]+", test) if len(word) > 2
    }
    words |= {word.lower(): 1.0 for word in _WORD.findall(problem.report)}
    return words


def _similarity(problem: Problem, path: str, function: Function) -> float:
    return problem.similarity.get(f"{path}::{function.name}", problem.similarity.get(path, 0.0))


def _statements(source: Source, path: str, ochiai: Mapping[Line, float]) -> dict[int, float]:
    """Suspicion of each statement by its first line: the most of any of its own lines (not its body's)."""
    found: dict[int, float] = {}
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.stmt) or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        last = header_end(node)
        value = max((ochiai.get((path, line), 0.0) for line in range(node.lineno, last + 1)), default=0.0)
        if value:
            found[node.lineno] = max(found.get(node.lineno, 0.0), value)
    return found


def header_end(node: ast.stmt) -> int:
    """The last line of a statement without the statements inside it."""
    body = getattr(node, "body", None)
    if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
        return max(node.lineno, body[0].lineno - 1)
    return node.end_lineno or node.lineno


def _read_at_import(parsed: Mapping[str, Source], lines: Mapping[Line, Suspicion]) -> dict[Line, Suspicion]:
    """Definitions that run at import get a share of the suspicion of what reads them."""
    found: dict[Line, Suspicion] = {}
    for path, source in parsed.items():
        for function in source.functions:
            inside = [s for (p, n), s in lines.items() if p == path and function.first <= n <= function.last]
            best = max(inside, key=lambda s: s.ochiai, default=None)
            if best and not isinstance(function.node, ast.Module):  # its defaults and decorators
                found[path, function.node.lineno] = _less(best)
    readers = _readers(parsed, {**lines, **found})
    for _ in range(2):  # a constant may be built from another
        for path, source in parsed.items():
            for names, statement in definitions(source):
                read = [readers[path, name] for name in names if (path, name) in readers]
                best = max(read, key=lambda s: s.ochiai, default=None)
                if best and (path, statement.lineno) not in found and (path, statement.lineno) not in lines:
                    found[path, statement.lineno] = _less(best)
                    for inner in ast.walk(statement):
                        if isinstance(inner, ast.Name):
                            readers.setdefault((path, inner.id), _less(best))
    return found


def _readers(parsed: Mapping[str, Source], lines: Mapping[Line, Suspicion]) -> dict[tuple[str, str], Suspicion]:
    """For each name of each file, the worst suspicion of a statement that reads it: in that file, or in one that
    imports something of its name."""
    readers: dict[tuple[str, str], Suspicion] = {}
    imported = {path: _imported(source) for path, source in parsed.items()}
    for path, source in parsed.items():
        known = [path, *(other for other in parsed if other != path and _module(other) in imported[path])]
        for node in ast.walk(source.tree):
            name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
            statement = source.statement(node) if name else None
            suspicion = lines.get((path, statement.lineno)) if statement else None
            for home in known if suspicion else ():
                if suspicion and suspicion.ochiai > readers.get((home, name), Suspicion(0.0)).ochiai:
                    readers[home, name] = suspicion
    return readers


def _module(path: str) -> str:
    """The last part of the name that a file is imported by."""
    pure = PurePosixPath(path)
    return pure.parent.name if pure.name == "__init__.py" else pure.stem


def _imported(source: Source) -> frozenset[str]:
    """Every part of what a file imports: `a.b` and `c` of `from a.b import c`."""
    found: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom):
            found.update((node.module or "").split("."))
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update(part for alias in node.names for part in alias.name.split("."))
    return frozenset(found)


def _less(suspicion: Suspicion) -> Suspicion:
    return Suspicion(suspicion.ochiai * AT_IMPORT, 0.0, suspicion.words, suspicion.similar)


def definitions(source: Source) -> list[tuple[list[str], ast.stmt]]:
    """Assignments that run at import, in the module or in classes, with the names they bind."""
    found: list[tuple[list[str], ast.stmt]] = []

    def visit(body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.If | ast.Try | ast.For | ast.With):
                visit(node.body)
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
                found.append((names, node))

    visit(source.tree.body)
    return found


def _broken_imports(
    spectrum: Spectrum, parsed: Mapping[str, Source], lines: Mapping[Line, Suspicion]
) -> dict[Line, Suspicion]:
    """When a test file cannot be imported there is no coverage, but pytest says where it broke."""
    if lines or not spectrum.unseen:
        return {}
    found: dict[Line, Suspicion] = {}
    for text in spectrum.errors.values():
        for depth, match in enumerate(reversed(list(_PLACE.finditer(text)))):
            path, number = match[1], int(match[2])
            if path in parsed:
                found.setdefault((path, number), Suspicion(0.9**depth, trace=0.7**depth))
    return found
