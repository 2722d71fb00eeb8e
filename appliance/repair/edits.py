"""An edit: spans of one file replaced, everything else kept as written."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Span = tuple[int, int, str]
"""Start and end in characters of the source as it was, and the new text."""


@dataclass(frozen=True)
class Edit:
    """One candidate change. `spans` by file do not overlap; `line` and `function` say where the change is."""

    path: str
    spans: tuple[Span, ...]
    template: str
    line: int
    function: str = ""
    score: float = 0.0
    also: tuple[Edit, ...] = ()
    """Further edits of a pair, in this or other files."""
    traits: Mapping[str, float] = field(default_factory=dict, compare=False, hash=False)
    found: int = field(default=0, compare=False)
    """Edits that had been tried when it passed, itself counted; 0 while it has not."""

    @property
    def all(self) -> tuple[Edit, ...]:
        return (self, *self.also)

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(edit.path for edit in self.all))

    def wire(self) -> list[list[object]]:
        """As the runner wants it."""
        return [[edit.path, start, end, new] for edit in self.all for start, end, new in edit.spans]

    @property
    def key(self) -> tuple[tuple[str, Span], ...]:
        """Equal for edits that change the same text in the same way."""
        return tuple(sorted((edit.path, span) for edit in self.all for span in edit.spans))

    def names(self) -> str:
        return " + ".join(edit.template for edit in self.all)


def replaced(text: str, spans: Sequence[Span]) -> str:
    """The text with spans replaced."""
    for start, end, new in sorted(spans, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def new_contents(edit: Edit, sources: Mapping[str, str]) -> dict[str, str]:
    """Every changed file's whole new text."""
    spans: dict[str, list[Span]] = {}
    for part in edit.all:
        spans.setdefault(part.path, []).extend(part.spans)
    return {path: replaced(sources[path], found) for path, found in spans.items()}


def overlap(one: Edit, other: Edit) -> bool:
    """Whether two edits touch the same text, so that they cannot be made together."""
    return one.path == other.path and any(a[0] <= b[1] and b[0] <= a[1] for a in one.spans for b in other.spans)


def unified(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """One unified diff over all files, as git writes and applies it."""
    parts: list[str] = []
    for path in sorted(new):
        parts.append(f"diff --git a/{path} b/{path}\n")
        lines = difflib.unified_diff(_lines(old[path]), _lines(new[path]), f"a/{path}", f"b/{path}")
        for line in lines:
            parts.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(parts)


def _lines(text: str) -> list[str]:
    """Lines as diffs count them: only a newline ends one."""
    parts = text.split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
