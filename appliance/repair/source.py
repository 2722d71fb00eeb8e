"""One source file: text, tree, spans in characters, and who encloses whom."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Function:
    """A function or method, or the module's own code (`node` is then the module)."""

    name: str
    node: FunctionNode | ast.Module
    first: int
    last: int


class Source:
    """A parsed file. Raises SyntaxError (or ValueError for null bytes) when it cannot be parsed."""

    def __init__(self, path: str, text: str) -> None:
        self.path, self.text = path, text
        self.tree = ast.parse(text)
        self.lines = text.split("\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.ascii = text.isascii()
        self.parents: dict[ast.AST, ast.AST] = {}
        for parent in ast.walk(self.tree):
            for child in ast.iter_child_nodes(parent):
                if not isinstance(child, ast.expr_context | ast.operator | ast.unaryop | ast.boolop | ast.cmpop):
                    self.parents[child] = parent

    def at(self, line: int, column: int) -> int:
        """Character offset of a position as the tree gives it (columns there are bytes)."""
        if not self.ascii:
            column = len(self.lines[line - 1].encode()[:column].decode("utf-8", "ignore"))
        return self.starts[line - 1] + column

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where an expression or statement stands."""
        return (
            self.at(node.lineno, node.col_offset),  # type: ignore[attr-defined]
            self.at(node.end_lineno, node.end_col_offset),  # type: ignore[attr-defined]
        )

    def of(self, node: ast.AST) -> str:
        """The node's text as written."""
        start, end = self.span(node)
        return self.text[start:end]

    def wide(self, node: ast.AST) -> tuple[int, int]:
        """The node's span with the brackets directly around it that belong to it alone."""
        start, end = self.span(node)
        while True:
            left, right = start, end
            while left > 0 and self.text[left - 1] in " \t":
                left -= 1
            while right < len(self.text) and self.text[right] in " \t":
                right += 1
            if not (left > 0 and right < len(self.text) and self.text[left - 1] == "(" and self.text[right] == ")"):
                return start, end
            if left > 1 and (self.text[left - 2].isalnum() or self.text[left - 2] in "_)]\"'"):
                return start, end
            start, end = left - 1, right + 1

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self.parents.get(node)

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """Parents, nearest first."""
        current = self.parents.get(node)
        while current is not None:
            yield current
            current = self.parents.get(current)

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """The nearest statement at or around the node."""
        if isinstance(node, ast.stmt):
            return node
        return next((above for above in self.above(node) if isinstance(above, ast.stmt)), None)

    @functools.cached_property
    def functions(self) -> tuple[Function, ...]:
        """Every function, inner ones too, and the module itself last."""
        found: list[Function] = []

        def visit(node: ast.AST, names: tuple[str, ...]) -> None:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, FunctionNode):
                    inner = (*names, child.name)
                    first = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                    found.append(Function(".".join(inner), child, first, child.end_lineno or child.lineno))
                    visit(child, inner)
                elif isinstance(child, ast.ClassDef):
                    visit(child, (*names, child.name))
                else:
                    visit(child, names)

        visit(self.tree, ())
        found.append(Function("", self.tree, 1, len(self.lines)))
        return tuple(found)

    def function_at(self, line: int) -> Function:
        """The innermost function that holds this line."""
        return min((f for f in self.functions if f.first <= line <= f.last), key=lambda f: f.last - f.first)

    def line(self, number: int) -> str:
        return self.lines[number - 1]

    def indent(self, line: int) -> str:
        text = self.lines[line - 1]
        return text[: len(text) - len(text.lstrip(" \t"))]
