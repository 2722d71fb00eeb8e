"""General classes of one-place bugs, as edits of the source text: comments and formatting stay as written.

Each template is a function `template(place) -> Iterator[Change]`. They were written from the classes that the
literature on seeded and real one-place faults names (operator, operand, constant, call, statement, condition faults),
not from any collection of buggy programs.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping

from appliance.repair.edits import Edit, replaced
from appliance.repair.source import Source
from appliance.repair.templates import ingredients, names, operators, statements
from appliance.repair.templates.place import Change, Place, statements_of

TEMPLATES: tuple[Callable[[Place], Iterator[Change]], ...] = (
    operators.comparisons,
    operators.arithmetic,
    operators.booleans,
    operators.constants,
    operators.off_by_one,
    operators.slices,
    names.variables,
    names.attributes,
    names.functions,
    names.arguments,
    names.wrapping,
    names.conditions,
    names.exceptions,
    statements.returns,
    statements.deletions,
    statements.insertions,
    statements.moves,
    ingredients.accesses,
    ingredients.calls,
    ingredients.expressions,
    ingredients.operands,
    ingredients.conditions,
)


def edits_of(source: Source, lines: Mapping[int, float]) -> Iterator[Edit]:
    """Every edit of the statements that start at one of `lines` (line → suspicion), each text change once."""
    seen: set[tuple[tuple[int, int, str], ...]] = set()
    for statement in statements_of(source):
        if statement.lineno not in lines:
            continue
        place = Place(source, statement, source.function_at(statement.lineno))
        for template in TEMPLATES:
            for change in template(place):
                spans = tuple(sorted(change.spans))
                if spans in seen or all(source.text[start:end] == new for start, end, new in spans):
                    continue
                seen.add(spans)
                yield Edit(source.path, spans, change.template, statement.lineno, place.function.name)


def changed_line(source: Source, edit: Edit) -> tuple[str, str]:
    """The lines around an edit's spans, before and after."""
    first = min(start for start, _, _ in edit.spans)
    last = max(end for _, end, _ in edit.spans)
    start = source.text.rfind("\n", 0, first) + 1
    end = source.text.find("\n", last)
    end = len(source.text) if end < 0 else end
    moved = [(a - start, b - start, new) for a, b, new in edit.spans]
    return source.text[start:end], replaced(source.text[start:end], moved)


def parses(text: str) -> bool:
    """Is the text Python?"""
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


__all__ = ["Change", "Edit", "Place", "changed_line", "edits_of", "parses"]
