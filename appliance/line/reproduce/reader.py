"""Reads the blocks of a report into claims: a small state machine over tokens.

It remembers the role that the next value will have (`should be` → expected, `returns` → actual), turns it round at
`instead of`, and keeps one open claim: the last call seen and what was said about it.
"""

from __future__ import annotations

import ast
import re

from appliance.line.reproduce.blocks import Block
from appliance.line.reproduce.claims import Claim, Form, Role, Said
from appliance.line.reproduce.cues import Kind
from appliance.line.reproduce.expressions import SAFE_BUILTINS, VALUE_TYPES, Hints, calls_in, parse
from appliance.line.reproduce.index import Index
from appliance.line.reproduce.tokens import Token, scan

REACH, WEAK_REACH = 7, 2
"""Words after which a cue no longer speaks for a value; after a mere `is` or `was` it is few."""
BARE_BUILTINS = frozenset(f"{name}()" for name in SAFE_BUILTINS)
_PLAIN = re.compile(r"(?:return|give|yield|raise|print|output|produce|show)(?:\s+an?|\s+the)?", re.IGNORECASE)
_ROLES = {
    Kind.EXPECTED: Role.EXPECTED,
    Kind.ACTUAL: Role.ACTUAL,
    Kind.WEAK: Role.ACTUAL,
    Kind.SHOWN: Role.SHOWN,
    Kind.INPUT: Role.INPUT,
}
_OTHER = {Role.EXPECTED: Role.ACTUAL, Role.ACTUAL: Role.EXPECTED, Role.SHOWN: Role.EXPECTED, Role.INPUT: Role.EXPECTED}


class Reader:
    """Collects claims, the set-up the report shows, and what it says about modules."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.callables = index.callables()
        self.exceptions = index.exceptions()
        self.required = {n: min(d.required for d in found) for n, found in index.definitions.items()}
        self.claims: list[Claim] = []
        self.claim = Claim()
        self.setup: list[str] = []
        self.aliases: dict[str, str] = {}
        self.modules: set[str] = set()
        self.frames: list[tuple[str, int, str]] = []
        self.role = Role.NONE
        self.last = Role.NONE
        self.roughly = False
        self._reach = REACH
        self._loose: Said | None = None
        self._words = 0
        self._bare_from = -1
        self._label = False
        self._previous = Kind.END
        self._joined = False

    # ---- running text

    def prose(self, text: str, role: Role = Role.NONE) -> None:
        """Read running text; `role` is what a first value without a word about it is."""
        if role != Role.NONE:
            self._expect(role, 0, label=True)
        for token in scan(text, self.callables, self.required):
            self._take(token, text)
            if token.kind not in (Kind.NEWLINE, Kind.WORD):
                self._previous = token.kind
        self._settle(text, len(text))

    def _take(self, token: Token, text: str) -> None:
        kind = token.kind
        if kind == Kind.WORD:
            self._words += 1
            self._joined = token.text.lower() in {"and", "or"}
        elif kind in (Kind.EXPECTED, Kind.ACTUAL, Kind.INPUT, Kind.SHOWN, Kind.WEAK, Kind.FLIP):
            self._settle(text, token.start)
            self._cue(token)
        elif kind == Kind.CALL and token.text in BARE_BUILTINS:
            self._words += 1  # `min() arg is an empty sequence` is a message, not an example
        elif kind == Kind.CALL and self._is_value(token.text):
            self._give(self.role, Said(token.text, Form.CODE))
        elif kind == Kind.CALL:
            self._settle(text, token.start)
            self.call(token.text)
        elif kind in (Kind.VALUE, Kind.EXCEPTION):
            self._value(token, text)
        elif kind == Kind.NAME and token.text.rsplit(".", 1)[-1] in self.exceptions:
            said = Said(token.text, Form.EXCEPTION)
            self._value(Token(Kind.EXCEPTION, token.text, token.start, token.end, said), text)
        elif kind == Kind.NAME:
            self._named(token, text)
        else:
            self._mark(token, text)

    def _is_value(self, call: str) -> bool:
        """Whether a call only makes a value, as in `should return Money(1250)`, and a cue just asked for one."""
        name = call.partition("(")[0].rsplit(".", 1)[-1]
        classes = any(found.kind == "class" for found in self.index.definitions.get(name, ()))
        asked = self.role in (Role.EXPECTED, Role.ACTUAL) and self._words <= WEAK_REACH
        return asked and self._previous in _ROLES and bool(self.claim.calls) and (classes or name in VALUE_TYPES)

    def _only_words_expected(self) -> bool:
        said = self.claim.expected
        return self.last == Role.EXPECTED and said is not None and said.form == Form.BARE

    def _cue(self, token: Token) -> None:
        role = _ROLES.get(token.kind) or (_OTHER.get(self.last, Role.EXPECTED))
        if token.kind == Kind.FLIP and re.search(r"expected|correct|right|documented", token.text, re.IGNORECASE):
            role = Role.EXPECTED
        pending = self.role == Role.EXPECTED and self._words <= self._reach
        if token.kind in (Kind.WEAK, Kind.SHOWN) and pending:
            return
        if token.kind == Kind.WEAK and not (self.claim.calls or self.claim.function):
            return  # `shipping is charged at 50 euros` speaks of no call yet
        if token.kind == Kind.ACTUAL and pending and self._previous == Kind.CALL:
            role = Role.EXPECTED  # `the manual says f(1) returns 2`
        if token.kind == Kind.ACTUAL and _PLAIN.fullmatch(token.text) and (pending or self._only_words_expected()):
            role = Role.EXPECTED  # `it should keep the order and return [2]`
        if token.kind == Kind.INPUT and self.claim.calls and not self.claim.empty:
            self.flush()
        starts_anew = token.kind == Kind.INPUT and bool(self.claim.inputs) and not self.claim.empty
        if starts_anew:
            self.flush()
        self._expect(role, token.end if token.kind != Kind.WEAK else -1, token.label)
        self._reach = WEAK_REACH if token.kind == Kind.WEAK else REACH

    def _expect(self, role: Role, bare_from: int, label: bool = False) -> None:
        self.role, self._words, self._bare_from, self._label = role, 0, bare_from, label
        self._reach = REACH

    def _value(self, token: Token, text: str) -> None:
        assert token.said is not None
        said = Said(token.said.text, token.said.form, self.roughly)
        if self.role == Role.INPUT and self._label:
            self._settle(text, (text + "\n").index("\n", token.start))
            return
        if token.kind == Kind.EXCEPTION:
            told = self.role in (Role.EXPECTED, Role.ACTUAL) and self._words <= self._reach
            role = self.role if told else Role.ACTUAL
            self._give(role, said)
        elif self.role != Role.NONE and self._words <= self._reach:
            self._give(self.role, said)
        elif not self.claim.calls and self.claim.function:
            self.claim.inputs.append(said)
            self._loose = said
        else:
            self._loose = said
        self.roughly = False

    def _give(self, role: Role, said: Said) -> None:
        current = getattr(self.claim, role.value, None) if role != Role.INPUT else None
        if isinstance(current, Said) and current.form == Form.BARE and said.form != Form.BARE:
            setattr(self.claim, role.value, said)
        else:
            self.claim.give(role, said)
        self.last, self.role, self._bare_from, self._label = role, Role.NONE, -1, False
        self._words = 0

    def _named(self, token: Token, text: str) -> None:
        """A function named without arguments."""
        assert token.said is not None
        marked = token.said.form == Form.CODE
        if (
            self.role in (Role.EXPECTED, Role.ACTUAL)
            and marked
            and not self._words
            and "(" not in text[token.start : token.end]
        ):
            self._give(self.role, Said(token.text, Form.CODE))
            return
        if self.claim.calls or self._label:
            return
        if self.claim.function and self.claim.function != token.text and not self.claim.empty:
            self.flush()
        if not self.claim.function or marked:
            self.claim.function = token.text

    def _mark(self, token: Token, text: str) -> None:
        kind = token.kind
        if kind == Kind.NEWLINE:
            if self._label:
                self._settle(text, token.start)
            return
        if kind == Kind.STOP:
            if not self._label:
                self._settle(text, token.start)
            self._joined = token.text.strip() in {",", "and"}
            return
        if kind == Kind.SETUP:
            self.setup.append(token.text)
        elif kind == Kind.ROUGHLY:
            self.roughly = True
        elif kind == Kind.HANG:
            self._settle(text, token.start)
            self.claim.hangs = True
            self.role = Role.NONE
        elif kind in (Kind.WAS_EXPECTED, Kind.WAS_ACTUAL):
            self._judged(Role.EXPECTED if kind == Kind.WAS_EXPECTED else Role.ACTUAL)
        elif kind in (Kind.END, Kind.HEADING) and not (kind == Kind.END and self._label):
            self._settle(text, token.start)
            self.role = Role.NONE

    def _judged(self, role: Role) -> None:
        """Words after a value say which it was: the last value without a role, else one that was only shown."""
        if self._loose is not None:
            if self.claim.inputs and self.claim.inputs[-1] is self._loose:
                self.claim.inputs.pop()
            self._give(role, self._loose)
            self._loose = None
        elif self.last == Role.SHOWN and self.claim.shown is not None:
            said, self.claim.shown = self.claim.shown, None
            self._give(role, said)

    def _settle(self, text: str, end: int) -> None:
        """End of what a cue can speak for: words without a mark become its value when nothing else did."""
        start, self._bare_from = self._bare_from, -1
        label, self._label = self._label, False
        if start < 0 or self.role == Role.NONE:
            return
        words = text[start:end].strip().strip("*").strip()
        words = words if label else words.rstrip(".:")
        words = words.strip("`") if words.count("`") == 2 else words
        if not words:
            return
        if self.role == Role.INPUT:
            self._input(words)
        elif len(words) <= 80 and "\n" not in words:
            self._give(self.role, Said(words, Form.BARE))
            return
        self.role = Role.NONE

    def _input(self, words: str) -> None:
        node = parse(words)
        if node is not None and any(True for _ in calls_in(node)):
            self.call(words)
        else:
            self.claim.inputs.append(Said(words, Form.CODE))

    # ---- calls

    def call(self, expression: str, setup: tuple[str, ...] | None = None) -> None:
        """A call was read: it opens a claim, joins the open one, or gives it the call it lacked."""
        joined = self._joined and self._previous == Kind.CALL
        if self.claim.calls and not self.claim.empty:
            self.flush()
        if self.claim.calls and not joined:
            self.claim.calls.clear()
        self.claim.calls.append(expression)
        self.claim.setup = tuple(self.setup) if setup is None else setup
        self._loose = None
        self._previous = Kind.CALL

    def flush(self) -> None:
        """Put the open claim away and open a new one that remembers the function named."""
        if self.claim.calls or not self.claim.empty or self.claim.inputs:
            self.claims.append(self.claim)
        self.claim = Claim(function=self.claim.function)

    def finish(self) -> list[Claim]:
        """All claims read."""
        self.flush()
        return self.claims

    def hints(self) -> Hints:
        return Hints(frozenset(self.modules), tuple(self.aliases.items()))

    # ---- blocks other than text and code

    def traceback(self, block: Block) -> None:
        """A traceback gives the exception, and a call when the words gave none."""
        self.frames += [(f.path, f.line, f.function) for f in block.frames]
        if not self.claim.calls:
            for frame in block.frames:
                call = self._call_in_source(frame.source)
                if call:
                    self.call(call)
                    break
        if block.exception:
            self._give(Role.ACTUAL, Said(block.exception, Form.EXCEPTION))

    def _call_in_source(self, source: str) -> str:
        """The outermost call of a known function whose arguments are all literal, as text."""
        from_assignment = re.sub(r"^(?:[\w.]+\s*=\s*|return\s+|assert\s+|raise\s+)", "", source)
        node = parse(from_assignment)
        for call in calls_in(node) if node is not None else []:
            text = from_assignment[call.col_offset : call.end_col_offset]
            name = re.match(r"(?:\w+\.)*(\w+)\(", text)
            arguments = [*call.args, *(k.value for k in call.keywords)]
            literal_arguments = not any(isinstance(inner, ast.Name) for a in arguments for inner in ast.walk(a))
            if name and name.group(1) in self.callables and literal_arguments:
                return text
        return ""

    def failure(self, block: Block) -> None:
        """What pytest prints under a failing assertion: `assert ACTUAL == EXPECTED`, `where ACTUAL = CALL`."""
        text = re.sub(r"^\s*E", "", block.text, flags=re.MULTILINE)
        where = re.search(r"where\s+(?P<actual>.+?)\s+=\s+(?P<call>[A-Za-z_][\w.]*\(.*\))\s*$", text, re.MULTILINE)
        compared = re.search(r"assert\s+(?P<left>.+?)\s+==\s+(?P<right>.+?)\s*$", text, re.MULTILINE)
        if where and compared:
            self.call(where["call"])
            self._give(Role.ACTUAL, Said(where["actual"], Form.REPR))
            other = compared["right"] if compared["left"] == where["actual"] else compared["left"]
            self._give(Role.EXPECTED, Said(other, Form.REPR))

    def table(self, block: Block) -> None:
        """A table with a column for the call (or the arguments) and one for what is expected."""
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.text.split("\n")]
        roles = [_column(cell) for cell in rows[0]]
        if Role.EXPECTED not in roles:
            return
        for row in rows[2:]:
            if len(row) == len(rows[0]):
                self._row(rows[0], roles, row)

    def _row(self, header: list[str], roles: list[Role], row: list[str]) -> None:
        self.flush()
        for name, role, cell in zip(header, roles, row, strict=True):
            text = cell.strip("`").strip()
            node = parse(text)
            if role in (Role.EXPECTED, Role.ACTUAL):
                exception = re.fullmatch(r"(?:raises\s+)?`?([A-Z]\w*(?:Error|Exception))`?", text)
                said = Said(exception.group(1), Form.EXCEPTION) if exception else Said(text, Form.CODE)
                if text:
                    self._give(role, said)
            elif node is not None and calls_in(node):
                self.call(text)
            elif role == Role.INPUT:
                self.claim.inputs.append(Said(text, Form.CODE))
            elif name.strip("`") in self._parameters():
                self.claim.inputs.append(Said(f"{name.strip('`')}={text}", Form.CODE))
        self.flush()

    def _parameters(self) -> frozenset[str]:
        found = self.index.definitions.get(self.claim.function.rsplit(".", 1)[-1], ())
        return frozenset(p for d in found for p in d.parameters)


def _column(header: str) -> Role:
    name = header.strip("`* ").lower()
    if re.match(r"expect|should|want|correct", name):
        return Role.EXPECTED
    if re.match(r"actual|got|current|returned|result|output|observed|is$|now", name):
        return Role.ACTUAL
    return Role.INPUT if re.match(r"input|call|argument|example|expression|code|case|value$", name) else Role.NONE
