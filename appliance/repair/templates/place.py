"""One suspicious statement as the templates see it: its own nodes, and the names that could stand in them."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from appliance.repair.edits import Span
from appliance.repair.source import Function, FunctionNode, Source


class Change(NamedTuple):
    """What a template proposes: its name and the spans to replace."""

    template: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Place:
    """A statement of a file. `nodes` are those of its header: not the statements inside it."""

    source: Source
    statement: ast.stmt
    function: Function

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the statement itself, outermost first."""
        found: list[ast.AST] = []
        waiting: list[ast.AST] = [self.statement]
        while waiting:
            node = waiting.pop(0)
            found.append(node)
            if isinstance(node, ast.JoinedStr):
                continue  # positions inside f-strings are not reliable before Python 3.12
            waiting += [child for child in ast.iter_child_nodes(node) if _own(child, node)]
        return tuple(found)

    @cached_property
    def expressions(self) -> tuple[ast.expr, ...]:
        """Expressions of the header that are read."""
        return tuple(
            node
            for node in self.nodes
            if isinstance(node, ast.expr) and not isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Variables in scope: parameters, local names, and the module's own constants; nearest first."""
        node = self.function.node
        if isinstance(node, ast.Module):
            return self.globals
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments += [one for one in (node.args.vararg, node.args.kwarg) if one]
        parameters = [one.arg for one in arguments]
        local = [
            inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
        ]
        outer = [
            name
            for above in self.source.above(node)
            if isinstance(above, FunctionNode)
            for name in [one.arg for one in above.args.args]
        ]
        return tuple(dict.fromkeys(name for name in (*parameters, *local, *outer) if name not in ("self", "cls", "_")))

    @cached_property
    def globals(self) -> tuple[str, ...]:
        """Names that the module assigns."""
        found = [
            target.id
            for node in self.source.tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        ]
        return tuple(dict.fromkeys(found))

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """Attributes of `self` that the class uses."""
        owner = next((above for above in self.source.above(self.statement) if isinstance(above, ast.ClassDef)), None)
        found = [
            node.attr
            for node in (ast.walk(owner) if owner else ())
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
        ]
        return tuple(dict.fromkeys(found))

    @cached_property
    def constants(self) -> tuple[ast.Constant, ...]:
        """Constants of the function, each value once."""
        found = {
            (type(node.value), node.value): node
            for node in ast.walk(self.function.node)
            if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | bool)
        }
        return tuple(found.values())

    @cached_property
    def assigned_before(self) -> tuple[str, ...]:
        """Variables that have a value where the statement stands, as far as the order of lines tells."""
        node = self.function.node
        if isinstance(node, ast.Module):
            return self.names
        first: dict[str, int] = {}
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                first[inner.id] = min(first.get(inner.id, inner.lineno), inner.lineno)
        return tuple(name for name in self.names if first.get(name, 0) <= self.statement.lineno)

    @cached_property
    def visible(self) -> frozenset[str]:
        """Names that have a value here: variables, what the module defines and imports, and what Python brings."""
        bound = [
            name
            for node in self.source.tree.body
            for name in (
                [alias.asname or alias.name.partition(".")[0] for alias in node.names]
                if isinstance(node, ast.Import | ast.ImportFrom)
                else [node.name]
                if isinstance(node, FunctionNode | ast.ClassDef)
                else []
            )
        ]
        own = ("self", "cls") if any(isinstance(one, ast.ClassDef) for one in self.source.above(self.statement)) else ()
        return frozenset((*self.assigned_before, *self.globals, *bound, *own, *dir(builtins)))

    def text(self, node: ast.AST) -> str:
        return self.source.of(node)

    def swap(self, template: str, node: ast.AST, new: str) -> Change:
        """Replace a node's text."""
        start, end = self.source.span(node)
        return Change(template, ((start, end, new),))

    def between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> Span | None:
        """The span of the operator `old` between two nodes; None when it is not found there exactly once."""
        start, end = self.source.span(left)[1], self.source.span(right)[0]
        gap = self.source.text[start:end]
        at = _operator(gap, old)
        return None if at is None else (start + at, start + at + len(old), new)


def _own(child: ast.AST, parent: ast.AST) -> bool:
    """Belongs a child to the statement's header? Statements inside it have a place of their own."""
    if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
        return False
    return not (isinstance(parent, ast.arguments | FunctionNode) and isinstance(child, ast.arg))


def _operator(gap: str, old: str) -> int | None:
    """Where an operator stands between two operands, comments left aside."""
    code = "\n".join(line.split("#", 1)[0].ljust(len(line)) for line in gap.split("\n"))
    at = code.find(old)
    if at < 0:
        return None
    before, after = code[:at].strip(" \t\n\\)"), code[at + len(old) :].strip(" \t\n\\(")
    return None if before or after else at


def bracketed(text: str, node: ast.expr) -> str:
    """An operand's text, in brackets where it could be read otherwise."""
    simple = (
        ast.Name | ast.Constant | ast.Call | ast.Attribute | ast.Subscript | ast.List | ast.Tuple | ast.Dict | ast.Set
    )
    whole = isinstance(node, ast.Tuple) and not text.startswith("(")
    return text if isinstance(node, simple) and not whole else f"({text})"


def statements_of(source: Source) -> Iterator[ast.stmt]:
    """Every statement of a file."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.stmt):
            yield node
