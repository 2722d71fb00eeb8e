"""A unified diff as rows for a page. Pure."""

from __future__ import annotations

import re

from appliance.work import Noun

MOST_ROWS = 2000
"""Rows shown on a page; the whole diff can be downloaded."""

HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")


class Row(Noun):
    """One line of a diff. `kind` is file, hunk, add, del, same or note; numbers are those of the old and new file."""

    kind: str
    text: str
    old: int | None = None
    new: int | None = None


def rows(diff: str, most: int = MOST_ROWS) -> tuple[list[Row], int]:
    """The first `most` rows and how many were left out.

    >>> [row.kind for row in rows("--- a/x\\n+++ b/x\\n@@ -1 +1 @@\\n-a\\n+b\\n")[0]]
    ['file', 'file', 'hunk', 'del', 'add']
    """
    lines = diff.splitlines()
    made: list[Row] = []
    old = new = 0
    inside = False
    for line in lines[:most]:
        hunk = HUNK.match(line)
        if hunk:
            old, new, inside = int(hunk[1]), int(hunk[2]), True
            made.append(Row(kind="hunk", text=line))
        elif line.startswith("diff ") or (not inside and line.startswith(("--- ", "+++ ", "index "))):
            inside = False
            made.append(Row(kind="file", text=line))
        elif inside and line[:1] in ("+", "-", " ", ""):
            made.append(_inside(line, old, new))
            old += line[:1] != "+"
            new += line[:1] != "-"
        else:
            made.append(Row(kind="note", text=line))
    return made, max(0, len(lines) - most)


def _inside(line: str, old: int, new: int) -> Row:
    if line.startswith("+"):
        return Row(kind="add", text=line[1:], new=new)
    if line.startswith("-"):
        return Row(kind="del", text=line[1:], old=old)
    return Row(kind="same", text=line[1:], old=old, new=new)
