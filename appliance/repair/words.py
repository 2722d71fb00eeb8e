"""Edits and behaviour in words for people."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.repair.edits import Edit, new_contents
from appliance.repair.source import Source

LONGEST = 100


def why(edit: Edit, sources: Mapping[str, Source]) -> str:
    """One sentence on what an edit changes: "line 12 of slug.py: `<` becomes `<=`"."""
    return "; ".join(_one(part, sources[part.path]) for part in edit.all)


def _one(edit: Edit, source: Source) -> str:
    place = f"line {line_of(edit, source)} of {edit.path}"
    if len(edit.spans) == 1:
        start, end, new = edit.spans[0]
        old = source.text[start:end]
        short = f"`{old}` becomes `{new}`"
        if not old.strip():
            return f"{place}: {_quoted(new)} is inserted"
        if not new.strip():
            return f"{place}: {_quoted(old)} is deleted"
        if max(len(old), len(new)) <= 30 and "\n" not in old + new:
            return f"{place}: {short} in {_quoted(source.line(line_of(edit, source)))}"
    old_text, new_text = (
        source.text,
        new_contents(Edit(edit.path, edit.spans, "", 0), {edit.path: source.text})[edit.path],
    )
    old_lines, new_lines = changed_lines(old_text, new_text)
    if old_lines and new_lines:
        return f"{place}: {_quoted(old_lines)} becomes {_quoted(new_lines)}"
    return f"{place}: {_quoted(new_lines)} is inserted" if new_lines else f"{place}: {_quoted(old_lines)} is deleted"


def line_of(edit: Edit, source: Source) -> int:
    """The line of an edit's first changed character."""
    return source.text.count("\n", 0, min(start for start, _, _ in edit.spans)) + 1


def changed_lines(old: str, new: str) -> tuple[str, str]:
    """The lines that differ, common beginning and end left out."""
    before, after = old.split("\n"), new.split("\n")
    first = 0
    while first < min(len(before), len(after)) and before[first] == after[first]:
        first += 1
    last = 0
    while last < min(len(before), len(after)) - first and before[-1 - last] == after[-1 - last]:
        last += 1
    return "\n".join(before[first : len(before) - last]), "\n".join(after[first : len(after) - last])


def _quoted(text: str) -> str:
    """One line of code in backquotes."""
    line = " ⏎ ".join(part.strip() for part in text.strip("\n").split("\n"))
    return f"`{line if len(line) <= LONGEST else line[:LONGEST] + '…'}`"
