"""What an edit does to the names of its function: sound code reads what it sets, and speaks of what it knows.

A parameter or variable that nothing reads once the edit is made was read before somebody slipped, or the edit goes
round the fault instead of mending it. One that is still read but set nowhere any more was taken away by mistake. A name
of the module that the function never speaks of is a rare answer. Nor has sound code statements that nothing reaches.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from appliance.repair.edits import Edit, replaced
from appliance.repair.source import Function, Source

WORD = re.compile(r"\w{0,2}\"[^\"\n]*\"|\w{0,2}'[^'\n]*'|\.\s*[A-Za-z_]\w*|[A-Za-z_]\w*\s*=(?!=)|[A-Za-z_]\w*")
"""Strings, attributes and what is set are matched too, so that they are not taken for names that are read."""
PYTHON = frozenset({*keyword.kwlist, *dir(builtins)})
MOST = 2.0
LEAVES = re.compile(r"^\s*(return|raise|break|continue)\b", re.MULTILINE)
"""A new text in which a statement begins that ends its block."""


@dataclass(frozen=True)
class Names:
    """One function's names: how often each is read, and which are its own (set by it or handed to it)."""

    read: Counter[str]
    own: frozenset[str]
    known: frozenset[str]
    stored: Mapping[str, tuple[int, ...]]
    """Where each name is set, as characters of the file; names that are handed over have a value without that."""

    @classmethod
    def of(cls, function: Function, source: Source) -> Names:
        read: Counter[str] = Counter()
        own: set[str] = set()
        stored: dict[str, list[int]] = {}
        handed: set[str] = set()
        for node in ast.walk(function.node):
            if isinstance(node, ast.Name):
                read[node.id] += isinstance(node.ctx, ast.Load)
                if not isinstance(node.ctx, ast.Load):
                    own.add(node.id)
                    stored.setdefault(node.id, []).append(source.span(node)[0])
            elif isinstance(node, ast.arg):
                own.add(node.arg)
                handed.add(node.arg)
            elif isinstance(node, ast.Global | ast.Nonlocal):
                handed.update(node.names)
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                read[node.target.id] += 1
        attributes = {node.attr for node in ast.walk(function.node) if isinstance(node, ast.Attribute)}
        places = {name: tuple(found) for name, found in stored.items() if name not in handed}
        return cls(read, frozenset(own - {"self", "cls", "_"}), frozenset({*read, *own, *attributes}), places)


class Idioms:
    """Looks at edits of one file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._names: dict[int, Names] = {}
        self._dead: dict[int, int] = {}

    def unread(self, edit: Edit) -> float:
        """How many more of the function's own names nothing reads any more; negative where the edit has them read."""
        names = self._of(edit)
        change: Counter[str] = Counter()
        for old, new in self._texts(edit):
            change.update(names_in(new))
            change.subtract(names_in(old))
        more = sum(
            (names.read[name] + by <= 0) - (names.read[name] <= 0)
            for name, by in change.items()
            if by and name in names.own
        )
        return max(-MOST, min(MOST, float(more)))

    def unset(self, edit: Edit) -> float:
        """How many names that its function still reads have no place left where they are set."""
        names = self._of(edit)
        kept = {name for _, _, new in edit.spans for name in re.findall(r"\w+", new)}
        gone = [
            name
            for name, places in names.stored.items()
            if name not in kept and all(any(start <= at < end for start, end, _ in edit.spans) for at in places)
        ]
        left = Counter(name for old, _ in self._texts(edit) for name in names_in(old)) if gone else Counter[str]()
        return min(MOST, float(sum(names.read[name] > left[name] for name in gone)))

    def dead(self, edit: Edit) -> float:
        """How many more statements of its function nothing reaches any more."""
        function = self._source.function_at(edit.line)
        if isinstance(function.node, ast.Module) or not any(LEAVES.search(new) for _, _, new in edit.spans):
            return 0.0
        first, last = self._source.starts[function.first - 1], self._source.span(function.node)[1]
        if any(start < first or end > last for start, end, _ in edit.spans):
            return 0.0
        text = self._source.text[first:last]
        if id(function.node) not in self._dead:
            self._dead[id(function.node)] = unreached(text)
        now = unreached(replaced(text, [(start - first, end - first, new) for start, end, new in edit.spans]))
        return max(-MOST, min(MOST, float(now - self._dead[id(function.node)])))

    def foreign(self, edit: Edit) -> float:
        """How many names it brings in that its function does not speak of."""
        known = self._of(edit).known
        return min(MOST, float(len({n for _, new in self._texts(edit) for n in names_in(new)} - known)))

    def _of(self, edit: Edit) -> Names:
        function = self._source.function_at(edit.line)
        if id(function.node) not in self._names:
            self._names[id(function.node)] = Names.of(function, self._source)
        return self._names[id(function.node)]

    def _texts(self, edit: Edit) -> Iterator[tuple[str, str]]:
        """Each span's old and new text, widened to whole words."""
        text = self._source.text
        for start, end, new in edit.spans:
            left, right = start, end
            while left > 0 and (text[left - 1].isalnum() or text[left - 1] in "_."):
                left -= 1
            while right < len(text) and (text[right].isalnum() or text[right] == "_"):
                right += 1
            yield text[left:right], text[left:start] + new + text[end:right]


def names_in(text: str) -> list[str]:
    """Names that a piece of code reads, but for those that Python itself has."""
    return [word for word in WORD.findall(text) if word.isidentifier() and word not in PYTHON]


def unreached(text: str) -> int:
    """Statements of a function, as it stands in its file, that come after one which ends their block; 0 for what is no
    function.

    >>> unreached("    def f():\\n        return 1\\n        x = 2\\n")
    1
    """
    try:
        tree = ast.parse(f"if 1:\n{text}" if text[:1] in " \t" else text)
    except (SyntaxError, ValueError):
        return 0
    blocks = (
        block
        for node in ast.walk(tree)
        for block in (getattr(node, name, None) for name in ("body", "orelse", "finalbody"))
        if isinstance(block, list)
    )
    return sum(len(block) - 1 - end for block in blocks if (end := _end(block)) is not None)


def _end(block: list[ast.stmt]) -> int | None:
    """Where in a block the first statement stands that ends it."""
    ends = ast.Return | ast.Raise | ast.Break | ast.Continue
    return next((at for at, one in enumerate(block) if isinstance(one, ends)), None)
