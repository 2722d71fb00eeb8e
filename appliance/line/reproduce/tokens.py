"""Tokens of running text in a report: calls, values, exceptions, and the words that say which value is which."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.line.reproduce.claims import Form, Said
from appliance.line.reproduce.cues import CUES, LABEL, Kind
from appliance.line.reproduce.expressions import balanced, call_at, parse
from appliance.line.reproduce.values import IN_WORDS, MISSING, literal


@dataclass(frozen=True)
class Token:
    """One token with its place in the text."""

    kind: Kind
    text: str
    start: int
    end: int
    said: Said | None = None
    label: bool = False
    """A word of role at the start of a line, followed by a colon: its value is the rest of the line."""


_EXCEPTION = re.compile(
    r"(?:[a-z_]\w*\.)*(?P<name>[A-Z]\w*(?:Error|Exception|Warning|Interrupt)|StopIteration|SystemExit)\b(?!\()"
    r"(?::\s*(?:'[^'\n]*'|\"[^\"\n]*\"|-?\d+\b))?"
)
_QUOTED = re.compile(r"(?<!\w)(?:\"([^\"\n]{0,300})\"|'([^'\n]{0,300})')(?!\w)")
_NUMBER = re.compile(r"(?<![\w.#/])-?\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?j?(?![\w/]|\.\d|-\w)")
_INCIDENTAL = re.compile(
    r"(?:lines?|version|python|v|issues?|steps?|case|option|item|page|release|column|row|chapter|section|ticket|bug|pr|on|in|since|of)\s*[#:]?\s*$",
    re.IGNORECASE,
)
_DESCRIBED = re.compile(r"\b(?:" + "|".join(re.escape(w) for w in IN_WORDS if "empty" in w) + r")\b", re.IGNORECASE)
_CODE_SPAN = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_STOP = re.compile(r"[,;(]|\b(?:when|if|for|because|but|while|whereas|although|though|since|and|on)\b|\s[-–—]\s")
_END = re.compile(r"[.!?](?=[\s\"')*]|$)")
_HEADING = re.compile(r"#{1,6}\s+\S")


def scan(text: str, callables: frozenset[str], required: dict[str, int]) -> Iterator[Token]:
    """Tokens of running text. `required` says how many arguments a known name needs, so `slug()` can be a mere name."""
    position = 0
    line_start = True
    while position < len(text):
        if text[position] == "\n":
            yield Token(Kind.NEWLINE, "\n", position, position + 1)
            position, line_start = position + 1, True
            continue
        tokens = list(_at(text, position, line_start, callables, required))
        yield from tokens
        line_start = line_start and not text[position].strip()
        if tokens:
            position = max(tokens[-1].end, position + 1)
            line_start = False
        else:
            word = re.compile(r"\w+|\s|.", re.DOTALL).match(text, position)
            assert word is not None
            if word.group().strip() and re.match(r"\w", word.group()):
                yield Token(Kind.WORD, word.group(), position, word.end())
                line_start = False
            position = word.end()


def _at(
    text: str, position: int, line_start: bool, callables: frozenset[str], required: dict[str, int]
) -> Iterator[Token]:
    """The token that begins here, if any (two for a comparison in backticks)."""
    if line_start:
        if _HEADING.match(text, position):
            yield Token(Kind.HEADING, "", position, position)
        label = LABEL.match(text, position)
        if label:
            kind = Kind.INPUT if label["input"] else Kind.EXPECTED if label["expected"] else Kind.ACTUAL
            rest = text[label.end() : (text + "\n").index("\n", label.end())]
            yield Token(kind, label["what"], position, label.end(), label=bool(rest.strip()))
            return
    for found in (
        _code(text, position, callables, required), _call(text, position, callables, required), _mark(text, position),
        _value(text, position), _cue(text, position), _name(text, position, callables),
    ):  # fmt: skip
        if found:
            yield from found
            return


def _code(text: str, position: int, callables: frozenset[str], required: dict[str, int]) -> list[Token]:
    span = _CODE_SPAN.match(text, position)
    if not span:
        return []
    inner, end = span.group(2).strip(" "), span.end()
    if not inner:
        return [Token(Kind.VALUE, "", position, end, Said(span.group(2), Form.QUOTED))]
    exception = _EXCEPTION.fullmatch(inner)
    if exception:
        return [Token(Kind.EXCEPTION, exception["name"], position, end, Said(exception["name"], Form.EXCEPTION))]
    claimed = inner.startswith("assert ")
    node = parse(inner.removeprefix("assert "))
    if (
        isinstance(node, ast.Compare)
        and _has_call(node)
        and isinstance(node.ops[0], ast.Eq | ast.Is)
        and len(node.ops) == 1
    ):
        left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
        if literal(left) is not MISSING:
            left, right = right, left
        said = Said(right, Form.CODE)
        return [
            Token(Kind.CALL, left, position, end),
            Token(Kind.EXPECTED if claimed else Kind.SHOWN, "==", end, end),
            Token(Kind.VALUE, right, end, end, said),
        ]
    if node is not None and _has_call(node) and literal(inner) is MISSING:
        return [_called(inner, position, end, required)]
    arrow = re.match(r"(.+?)\s*(?:->|=>|→|#|returns|gives)\s*(?:=>|->)?\s*(.+)$", inner, re.DOTALL)
    if arrow and (before := parse(arrow.group(1))) is not None and _has_call(before):
        said = Said(arrow.group(2), Form.REPR)
        return [
            Token(Kind.CALL, arrow.group(1), position, end), Token(Kind.SHOWN, "->", end, end),
            Token(Kind.VALUE, arrow.group(2), end, end, said),
        ]  # fmt: skip
    if re.match(r"[A-Za-z_]\w*\s*=[^=]", inner):
        return [Token(Kind.SETUP, inner, position, end)]
    call = call_at(inner)
    if call and call[1] == len(inner):
        repaired = _quote_argument(inner, callables)
        if repaired:
            return [Token(Kind.CALL, repaired, position, end)]
    last = inner.rsplit(".", 1)[-1]
    if last in callables and re.fullmatch(r"[\w.]+", inner):
        return [Token(Kind.NAME, inner, position, end, Said(inner, Form.CODE))]
    return [Token(Kind.VALUE, inner, position, end, Said(inner, Form.CODE))]


def _call(text: str, position: int, callables: frozenset[str], required: dict[str, int]) -> list[Token]:
    found = call_at(text, position)
    if not found:
        return []
    expression, end = found
    if parse(expression) is None:
        repaired = _quote_argument(expression, callables)
        return [Token(Kind.CALL, repaired, position, end)] if repaired else []
    return [_called(expression, position, end, required)]


def _called(expression: str, start: int, end: int, required: dict[str, int]) -> Token:
    bare = re.fullmatch(r"([\w.]+)\(\s*\)", expression)
    name = bare.group(1).rsplit(".", 1)[-1] if bare else ""
    if bare and required.get(name, 0) > 0:
        return Token(Kind.NAME, bare.group(1), start, end, Said(bare.group(1), Form.CODE))
    return Token(Kind.CALL, expression, start, end)


def _quote_argument(expression: str, callables: frozenset[str]) -> str:
    """`slug(A b)` → `slug('A b')`, for a known function and one argument without quotes or brackets."""
    match = re.fullmatch(r"([A-Za-z_][\w.]*)\(([^()'\"\[\]{}=]+)\)", expression)
    if not match or match.group(1).rsplit(".", 1)[-1] not in callables:
        return ""
    return f"{match.group(1)}({match.group(2).strip()!r})"


def _mark(text: str, position: int) -> list[Token]:
    stop = _STOP.match(text, position)
    end = _END.match(text, position)
    if end:
        return [Token(Kind.END, end.group(), position, end.end())]
    if (
        stop
        and not re.match(r"(?:,\s*not|and\s+not|but\s+not)\b", text[position:], re.IGNORECASE)
        and not text.startswith("(", position)
    ):
        return [Token(Kind.STOP, stop.group(), position, stop.end())]
    return []


def _value(text: str, position: int) -> list[Token]:
    boundary = position == 0 or not (text[position - 1].isalnum() or text[position - 1] == "_")
    if not boundary:
        return []
    exception = _EXCEPTION.match(text, position)
    if exception:
        return [
            Token(Kind.EXCEPTION, exception["name"], position, exception.end(), Said(exception["name"], Form.EXCEPTION))
        ]
    quoted = _QUOTED.match(text, position)
    if quoted:
        inner = quoted.group(1) if quoted.group(1) is not None else quoted.group(2)
        meant = literal(quoted.group())  # so that an escape such as \\n means what it means in Python
        inner = meant if isinstance(meant, str) else inner
        return [Token(Kind.VALUE, inner, position, quoted.end(), Said(inner, Form.QUOTED))]
    byte = re.compile(r"[bB](\"[^\"\n]*\"|'[^'\n]*')").match(text, position)
    word = re.compile(r"(?:None|True|False)\b|float\(['\"](?:nan|-?inf)['\"]\)").match(text, position)
    number = _NUMBER.match(text, position)
    described = _DESCRIBED.match(text, position)
    for match in (byte, word, number):
        if match and not (match is number and _INCIDENTAL.search(text[max(0, position - 12) : position])):
            return [Token(Kind.VALUE, match.group(), position, match.end(), Said(match.group(), Form.CODE))]
    if described:
        return [Token(Kind.VALUE, described.group(), position, described.end(), Said(described.group(), Form.BARE))]
    if text[position] in "[({":
        end = balanced(text, position)
        inner = text[position:end] if end > 0 else ""
        if inner and literal(inner) is not MISSING and (text[position] != "(" or isinstance(literal(inner), tuple)):
            return [Token(Kind.VALUE, inner, position, end, Said(inner, Form.CODE))]
    return []


def _cue(text: str, position: int) -> list[Token]:
    best: Token | None = None
    for kind, pattern in CUES:
        match = pattern.match(text, position)
        if match and match.end() > position and (best is None or match.end() > best.end):
            best = Token(kind, match.group(), position, match.end())
    return [best] if best else []


def _name(text: str, position: int, callables: frozenset[str]) -> list[Token]:
    """A function of the repository named in running text without a mark: only names that are no ordinary word."""
    if position and (text[position - 1].isalnum() or text[position - 1] in "_./"):
        return []
    word = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*").match(text, position)
    if word and word.group().rsplit(".", 1)[-1] in callables:
        return [Token(Kind.NAME, word.group(), position, word.end(), Said(word.group(), Form.BARE))]
    return []


def _has_call(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Call) for inner in ast.walk(node))
