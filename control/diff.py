"""A unified diff as rows for a page. Pure; `painting` colours them, `beside` makes two columns of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from appliance.work import Finding

MOST_ROWS = 2000
"""Lines of a diff drawn on a page; the whole diff can be downloaded."""

HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


class Piece(NamedTuple):
    """A part of a line that looks the same: `look` is a class of the stylesheet, `fresh` what the other side lacks."""

    text: str
    look: str = ""
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a diff. `kind` is file, hunk, add, del, same, note or finding; numbers are those of the old and new
    file; `path`, on the row of a file, is the file's (its old one where it is removed)."""

    kind: str
    text: str
    old: int | None = None
    new: int | None = None
    path: str = ""
    pieces: tuple[Piece, ...] = ()


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
            after = _path(line)
            yield Row(kind="file", text=_title(before, after), path=before if after == "/dev/null" else after)
        elif not line.startswith(("diff --git ", "index ")):
            yield Row(kind="note", text=line)


def with_findings(drawn: Sequence[Row], findings: Sequence[Finding]) -> list[Row]:
    """The rows, each finding in a row of its own below the new file's line that it is about.

    One whose line the diff does not show stands at the head of its file; one of a file that the diff does not touch
    is left out, since the verdicts beside it name them all.

    >>> rule = Finding(rule="S102", path="x", line=1, message="exec", tool="ruff")
    >>> drawn = rows("--- a/x\\n+++ b/x\\n@@ -1 +1 @@\\n-a\\n+b\\n")[0]
    >>> [(row.kind, row.text) for row in with_findings(drawn, [rule])][-2:]
    [('add', 'b'), ('finding', 'ruff S102: exec')]
    """
    shown, path = set[tuple[str, int]](), ""
    for row in drawn:
        path = row.path if row.kind == "file" else path
        if row.new is not None:
            shown.add((path, row.new))
    at: dict[tuple[str, int], list[Row]] = {}
    for one in findings:
        line = one.line if (one.path, one.line) in shown else 0
        where = "" if line else f"line {one.line}: "
        text = f"{one.tool} {one.rule}: {where}{one.message}".strip()
        at.setdefault((one.path, line), []).append(Row(kind="finding", text=text))
    return list(_placed(drawn, at))


def _placed(drawn: Sequence[Row], at: Mapping[tuple[str, int], Sequence[Row]]) -> Iterator[Row]:
    path = ""
    for row in drawn:
        path = row.path if row.kind == "file" else path
        yield row
        if row.kind == "file":
            yield from at.get((path, 0), ())
        elif row.new is not None:
            yield from at.get((path, row.new), ())


class Touched(NamedTuple):
    """A file of a diff: its title, lines that came and went, and its rows without the file's own."""

    title: str
    path: str
    insertions: int
    deletions: int
    rows: tuple[Row, ...]


def by_file(drawn: Sequence[Row]) -> list[Touched]:
    """The rows of each file together, in the diff's order."""
    found: list[tuple[Row, list[Row]]] = []
    for row in drawn:
        if row.kind == "file" or not found:
            found.append((row if row.kind == "file" else replace(row, text="", path=""), []))
        if row.kind != "file":
            found[-1][1].append(row)
    return [
        Touched(
            head.text, head.path, sum(row.kind == "add" for row in inside), sum(row.kind == "del" for row in inside),
            tuple(inside),
        )
        for head, inside in found
    ]  # fmt: skip


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
