"""The rows of a diff as two columns: what was on the left, what is on the right. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from control.diff import Row


class Pair(NamedTuple):
    """One line of both columns. A header, a note or a finding is `across` both."""

    left: Row | None = None
    right: Row | None = None
    across: Row | None = None


def beside(drawn: Sequence[Row]) -> list[Pair]:
    """Lines that stayed beside themselves, lines that went beside those that came in their place.

    >>> from control.diff import rows
    >>> found = beside(rows("--- a/x\\n+++ b/x\\n@@ -1,2 +1,1 @@\\n-a\\n-b\\n+c\\n")[0])
    >>> [(pair.left and pair.left.text, pair.right and pair.right.text) for pair in found[2:]]
    [('a', 'c'), ('b', None)]
    """
    return list(_pairs(drawn))


def _pairs(drawn: Sequence[Row]) -> Iterator[Pair]:
    gone: list[Row] = []
    came: list[Row] = []
    notes: list[Row] = []
    for row in drawn:
        if row.kind == "finding" and came:
            notes.append(row)  # it stands below the new line, and must not part that line from the one it replaces
        elif row.kind == "del" and not came:
            gone.append(row)
        elif row.kind == "add":
            came.append(row)
        else:
            yield from _flushed(gone, came, notes)
            gone, came, notes = ([row], [], []) if row.kind == "del" else ([], [], [])
            if row.kind != "del":
                yield Pair(row, row) if row.kind == "same" else Pair(across=row)
    yield from _flushed(gone, came, notes)


def _flushed(gone: list[Row], came: list[Row], notes: list[Row]) -> Iterator[Pair]:
    yield from (Pair(left, right) for left, right in zip_longest(gone, came))
    yield from (Pair(across=note) for note in notes)
