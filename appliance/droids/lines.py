"""Lines of a text: found exactly or forgiving white space, replaced, or the nearest ones to show. Pure."""

from __future__ import annotations

import difflib
from collections import Counter

SHOWN = 14
"""Lines of the nearest region that are shown at most."""
SEARCHED = 20_000
"""Lines of a file that the search for the nearest region looks at."""


def split_lines(text: str) -> list[str]:
    """Lines with their ends. Only a line feed ends a line, so that joining gives the text back as it was."""
    lines = text.split("\n")
    last = lines.pop()
    ended = [f"{line}\n" for line in lines]
    return [*ended, last] if last else ended


def trimmed(text: str) -> list[str]:
    """Lines without empty ones at both ends, which models add and drop at will."""
    lines = text.split("\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def spliced(lines: list[str], start: int, end: int, new: list[str]) -> str:
    """`lines` (with their ends) with [start, end) replaced; new lines end as the old ones do."""
    mark = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    ended = [line + mark for line in new]
    if ended and end == len(lines) and lines and not lines[-1].endswith("\n"):
        ended[-1] = new[-1]
    return "".join([*lines[:start], *ended, *lines[end:]])


def matches(lines: list[str], search: list[str]) -> list[int]:
    """Indexes where `search` stands in `lines`: exactly, else but for white space at ends, else but for indentation."""
    exact = _where([line.rstrip("\r\n") for line in lines], search)
    if exact:
        return exact
    trailing = _where([line.rstrip() for line in lines], [line.rstrip() for line in search])
    if trailing:
        return trailing
    loose = _where([line.strip() for line in lines], [line.strip() for line in search])
    return [n for n in loose if shift(lines, n, search) is not None]


def _where(lines: list[str], search: list[str]) -> list[int]:
    if not search:
        return []
    return [n for n in range(len(lines) - len(search) + 1) if lines[n : n + len(search)] == search]


def shift(lines: list[str], start: int, search: list[str]) -> int | str | None:
    """By how much the file is indented more than `search`: text to put before, or a negative count to take away.

    None when lines differ by different amounts: then the block does not mean the same.
    """
    found: set[int | str] = set()
    for line, sought in zip(lines[start:], search, strict=False):
        if sought.strip():
            ours, theirs = indent(line), indent(sought)
            if ours.endswith(theirs):
                found.add(ours.removesuffix(theirs))
            elif theirs.endswith(ours):
                found.add(len(ours) - len(theirs))
            else:
                return None
    return found.pop() if len(found) == 1 else None


def shifted(lines: list[str], by: int | str | None) -> list[str]:
    """Lines indented by a text, or with `-by` characters of indentation taken away where they have them."""
    if isinstance(by, str):
        return [by + line if line.strip() else line for line in lines]
    cut = -(by or 0)
    return [line[min(cut, len(indent(line))) :] for line in lines]


def indent(line: str) -> str:
    """The white space a line begins with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def closest(lines: list[str], search: list[str]) -> str:
    """The region most like `search`, with line numbers from 1."""
    if not lines:
        return "(the file is empty)"
    plain = [line.strip() for line in lines[:SEARCHED]]
    size = max(1, len(search))
    wanted = Counter(line.strip() for line in search if line.strip())
    first = next(iter(wanted), "")
    starts = range(max(1, len(plain) - size + 1))
    shared = {n: sum((Counter(plain[n : n + size]) & wanted).values()) for n in starts}
    likely = sorted(starts, key=lambda n: (-shared[n], n))[:20]
    likely += sorted(starts, key=lambda n: -difflib.SequenceMatcher(None, plain[n], first).quick_ratio())[:20]
    text = "\n".join(line.strip() for line in search)
    best = max(likely, key=lambda n: difflib.SequenceMatcher(None, "\n".join(plain[n : n + size]), text).ratio())
    begin, end = max(0, best - 2), min(len(lines), best + min(size, SHOWN) + 2)
    return "\n".join(f"{n + 1:>5}  {lines[n].rstrip()}" for n in range(begin, end))
