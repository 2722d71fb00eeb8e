"""A unified diff as rows for a page. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from appliance.work import Noun

MOST_ROWS = 2000
"""Lines of a diff drawn on a page; the whole diff can be downloaded."""

HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


class Row(Noun):
    """One line of a diff. `kind` is file, hunk, add, del, same or note; numbers are those of the old and new file."""

    kind: str
    text: str
    old: int | None = None
    new: int | None = None


def rows(diff: str, most: int = MOST_ROWS) -> tuple[list[Row], int]:
    """The first `most` lines as rows, a file's header as one, and how many lines were left out.

    >>> [(row.kind, row.text) for row in rows("--- a/x\\n+++ b/x\\n@@ -1 +1 @@\\n-a\\n+b\\n")[0]]
    [('file', 'x'), ('hunk', '@@ -1 +1 @@'), ('del', 'a'), ('add', 'b')]
    """
    lines = diff.splitlines()
    return list(_rows(lines[:most])), max(0, len(lines) - most)


def _rows(lines: list[str]) -> Iterator[Row]:
    before = ""
    old = new = left_old = left_new = 0
    for line in lines:
        inside = left_old > 0 or left_new > 0
        if inside and line[:1] in ("+", "-", " ", ""):
            yield _inside(line, old, new)
            old, left_old = old + (line[:1] != "+"), left_old - (line[:1] != "+")
            new, left_new = new + (line[:1] != "-"), left_new - (line[:1] != "-")
        elif found := HUNK.match(line):
            old, new = int(found[1]), int(found[3])
            left_old, left_new = int(found[2] or 1), int(found[4] or 1)  # only these tell its end from a next header
            yield Row(kind="hunk", text=line)
        elif line.startswith("--- "):
            before = _path(line)
        elif line.startswith("+++ "):
            yield Row(kind="file", text=_title(before, _path(line)))
        elif not line.startswith(("diff --git ", "index ")):
            yield Row(kind="note", text=line)


def _path(line: str) -> str:
    return re.sub(r"^[ab]/", "", line[4:].partition("\t")[0])


def _title(before: str, after: str) -> str:
    if before == "/dev/null":
        return f"{after} (new)"
    if after == "/dev/null":
        return f"{before} (removed)"
    return after if before == after else f"{before} → {after}"


def _inside(line: str, old: int, new: int) -> Row:
    if line.startswith("+"):
        return Row(kind="add", text=line[1:], new=new)
    if line.startswith("-"):
        return Row(kind="del", text=line[1:], old=old)
    return Row(kind="same", text=line[1:], old=old, new=new)
