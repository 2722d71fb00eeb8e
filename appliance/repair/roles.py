"""What a file's names are used for: a name in a role that it plays elsewhere in the file is at home there.

A variable that is an index here is seldom a text there; one that is the second argument of a function, the left side of
a division or the key of a table tends to be so again.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import NamedTuple

from appliance.repair.edits import Edit
from appliance.repair.source import Source

DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
LONGEST = 60
COMPARES = {
    ast.Lt: "order", ast.LtE: "order", ast.Gt: "order", ast.GtE: "order", ast.Eq: "equal", ast.NotEq: "equal",
    ast.In: "in", ast.NotIn: "in", ast.Is: "is", ast.IsNot: "is",
}  # fmt: skip


class Role(NamedTuple):
    """What is done with an expression: the kind of it, and all that is known."""

    kind: str
    exact: str = ""


class Roles:
    """The roles of every name and attribute of a file."""

    def __init__(self, source: Source) -> None:
        self._exact: Counter[tuple[str, Role]] = Counter()
        self._kind: Counter[tuple[str, str]] = Counter()
        self._spots: dict[tuple[int, int], tuple[str, Role]] = {}
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Name | ast.Attribute):
                name = source.of(node)
                if len(name) <= LONGEST:
                    role = role_of(source, node)
                    self._exact[name, role] += 1
                    self._kind[name, role.kind] += 1
                    self._spots[source.span(node)] = name, role

    def compared(self, edit: Edit) -> tuple[float, float]:
        """For an edit that puts one name in another's place: is the new one known in this role (exactly, by kind), and
        the old one not? 1 speaks for the edit, -1 against it, 0 says nothing."""
        if len(edit.spans) != 1:
            return 0.0, 0.0
        start, end, new = edit.spans[0]
        if (start, end) not in self._spots or not DOTTED.fullmatch(new):
            return 0.0, 0.0
        old, role = self._spots[start, end]
        exact = (self._exact[new, role] > 0) - (self._exact[old, role] > 1)
        return float(exact), float((self._kind[new, role.kind] > 0) - (self._kind[old, role.kind] > 1))


def role_of(source: Source, node: ast.expr) -> Role:
    """What is done with a name or an attribute."""
    above = source.parent(node)
    if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
        return Role("set")
    match above:
        case ast.Call(func=func) if func is node:
            return Role("called")
        case ast.Call():
            place = above.args.index(node) if node in above.args else -1
            return Role("argument", f"{source.of(above.func).rpartition('.')[2]} {place}")
        case ast.keyword():
            return Role("argument", above.arg or "**")
        case ast.Attribute():
            return Role("owner", above.attr)
        case ast.Subscript(value=value) if value is node:
            return Role("base")
        case ast.Subscript():
            return Role("key", source.of(above.value)[:LONGEST])
        case ast.Slice():
            return Role("key", "lower" if above.lower is node else "upper")
        case ast.BinOp():
            return Role("operand", f"{type(above.op).__name__} {above.left is node}")
        case ast.AugAssign():
            return Role("operand", f"={type(above.op).__name__}")
        case ast.Compare():
            return Role(COMPARES[type(above.ops[0])], str(above.left is node))
        case ast.BoolOp() | ast.UnaryOp() | ast.If() | ast.While() | ast.IfExp() if _asked(above, node):
            return Role("truth")
        case ast.Assign():
            return Role("value", source.of(above.targets[0])[:LONGEST])
        case ast.For() | ast.comprehension():
            return Role("iterated")
    return Role(type(above).__name__)


def _asked(above: ast.AST, node: ast.expr) -> bool:
    """Whether only the truth of the expression counts."""
    return isinstance(above, ast.BoolOp | ast.UnaryOp) or getattr(above, "test", None) is node
