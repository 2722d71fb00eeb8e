"""Seeded bugs for the repair benchmark, made by rules of its own: it knows nothing of the repair's templates.

Slips as people make them, on the syntax tree of the real function: each class is a function from a node to changed
texts. A class is drawn first, then one of its places, so that common syntax does not crowd out the rest.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Change = tuple[int, int, str]


@dataclass(frozen=True)
class Mutant:
    """A module's text with one slip in it."""

    kind: str
    line: int
    before: str
    after: str
    text: str


class Text:
    """A source with a way from the tree's positions to characters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.data = text.encode()
        self.starts = [0]
        for line in self.data.split(b"\n"):
            self.starts.append(self.starts[-1] + len(line) + 1)

    def span(self, node: ast.AST) -> tuple[int, int]:
        start = self.starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def of(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.data[start:end].decode()

    def replaced(self, changes: Sequence[Change]) -> str:
        data = self.data
        for start, end, new in sorted(changes, reverse=True):
            data = data[:start] + new.encode() + data[end:]
        return data.decode()


SLIPS = {
    "Lt": ["<=", ">", ">="],
    "LtE": ["<", ">=", "=="],
    "Gt": [">=", "<", "<="],
    "GtE": [">", "<=", "=="],
    "Eq": ["!=", ">=", "<="],
    "NotEq": ["==", ">", "<"],
    "Is": ["is not"],
    "IsNot": ["is"],
    "In": ["not in"],
    "NotIn": ["in"],
    "Add": ["-", "*"],
    "Sub": ["+", "//"],
    "Mult": ["+", "//", "**"],
    "Div": ["//", "*"],
    "FloorDiv": ["/", "%"],
    "Mod": ["//", "*"],
    "Pow": ["*"],
    "BitAnd": ["|"],
    "BitOr": ["&", "^"],
    "LShift": [">>"],
    "RShift": ["<<"],
    "And": ["or"],
    "Or": ["and"],
}

MARKS = {
    "Lt": "<",
    "LtE": "<=",
    "Gt": ">",
    "GtE": ">=",
    "Eq": "==",
    "NotEq": "!=",
    "Is": "is",
    "IsNot": "is not",
    "In": "in",
    "NotIn": "not in",
    "Add": "+",
    "Sub": "-",
    "Mult": "*",
    "Div": "/",
    "FloorDiv": "//",
    "Mod": "%",
    "Pow": "**",
    "BitAnd": "&",
    "BitOr": "|",
    "LShift": "<<",
    "RShift": ">>",
    "And": "and",
    "Or": "or",
}

Found = Iterator[list[Change]]


def mutants(text: str, within: Callable[[int], bool], rng: random.Random, count: int) -> list[Mutant]:
    """Up to `count` mutants of lines for which `within` is true, of all classes in turn."""
    source, tree = Text(text), ast.parse(text)
    by_class: dict[str, list[list[Change]]] = {}
    for function in _functions(tree):
        for node in ast.walk(function):
            if isinstance(node, ast.stmt | ast.expr) and within(node.lineno):
                for kind, rule in RULES.items():
                    by_class.setdefault(kind, []).extend(rule(source, node, function))
    made: list[Mutant] = []
    pools = {kind: rng.sample(found, len(found)) for kind, found in by_class.items() if found}
    while pools and len(made) < count:
        kind = rng.choice(sorted(pools))
        changes = pools[kind].pop()
        if not pools[kind]:
            del pools[kind]
        new = source.replaced(changes)
        if _differs(text, new):
            line = source.data.count(b"\n", 0, min(change[0] for change in changes)) + 1
            made.append(Mutant(kind, line, text.split("\n")[line - 1].strip(), new.split("\n")[line - 1].strip(), new))
    return made


def _functions(tree: ast.Module) -> list[ast.AST]:
    inner: set[ast.AST] = set()
    found: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node not in inner:
            found.append(node)
            inner.update(ast.walk(node))
    return found


def _differs(old: str, new: str) -> bool:
    try:
        return ast.dump(ast.parse(old)) != ast.dump(ast.parse(new))
    except SyntaxError:
        return False


def operator(source: Text, node: ast.AST, function: ast.AST) -> Found:
    if isinstance(node, ast.Compare):
        yield from _operator(source, node.left, node.ops[0], node.comparators[0])
    if isinstance(node, ast.BoolOp):
        yield from _operator(source, node.values[0], node.op, node.values[1])
    if isinstance(node, ast.BinOp):
        yield from _operator(source, node.left, node.op, node.right)
    if isinstance(node, ast.AugAssign):
        yield from _operator(source, node.target, node.op, node.value)


def _operator(source: Text, left: ast.AST, mark: ast.AST, right: ast.AST) -> Found:
    start, end = source.span(left)[1], source.span(right)[0]
    name = type(mark).__name__
    gap = source.data[start:end].decode()
    if MARKS.get(name) and gap.count(MARKS[name]) == 1:
        at = start + len(gap[: gap.index(MARKS[name])].encode())
        for new in SLIPS[name]:
            yield [(at, at + len(MARKS[name]), new)]


def literal(source: Text, node: ast.AST, function: ast.AST) -> Found:
    if not isinstance(node, ast.Constant) or source.of(node)[:3] in ('"""', "'''") or source.of(node)[:1] in "rRbBfF":
        return
    value = node.value
    if isinstance(value, bool):
        yield [(*source.span(node), str(not value))]
    elif isinstance(value, int):
        for new in (value + 1, value - 1, value * 10 + value % 10):
            yield [(*source.span(node), repr(new))]
    elif isinstance(value, str) and value:
        for new in (value[:-1], value[1:] + value[0], value + value[-1]):
            yield [(*source.span(node), repr(new))]


def name(source: Text, node: ast.AST, function: ast.AST) -> Found:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        stored |= {n.arg for n in ast.walk(function) if isinstance(n, ast.arg)}
        if node.id in stored:
            for other in sorted(stored - {node.id}):
                yield [(*source.span(node), other)]


def negation(source: Text, node: ast.AST, function: ast.AST) -> Found:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield [(*source.span(node), source.of(node.operand))]
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        yield [(*source.span(node.test), f"not ({source.of(node.test)})")]


def call(source: Text, node: ast.AST, function: ast.AST) -> Found:
    if not isinstance(node, ast.Call):
        return
    plain = [one for one in node.args if not isinstance(one, ast.Starred | ast.GeneratorExp)]
    if len(plain) >= 2:
        one, other = plain[0], plain[1]
        yield [(*source.span(one), source.of(other)), (*source.span(other), source.of(one))]
    if len(plain) == len(node.args) >= 2 and not node.keywords:
        start, end = source.span(node.args[-2])[1], source.span(node.args[-1])[1]
        yield [(start, end, "")]
    if len(node.args) == 1 and not node.keywords and plain and isinstance(node.func, ast.Name):
        yield [(*source.span(node), source.of(node.args[0]))]
    if isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Constant):
        yield [(*source.span(node), source.of(node.func.value))]


def subscript(source: Text, node: ast.AST, function: ast.AST) -> Found:
    if not isinstance(node, ast.Subscript) or isinstance(node.ctx, ast.Store):
        return
    if isinstance(node.slice, ast.Slice):
        for bound in (node.slice.lower, node.slice.upper):
            if bound is not None:
                yield [(*source.span(bound), "")]
                yield [(*source.span(bound), f"{source.of(bound)}+1")]
                yield [(*source.span(bound), f"{source.of(bound)}-1")]
    elif not isinstance(node.slice, ast.Tuple | ast.Constant):
        yield [(*source.span(node.slice), f"{source.of(node.slice)}-1")]
    elif isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
        yield [(*source.span(node.slice), str(node.slice.value + 1))]


def bound(source: Text, node: ast.AST, function: ast.AST) -> Found:
    """A count or limit that is one off where it is computed, not where a number stands."""
    spots: list[ast.expr] = []
    if isinstance(node, ast.Compare):
        spots += [node.comparators[0]]
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("range", "len", "min", "max")
    ):
        spots += node.args[-1:]
    for spot in spots:
        if isinstance(spot, ast.Name | ast.Call | ast.Attribute) and not (
            isinstance(node, ast.Call) and node.func.id == "len"
        ):  # type: ignore[attr-defined]
            yield [(*source.span(spot), f"{source.of(spot)} - 1")]
            yield [(*source.span(spot), f"{source.of(spot)} + 1")]


def dropped(source: Text, node: ast.AST, function: ast.AST) -> Found:
    """Half of an expression forgotten."""
    if isinstance(node, ast.BoolOp):
        for one in node.values[:2]:
            yield [(*source.span(node), source.of(one))]
    if isinstance(node, ast.BinOp) and not isinstance(node.left, ast.Constant):
        yield [(*source.span(node), source.of(node.left))]
    if isinstance(node, ast.IfExp):
        yield [(*source.span(node), source.of(node.body))]


def statement(source: Text, node: ast.AST, function: ast.AST) -> Found:
    """A statement forgotten, or in the wrong place."""
    body = getattr(node, "body", None)
    if isinstance(node, ast.expr) or not isinstance(body, list):
        return
    for one, other in zip(body, [*body[1:], None], strict=True):
        if isinstance(one, ast.Assign | ast.AugAssign | ast.Expr) and not isinstance(
            getattr(one, "value", None), ast.Constant
        ):
            yield [(*source.span(one), "pass")]
            if other is not None and isinstance(other, ast.Assign | ast.AugAssign | ast.Expr):
                yield [(*source.span(one), source.of(other)), (*source.span(other), source.of(one))]


def flow(source: Text, node: ast.AST, function: ast.AST) -> Found:
    if isinstance(node, ast.Break):
        yield [(*source.span(node), "continue")]
    if isinstance(node, ast.Continue):
        yield [(*source.span(node), "break")]
        yield [(*source.span(node), "pass")]
    if isinstance(node, ast.Return) and node.value is not None:
        names = sorted({n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)})
        for other in ["None", *names][:4]:
            if other != source.of(node.value):
                yield [(*source.span(node.value), other)]


def method(source: Text, node: ast.AST, function: ast.AST) -> Found:
    """A like-named method of strings or lists."""
    pairs = (
        "lstrip rstrip strip",
        "lower upper",
        "find rfind index",
        "split rsplit",
        "startswith endswith",
        "append extend",
        "keys values items",
        "partition rpartition",
        "ljust rjust center",
        "isalnum isalpha isdigit",
    )
    if isinstance(node, ast.Attribute):
        end = source.span(node)[1]
        for family in (pair.split() for pair in pairs):
            for other in family:
                if node.attr in family and other != node.attr:
                    yield [(end - len(node.attr), end, other)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        swap = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "int": "round"}
        if node.func.id in swap:
            yield [(*source.span(node.func), swap[node.func.id])]


RULES: dict[str, Callable[[Text, ast.AST, ast.AST], Found]] = {
    rule.__name__: rule
    for rule in (operator, literal, name, negation, call, subscript, bound, dropped, statement, flow, method)
}
