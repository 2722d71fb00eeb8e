"""Reads a model's answer into edits. The protocol is text, because small models break JSON and tool calls.

An answer may hold, in fences or without them::

    path/to/file.py
    <<<<<<< SEARCH
    lines as they are
    =======
    lines as they should be
    >>>>>>> REPLACE

or a path (with `::name` for one function or class) followed by a fence with its whole new text. A line that starts
with CANNOT: says that the model gives up. The reader forgives what models vary: where the path stands, how it is
marked, how long the markers are. What it cannot read it names, so that the model can try again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_EDITS = 40
"""Edits read from one answer; more is no repair."""

_THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_FENCE = re.compile(r"^\s*(?P<mark>`{3,}|~{3,})\s*(?P<info>[^`\n]*)$")
_SEARCH = re.compile(r"^\s*<{5,9}\s*(?:SEARCH|ORIGINAL|HEAD)\b.*$")
_DIVIDER = re.compile(r"^={7}\s*$")
_REPLACE = re.compile(r"^\s*>{5,9}\s*(?:REPLACE|UPDATED)\b.*$")
_PATH = re.compile(
    r"^[\s#*>`\"'-]*(?:(?:FILE|PATH|FUNCTION|CLASS|IN|EDIT|UPDATE)\b:?[\s*`]*)?"
    r"(?P<path>(?:~?[/\\])?(?:[\w.@+-]+[/\\])*[\w.@+-]*[\w-])(?:::(?P<name>\w+(?:\.\w+)*))?[`*\"':\s]*$",
    re.IGNORECASE,
)
_CANNOT = re.compile(r"^[^\w\n]*CANNOT:[ \t]*(?P<why>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Replace:
    """Lines of a file to find, and what to put in their place."""

    path: str
    search: str
    replace: str


@dataclass(frozen=True)
class Whole:
    """The whole new text of a file, or with `name` of one function or class in it."""

    path: str
    content: str
    name: str = ""


Edit = Replace | Whole


@dataclass(frozen=True)
class Answer:
    """What an answer holds. `problem` says what about it cannot be used; then no edit of it counts."""

    edits: tuple[Edit, ...] = ()
    problem: str = ""
    words: str = ""
    """What stands outside the edits: for people, never for code."""
    cannot: str = ""


def read(text: str, default_path: str = "") -> Answer:
    """The edits of an answer. `default_path` is taken where the answer names no file."""
    reader = _Reader(_THINKING.sub("", text).replace("\r\n", "\n").split("\n"), default_path)
    reader.run()
    words = " ".join(" ".join(reader.words).split())
    given_up = _CANNOT.search("\n".join(reader.words))
    if reader.problem:
        return Answer(problem=reader.problem, words=words)
    if len(reader.edits) > MAX_EDITS:
        return Answer(problem=f"the answer holds {len(reader.edits)} edits; at most {MAX_EDITS} are taken", words=words)
    if reader.edits:
        return Answer(tuple(reader.edits), words=words)
    if given_up:
        return Answer(words=words, cannot=given_up["why"].strip()[:300])
    return Answer(problem="the answer holds no edit: name a file, then give a SEARCH/REPLACE block", words=words)


class _Reader:
    """Walks over the lines once; remembers the last path named."""

    def __init__(self, lines: list[str], default_path: str) -> None:
        self.lines = lines
        self.default = default_path
        self.path = self.name = self.last = ""
        self.at = 0
        self.fence = ""
        """Mark of the fence that the blocks being read stand in."""
        self.edits: list[Edit] = []
        self.words: list[str] = []
        self.problem = ""

    def run(self) -> None:
        """Read all lines, or stop at the first problem."""
        while self.at < len(self.lines) and not self.problem:
            line = self.lines[self.at]
            fence = _FENCE.match(line)
            if self.fence and line.strip() == self.fence:
                self.fence = ""
                self.at += 1
            elif _SEARCH.match(line):
                self._block()
            elif fence:
                self._fence(fence["mark"], fence["info"].strip())
            else:
                if not self._named(line):
                    self.words.append(line)
                self.at += 1

    def _named(self, line: str) -> bool:
        """Take a line that is only a path as the name of what follows."""
        found = _path_in(line)
        if found:
            self.path, self.name = found
        return found is not None

    def _block(self) -> None:
        """One SEARCH/REPLACE block; `at` stands on its first marker."""
        start = self.at + 1
        divider = self._next(_DIVIDER, start)
        end = self._next(_REPLACE, start if divider is None else divider + 1)
        if divider is None or end is None or any(_SEARCH.match(line) for line in self.lines[start:end]):
            self.problem = "a SEARCH/REPLACE block is not complete: it needs its ======= and >>>>>>> REPLACE lines"
            return
        path = self.path or self.last or self.default
        if not path:
            self.problem = "a SEARCH/REPLACE block names no file: write its path on the line before"
            return
        search = "\n".join(self.lines[start:divider])
        replace = "\n".join(self.lines[divider + 1 : end])
        self.edits.append(Replace(path, search, replace))
        self.path, self.last = "", path  # more blocks may follow for it, but no whole text
        self.at = end + 1

    def _next(self, pattern: re.Pattern[str], start: int) -> int | None:
        return next((n for n in range(start, len(self.lines)) if pattern.match(self.lines[n])), None)

    def _fence(self, mark: str, info: str) -> None:
        """A fence: its blocks, or whole code for the path named before it, in its info or on its first line."""
        self._named(info.partition(":")[2] or info.partition(" ")[2])
        first = self.at + 1
        if self._opens_with_block(first):
            self.at, self.fence = first, mark
            return
        end = self._closing(mark, first)
        inside = self.lines[first:end]
        if inside and self._named(inside[0]):
            inside = inside[1:]
        self.at = (len(self.lines) if end is None else end) + 1
        self._whole(inside, closed=end is not None, code=_is_code(info, inside))

    def _opens_with_block(self, first: int) -> bool:
        """Whether a fence begins with a block, perhaps after a line with its path."""
        for n in range(first, min(first + 3, len(self.lines))):
            if _SEARCH.match(self.lines[n]):
                for line in self.lines[first:n]:
                    self._named(line)
                return True
            if self.lines[n].strip() and _path_in(self.lines[n]) is None:
                return False
        return False

    def _closing(self, mark: str, first: int) -> int | None:
        return next((n for n in range(first, len(self.lines)) if self.lines[n].strip() == mark), None)

    def _whole(self, inside: list[str], closed: bool, code: bool) -> None:
        path, name = self.path, self.name
        self.path, self.name = "", ""  # a second fence without a path is an explanation
        if not path:
            self.words += inside
            return
        if not code:
            self.problem = f"what is given for {path} is a diff or a session; give the new text itself"
        elif not closed:
            self.problem = f"the new text of {path} is not complete: its fence never closes"
        elif any(line.strip() for line in inside):
            self.edits.append(Whole(path, "\n".join(inside) + "\n", name))
        else:
            self.problem = f"the new text of {path} is empty"


def _path_in(line: str) -> tuple[str, str] | None:
    """Path and name of a line that is nothing else. One word is a path only with an ending, so that prose is none."""
    found = _PATH.match(line)
    if not found:
        return None
    path = found["path"].replace("\\", "/")
    is_path = "/" in path or re.search(r"\.[A-Za-z]\w{0,7}$", path)
    return (path, found["name"] or "") if is_path else None


def _is_code(info: str, inside: list[str]) -> bool:
    """A diff or an interactive session shows a change; it is not one of the ways to make it."""
    shown = info.split(" ")[0].lower() in {"diff", "patch", "pycon", "console"}
    return not shown and not any(line.startswith(("@@ ", ">>> ", "--- a/")) for line in inside[:3])
