"""What was left out, put back from what stands elsewhere in the same file: much of what a fix needs is there already.

"The plastic surgery hypothesis" (Barr et al., FSE 2014): large parts of real changes can be assembled from the code
that is there. Whatever is borrowed may use only names that have a value where it is put.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from appliance.repair.source import Function, FunctionNode, Source
from appliance.repair.templates.place import Change, Place, bracketed

MOST = 24
"""Pieces borrowed for one spot; those of the same function come first."""
LONGEST = 80
OPERATORS = ("+", "-", "*")
GRASPED = ast.Name | ast.Attribute | ast.Subscript | ast.Call


@dataclass(frozen=True)
class Piece:
    """An expression of the file that could be used again. `use` is what it is good for."""

    use: str
    base: str
    """For an access: the text of what something is done with."""
    text: str
    names: frozenset[str]
    line: int


@functools.lru_cache(maxsize=16)
def pieces(source: Source) -> tuple[Piece, ...]:
    """Everything of a file that can be borrowed, in the order of the text."""
    found: dict[tuple[str, str, str], Piece] = {}

    def keep(use: str, node: ast.expr, base: str = "") -> None:
        text = source.of(node)
        if len(text) <= LONGEST and "\n" not in text:
            names = frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
            found.setdefault((use, base, text), Piece(use, base, text, names, node.lineno))

    for node in ast.walk(source.tree):
        if isinstance(node, ast.stmt):
            spot = spot_of(node)
            if spot is not None and not isinstance(spot, ast.Constant | ast.Name):  # other templates have these
                keep(type(node).__name__, spot)
        inner = node.func if isinstance(node, ast.Call) else node
        if isinstance(inner, ast.Attribute | ast.Subscript) and isinstance(inner.ctx, ast.Load):
            assert isinstance(node, ast.expr)
            keep("access", node, source.of(inner.value))
        if isinstance(node, ast.BinOp):
            for side in (node.left, node.right):
                if isinstance(side, GRASPED):
                    keep("operand", side)
        if isinstance(node, ast.Compare):
            keep("condition", node)
    return tuple(sorted(found.values(), key=lambda piece: piece.line))


def spot_of(statement: ast.stmt) -> ast.expr | None:
    """The value or condition of a simple statement."""
    if isinstance(statement, ast.Return | ast.Assign | ast.AugAssign):
        return statement.value
    return statement.test if isinstance(statement, ast.If | ast.While) else None


def borrowed(place: Place, uses: Iterable[str], base: str = "", *, near: bool = False) -> list[str]:
    """Texts for this place: of its own function first, then (unless only `near` ones are wanted) of the whole file."""
    wanted = frozenset(uses)
    found = [
        one for one in pieces(place.source) if one.use in wanted and one.base == base and one.names <= place.visible
    ]
    inside = [one.text for one in found if _within(one, place.function)]
    outside = [] if near else [one.text for one in found if not _within(one, place.function)]
    return list(dict.fromkeys([*inside, *outside]))[:MOST]


def _within(piece: Piece, function: Function) -> bool:
    return function.first <= piece.line <= function.last


def accesses(place: Place) -> Iterator[Change]:
    """`x.width`, `x.strip()` or `x[0]` for a bare `x`, where the file has these; a method of its own for `self`."""
    for node in place.expressions:
        if isinstance(node, ast.Name | ast.Attribute) and not _grasped(place, node):
            text = place.text(node)
            for new in (*borrowed(place, ("access",), text), *(_own_methods(place) if text == "self" else ())):
                yield place.swap("added access", node, new)


def _grasped(place: Place, node: ast.expr) -> bool:
    """Is something done with it already?"""
    parent = place.source.parent(node)
    if isinstance(parent, ast.Attribute) or (isinstance(parent, ast.Call) and parent.func is node):
        return True
    return isinstance(parent, ast.Subscript) and parent.value is node


def _own_methods(place: Place) -> list[str]:
    """Methods of the class that need no argument."""
    owner = next((one for one in place.source.above(place.statement) if isinstance(one, ast.ClassDef)), None)
    return [
        f"self.{method.name}()"
        for method in (owner.body if owner else ())
        if isinstance(method, FunctionNode)
        and not method.decorator_list
        and len(method.args.args) - len(method.args.defaults) == 1
    ]


def calls(place: Place) -> Iterator[Change]:
    """A statement that is a mere name does nothing: it was meant to be a call."""
    statement = place.statement
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Name | ast.Attribute):
        text = place.text(statement)
        for argument in ("", *place.assigned_before):
            yield place.swap("added call", statement, f"{text}({argument})")


def expressions(place: Place) -> Iterator[Change]:
    """Another whole value or condition: one of such a statement elsewhere."""
    spot = spot_of(place.statement)
    if spot is not None:
        for text in borrowed(place, (type(place.statement).__name__,)):
            yield place.swap("borrowed expression", spot, text)


def operands(place: Place) -> Iterator[Change]:
    """An operand more: `x + y` for `x`, with what the function computes with elsewhere."""
    others = [*borrowed(place, ("operand",), near=True), *place.assigned_before]
    for node in place.expressions:
        if not isinstance(node, GRASPED | ast.BinOp) or _grasped(place, node):
            continue
        text = place.text(node)
        for other in list(dict.fromkeys(others))[:12]:
            if other != text:
                for operator in OPERATORS:
                    yield place.swap("added operand", node, f"{bracketed(text, node)} {operator} {other}")


def conditions(place: Place) -> Iterator[Change]:
    """A condition more: one that stands elsewhere in the function."""
    test = getattr(place.statement, "test", None)
    if not isinstance(test, ast.expr):
        return
    text = place.text(test) if isinstance(test, ast.Compare) else bracketed(place.text(test), test)
    for other in borrowed(place, ("condition",), near=True)[:10]:
        if other not in text:
            for new in (f"{text} and {other}", f"{text} or {other}", f"{other} and {text}"):
                yield place.swap("borrowed condition", test, new)
