"""Slips seeded in sound code, made by rules of their own: they know nothing of the repair's templates.

Slips as people make them, on the syntax tree of the real function: each class is a function from a place to changed
texts. A class is drawn first, then one of its places, so that common syntax does not crowd out the rest. Pure.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Change = tuple[int, int, str]
"""First and last byte of what goes, and what comes there."""
Node = ast.stmt | ast.expr


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

    def span(self, node: Node) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None, "parsed nodes know their end"
        start = self.starts[node.lineno - 1] + node.col_offset
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset

    def of(self, node: Node) -> str:
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
"""Slips, each one or more changes."""


@dataclass(frozen=True)
class Place:
    """A node of the syntax tree, where a slip may happen."""

    source: Text
    node: Node
    function: ast.AST
    """The outermost function around it."""

    def of(self, node: Node) -> str:
        return self.source.of(node)

    def span(self, node: Node) -> tuple[int, int]:
        return self.source.span(node)

    def names(self) -> set[str]:
        """What the function stores."""
        return {n.id for n in ast.walk(self.function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def mutants(text: str, within: Callable[[int], bool], rng: random.Random, count: int) -> list[Mutant]:
    """Up to `count` mutants of lines for which `within` is true, of all classes in turn."""
    source, tree = Text(text), ast.parse(text)
    by_class: dict[str, list[list[Change]]] = {}
    for function in _functions(tree):
        for node in ast.walk(function):
            if isinstance(node, ast.stmt | ast.expr) and within(node.lineno):
                for kind, rule in RULES.items():
                    by_class.setdefault(kind, []).extend(rule(Place(source, node, function)))
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


def operator(place: Place) -> Found:
    """Another operator."""
    node = place.node
    if isinstance(node, ast.Compare):
        yield from _operator(place, node.left, node.ops[0], node.comparators[0])
    if isinstance(node, ast.BoolOp):
        yield from _operator(place, node.values[0], node.op, node.values[1])
    if isinstance(node, ast.BinOp):
        yield from _operator(place, node.left, node.op, node.right)
    if isinstance(node, ast.AugAssign):
        yield from _operator(place, node.target, node.op, node.value)


def _operator(place: Place, left: ast.expr, mark: ast.AST, right: ast.expr) -> Found:
    start, end = place.span(left)[1], place.span(right)[0]
    name = type(mark).__name__
    gap = place.source.data[start:end].decode()
    if MARKS.get(name) and gap.count(MARKS[name]) == 1:
        at = start + len(gap[: gap.index(MARKS[name])].encode())
        for new in SLIPS[name]:
            yield [(at, at + len(MARKS[name]), new)]


def literal(place: Place) -> Found:
    """A number, flag or text that is a little off."""
    node = place.node
    if not isinstance(node, ast.Constant) or place.of(node)[:3] in ('"""', "'''") or place.of(node)[:1] in "rRbBfF":
        return
    value = node.value
    if isinstance(value, bool):
        yield [(*place.span(node), str(not value))]
    elif isinstance(value, int):
        for number in (value + 1, value - 1, value * 10 + value % 10):
            yield [(*place.span(node), repr(number))]
    elif isinstance(value, str) and value:
        for text in (value[:-1], value[1:] + value[0], value + value[-1]):
            yield [(*place.span(node), repr(text))]


def name(place: Place) -> Found:
    """Another variable of the function."""
    node = place.node
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        stored = place.names() | {n.arg for n in ast.walk(place.function) if isinstance(n, ast.arg)}
        if node.id in stored:
            for other in sorted(stored - {node.id}):
                yield [(*place.span(node), other)]


def negation(place: Place) -> Found:
    """A condition or sign turned over."""
    node = place.node
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield [(*place.span(node), place.of(node.operand))]
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        yield [(*place.span(node.test), f"not ({place.of(node.test)})")]


def call(place: Place) -> Found:
    """Arguments in the wrong order, one forgotten, or no call at all."""
    node = place.node
    if not isinstance(node, ast.Call):
        return
    plain = [one for one in node.args if not isinstance(one, ast.Starred | ast.GeneratorExp)]
    if len(plain) >= 2:
        one, other = plain[0], plain[1]
        yield [(*place.span(one), place.of(other)), (*place.span(other), place.of(one))]
    if len(plain) == len(node.args) >= 2 and not node.keywords:
        start, end = place.span(node.args[-2])[1], place.span(node.args[-1])[1]
        yield [(start, end, "")]
    if len(node.args) == 1 and not node.keywords and plain and isinstance(node.func, ast.Name):
        yield [(*place.span(node), place.of(node.args[0]))]
    if isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Constant):
        yield [(*place.span(node), place.of(node.func.value))]


def subscript(place: Place) -> Found:
    """An index or a bound of a slice that is one off."""
    node = place.node
    if not isinstance(node, ast.Subscript) or isinstance(node.ctx, ast.Store):
        return
    if isinstance(node.slice, ast.Slice):
        for bound in (node.slice.lower, node.slice.upper):
            if bound is not None:
                yield [(*place.span(bound), "")]
                yield [(*place.span(bound), f"{place.of(bound)}+1")]
                yield [(*place.span(bound), f"{place.of(bound)}-1")]
    elif not isinstance(node.slice, ast.Tuple | ast.Constant):
        yield [(*place.span(node.slice), f"{place.of(node.slice)}-1")]
    elif isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
        yield [(*place.span(node.slice), str(node.slice.value + 1))]


def bound(place: Place) -> Found:
    """A count or limit that is one off where it is computed, not where a number stands."""
    node = place.node
    spots: list[ast.expr] = []
    if isinstance(node, ast.Compare):
        spots += [node.comparators[0]]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("range", "min", "max"):
        spots += node.args[-1:]
    for spot in spots:
        if isinstance(spot, ast.Name | ast.Call | ast.Attribute):
            yield [(*place.span(spot), f"{place.of(spot)} - 1")]
            yield [(*place.span(spot), f"{place.of(spot)} + 1")]


def dropped(place: Place) -> Found:
    """Half of an expression forgotten."""
    node = place.node
    if isinstance(node, ast.BoolOp):
        for one in node.values[:2]:
            yield [(*place.span(node), place.of(one))]
    if isinstance(node, ast.BinOp) and not isinstance(node.left, ast.Constant):
        yield [(*place.span(node), place.of(node.left))]
    if isinstance(node, ast.IfExp):
        yield [(*place.span(node), place.of(node.body))]


def statement(place: Place) -> Found:
    """A statement forgotten, or in the wrong place."""
    node = place.node
    body = getattr(node, "body", None)
    if isinstance(node, ast.expr) or not isinstance(body, list):
        return
    for one, other in zip(body, [*body[1:], None], strict=True):
        if isinstance(one, ast.Assign | ast.AugAssign | ast.Expr) and not isinstance(
            getattr(one, "value", None), ast.Constant
        ):
            yield [(*place.span(one), "pass")]
            if other is not None and isinstance(other, ast.Assign | ast.AugAssign | ast.Expr):
                yield [(*place.span(one), place.of(other)), (*place.span(other), place.of(one))]


def flow(place: Place) -> Found:
    """The wrong way out of a loop or function."""
    node = place.node
    if isinstance(node, ast.Break):
        yield [(*place.span(node), "continue")]
    if isinstance(node, ast.Continue):
        yield [(*place.span(node), "break")]
        yield [(*place.span(node), "pass")]
    if isinstance(node, ast.Return) and node.value is not None:
        for other in ["None", *sorted(place.names())][:4]:
            if other != place.of(node.value):
                yield [(*place.span(node.value), other)]


def method(place: Place) -> Found:
    """A like-named method of strings or lists."""
    node = place.node
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
        end = place.span(node)[1]
        for family in (pair.split() for pair in pairs):
            for other in family:
                if node.attr in family and other != node.attr:
                    yield [(end - len(node.attr), end, other)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        swap = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "int": "round"}
        if node.func.id in swap:
            yield [(*place.span(node.func), swap[node.func.id])]


RULES: dict[str, Callable[[Place], Found]] = {
    rule.__name__: rule
    for rule in (operator, literal, name, negation, call, subscript, bound, dropped, statement, flow, method)
}
