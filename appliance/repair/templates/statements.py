"""Whole statements: deleted, doubled, inserted, moved, guarded, returned otherwise."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from appliance.repair.source import FunctionNode, Source
from appliance.repair.templates.place import Change, Place

SIMPLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.Return, ast.Raise, ast.Break, ast.Continue, ast.Delete, ast.Assert)
BLOCKS = ("body", "orelse", "finalbody")
EMPTY = ("None", "0", "[]", '""', "False", "True", "1", "{}")


def returns(place: Place) -> Iterator[Change]:
    """Another value returned or yielded; a flow word for another."""
    statement = place.statement
    if isinstance(statement, ast.Return):
        spot = statement.value
        values = [*place.assigned_before, *EMPTY]
        for value in values:
            if spot is None:
                yield place.swap("return value", statement, f"return {value}")
            elif value != place.text(spot):
                yield place.swap("return value", spot, value)
        for attribute in place.attributes[:6]:
            yield place.swap("return value", statement, f"return self.{attribute}")
        yield place.swap("flow", statement, "continue")
    words = {
        ast.Break: ("continue", "return", "pass"),
        ast.Continue: ("break", "pass", "return"),
        ast.Pass: ("continue", "break", "return"),
    }
    for word in words.get(type(statement), ()):
        yield place.swap("flow", statement, word)
    for node in place.nodes:
        if isinstance(node, ast.Yield) and node.value is not None:
            yield place.swap("yield", node, f"yield from {place.text(node.value)}")
        if isinstance(node, ast.YieldFrom):
            yield place.swap("yield", node, f"yield {place.text(node.value)}")
    if isinstance(statement, ast.Expr) and not isinstance(
        statement.value, ast.Yield | ast.YieldFrom | ast.Constant | ast.Await
    ):
        yield place.swap("returned expression", statement, f"return {place.text(statement)}")


def deletions(place: Place) -> Iterator[Change]:
    """The statement gone; a block without its condition."""
    statement, source = place.statement, place.source
    if isinstance(statement, FunctionNode | ast.ClassDef | ast.Import | ast.ImportFrom):
        return
    siblings = block_of(source, statement)
    if siblings is None:
        return
    if len(siblings) == 1:
        yield place.swap("deleted statement", statement, "pass")
    else:
        yield Change("deleted statement", (lines_of(source, statement),))
    if isinstance(statement, ast.If) and not statement.orelse:
        yield Change(
            "unconditional", ((*whole_lines(source, statement), _dedented(source, statement.body, statement)),)
        )
    if isinstance(statement, ast.If) and statement.orelse and not _is_elif(source, statement):
        yield Change(
            "one branch kept", ((*whole_lines(source, statement), _dedented(source, statement.body, statement)),)
        )
    if isinstance(statement, ast.If | ast.While):
        word = "while" if isinstance(statement, ast.If) else "if"
        start = source.span(statement)[0]
        old = "if" if word == "while" else "while"
        if source.text.startswith(old, start) and not (word == "while" and statement.orelse):
            yield Change("loop for condition", ((start, start + len(old), word),))
    if _is_elif(source, statement):
        start = source.span(statement)[0]
        yield Change("if for elif", ((start, start + 4, "if"),))


def insertions(place: Place) -> Iterator[Change]:
    """A statement more, before or after: a flow word, a guard, a copy of another of the function."""
    statement, source = place.statement, place.source
    if isinstance(statement, FunctionNode | ast.ClassDef) or isinstance(place.function.node, ast.Module):
        return
    if _is_elif(source, statement) or block_of(source, statement) is None:
        return
    indent = source.indent(statement.lineno)
    before = source.starts[statement.lineno - 1]
    after = min(source.starts[statement.end_lineno or statement.lineno], len(source.text))
    ending = "" if source.text[after - 1 : after] == "\n" else "\n"
    loops = any(isinstance(above, ast.For | ast.While) for above in _within_function(source, statement))
    for word in ("continue", "break") if loops else ():
        yield Change("inserted flow", ((after, after, f"{ending}{indent}{word}\n"),))
    for name in place.assigned_before[:6]:
        yield Change("inserted return", ((after, after, f"{ending}{indent}return {name}\n"),))
        for value in dict.fromkeys((name, "None", "0", "[]", '""', "False", "True")):
            for test in (f"not {name}", f"{name} is None"):
                yield Change("inserted guard", ((before, before, f"{indent}if {test}:\n{indent}    return {value}\n"),))
        yield Change("inserted copy", ((before, before, f"{indent}{name} = {name}.copy()\n"),))
        for step in ("+= 1", "-= 1"):
            yield Change("inserted step", ((after, after, f"{ending}{indent}{name} {step}\n"),))
    copied = [one for one in ast.walk(place.function.node) if isinstance(one, SIMPLE) and one is not statement][:25]
    for one in copied:
        text = source.of(one)
        if "\n" not in text and not _is_docstring(one):
            yield Change("copied statement", ((after, after, f"{ending}{indent}{text}\n"),))
            yield Change("copied statement", ((before, before, f"{indent}{text}\n"),))
    if isinstance(statement, SIMPLE) and "\n" not in source.of(statement):
        yield Change("doubled statement", ((after, after, f"{ending}{indent}{source.of(statement)}\n"),))


def moves(place: Place) -> Iterator[Change]:
    """Swapped with the next statement, moved into the block before it, or out of its own."""
    statement, source = place.statement, place.source
    siblings = block_of(source, statement)
    if siblings is None or _is_elif(source, statement):
        return
    at = siblings.index(statement)
    if at + 1 < len(siblings):
        yield _swapped(source, statement, siblings[at + 1])
    if at > 0:
        yield _swapped(source, siblings[at - 1], statement)
        previous = siblings[at - 1]
        inner = _last_block(previous)
        if inner and isinstance(statement, SIMPLE):
            start, end = whole_lines(source, statement)
            depth = source.indent(inner[0].lineno)
            if depth != source.indent(statement.lineno):
                yield Change("moved inside", ((start, end, _at_indent(source, statement, depth)),))
    outer = source.parent(statement)
    if (
        at == len(siblings) - 1
        and at > 0
        and isinstance(outer, ast.If | ast.For | ast.While | ast.With)
        and not _is_elif(source, outer)
    ) and source.span(outer)[1] == source.span(statement)[1]:
        start, end = whole_lines(source, statement)
        yield Change("moved outside", ((start, end, _at_indent(source, statement, source.indent(outer.lineno))),))


def _swapped(source: Source, first: ast.stmt, second: ast.stmt) -> Change:
    one, other = whole_lines(source, first), whole_lines(source, second)
    text = source.text
    a, b = text[one[0] : one[1]], text[other[0] : other[1]]
    a, b = (a if a.endswith("\n") else a + "\n"), (b if b.endswith("\n") else b + "\n")
    return Change("swapped statements", ((*one, b), (*other, a)))


def _last_block(node: ast.stmt) -> list[ast.stmt] | None:
    for field in ("finalbody", "orelse", "body"):
        block = getattr(node, field, None)
        if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
            return block
    return None


def block_of(source: Source, statement: ast.stmt) -> list[ast.stmt] | None:
    """The list of statements that holds this one; None when it shares its line with something else."""
    parent = source.parent(statement)
    for field in BLOCKS:
        block = getattr(parent, field, None)
        if isinstance(block, list) and statement in block:
            line = source.line(statement.lineno)
            alone = line[: len(line) - len(line.lstrip())] == line[: statement.col_offset]
            return block if alone else None
    return None


def whole_lines(source: Source, statement: ast.stmt) -> tuple[int, int]:
    """The span of all lines of a statement, the last newline included."""
    last = min(source.starts[statement.end_lineno or statement.lineno], len(source.text))
    return source.starts[statement.lineno - 1], last


def lines_of(source: Source, statement: ast.stmt) -> tuple[int, int, str]:
    """The change that takes a statement's lines away."""
    return (*whole_lines(source, statement), "")


def _at_indent(source: Source, statement: ast.stmt, indent: str) -> str:
    start, end = whole_lines(source, statement)
    old = source.indent(statement.lineno)
    lines = source.text[start:end].split("\n")
    moved = [indent + line[len(old) :] if line.startswith(old) and line.strip() else line for line in lines]
    return "\n".join(moved)


def _dedented(source: Source, body: list[ast.stmt], outer: ast.stmt) -> str:
    start, end = whole_lines(source, body[0])[0], whole_lines(source, body[-1])[1]
    old, new = source.indent(body[0].lineno), source.indent(outer.lineno)
    lines = source.text[start:end].split("\n")
    return "\n".join(new + line[len(old) :] if line.startswith(old) else line for line in lines)


def _is_elif(source: Source, node: ast.AST) -> bool:
    return isinstance(node, ast.If) and source.text.startswith("elif", source.span(node)[0])


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _within_function(source: Source, node: ast.AST) -> Iterator[ast.AST]:
    for above in source.above(node):
        if isinstance(above, FunctionNode):
            return
        yield above
