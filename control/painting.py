"""Colours for the rows of a diff: syntax by Pygments, and within a changed line what is new. Pure.

Looks are classes of the stylesheet: a style within the page is what the browser is told to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import accumulate, groupby, pairwise

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_for_filename
from pygments.token import Comment, Keyword, Name, Number, Operator, String, _TokenType
from pygments.util import ClassNotFound

from control.diff import Piece, Row

LONGEST_LINE = 400
"""Characters of a line that is coloured; data and minified code are longer and gain nothing by it."""
LONGEST_FILE = 200_000
"""Characters of a file's rows that are coloured: lexers are regular expressions, and the text is a stranger's."""
ALIKE = 0.35
"""Share of two lines that must be the same for their difference to be marked; below that all of it is new."""

WORDS = re.compile(r"\w+|\s+|.", re.DOTALL)
"""A line's words: marks on half a word are hard to read."""

LOOKS: tuple[tuple[_TokenType, str], ...] = (
    (Comment, "c"), (String, "s"), (Number, "n"), (Keyword, "k"), (Operator.Word, "k"),
    (Name.Function, "f"), (Name.Class, "f"), (Name.Decorator, "f"), (Name.Tag, "k"), (Name.Attribute, "f"),
)  # fmt: skip
"""Kinds of token → class of the stylesheet; all others look plain."""


def painted(drawn: Sequence[Row]) -> list[Row]:
    """The rows with their pieces: coloured where the file's name tells its language, changed parts marked."""
    found: list[Row] = []
    for _, group in groupby(_numbered(drawn), key=lambda pair: pair[0]):
        part = [row for _, row in group]
        found += _marked(_coloured(part))
    return found


def _numbered(drawn: Sequence[Row]) -> Iterator[tuple[int, Row]]:
    file = 0
    for row in drawn:
        file += row.kind == "file"
        yield file, row


def _coloured(part: list[Row]) -> list[Row]:
    """One file's rows; each stretch between two headers is read alone, its old lines and its new ones."""
    path = part[0].path if part[0].kind == "file" else ""
    lexer = _lexer(path)
    if lexer is None or sum(len(row.text) for row in part) > LONGEST_FILE:
        return part
    found: list[Row] = []
    for code, group in groupby(part, key=lambda row: row.kind in ("add", "del", "same")):
        stretch = list(group)
        found += _stretch(stretch, lexer) if code else stretch
    return found


def _stretch(stretch: list[Row], lexer: Lexer) -> list[Row]:
    if any(len(row.text) > LONGEST_LINE for row in stretch):
        return stretch
    old = _lines([row.text for row in stretch if row.kind != "add"], lexer)
    new = _lines([row.text for row in stretch if row.kind != "del"], lexer)
    found = []
    for row in stretch:
        gone = next(old) if row.kind != "add" else ()
        found.append(replace(row, pieces=next(new) if row.kind != "del" else gone))
    return found


def _lexer(path: str) -> Lexer | None:
    try:
        return get_lexer_for_filename(path, stripnl=False, ensurenl=True) if path else None
    except ClassNotFound:
        return None


def _lines(texts: list[str], lexer: Lexer) -> Iterator[tuple[Piece, ...]]:
    """The pieces of each line. A lexer that changed the text would show what the diff does not say: then no colours."""
    pieces: list[list[Piece]] = [[]]
    for kind, value in lexer.get_tokens("\n".join(texts)):
        look = next((name for token, name in LOOKS if kind in token), "")
        first, *more = value.split("\n")
        for number, text in enumerate((first, *more)):
            if number:
                pieces.append([])
            if text:
                pieces[-1].append(Piece(text, look))
    for number, text in enumerate(texts):
        line = tuple(pieces[number]) if number < len(pieces) else ()
        yield line if "".join(piece.text for piece in line) == text else (Piece(text),)


def _marked(part: list[Row]) -> list[Row]:
    """Lines that replace others, one by one: what is new in each is marked."""
    found = list(part)
    for gone, came in changed(part):
        for old, new in zip(gone, came, strict=False):
            found[old], found[new] = _compared(found[old], found[new])
    return found


def changed(part: Sequence[Row]) -> Iterator[tuple[range, range]]:
    """Where lines went and others came in their place: places of those that went, and of those that came."""
    at = 0
    while at < len(part):
        start = at
        while at < len(part) and part[at].kind == "del":
            at += 1
        middle = at
        while at < len(part) and part[at].kind == "add":
            at += 1
        if start < middle < at:
            yield range(start, middle), range(middle, at)
        at = max(at, start + 1)


def _compared(old: Row, new: Row) -> tuple[Row, Row]:
    if max(len(old.text), len(new.text)) > LONGEST_LINE:
        return old, new
    before, after = WORDS.findall(old.text), WORDS.findall(new.text)
    match = SequenceMatcher(None, before, after, autojunk=False)
    if match.ratio() < ALIKE:
        return old, new
    parts = [(i1, i2, j1, j2) for tag, i1, i2, j1, j2 in match.get_opcodes() if tag != "equal"]
    gone, came = [(i1, i2) for i1, i2, _, _ in parts], [(j1, j2) for _, _, j1, j2 in parts]
    return replace(old, pieces=tuple(_cut(old, before, gone))), replace(new, pieces=tuple(_cut(new, after, came)))


def _cut(row: Row, words: Sequence[str], spans: Sequence[tuple[int, int]]) -> Iterator[Piece]:
    """A row's pieces, cut at the ends of what is fresh: spans of its words."""
    ends = [0, *accumulate(len(word) for word in words)]
    fresh = [(ends[start], ends[stop]) for start, stop in spans]
    edges = sorted({edge for span in fresh for edge in span})
    at = 0
    for piece in row.pieces or (Piece(row.text),):
        end = at + len(piece.text)
        cuts = [at, *(edge for edge in edges if at < edge < end), end]
        for low, high in pairwise(cuts):
            new = any(start <= low and high <= stop for start, stop in fresh)
            yield Piece(piece.text[low - at : high - at], piece.look, new)
        at = end
