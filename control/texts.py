"""Two texts compared, as rows of a diff. Pure."""

from __future__ import annotations

from difflib import unified_diff

from control.diff import Row, rows
from control.painting import painted


def compared(before: str, after: str, name: str) -> list[Row]:
    """What `after` changes in `before`; none when they are the same.

    >>> [(row.kind, row.text) for row in compared("a\\n", "b\\n", "x")][-2:]
    [('del', 'a'), ('add', 'b')]
    """
    lines = unified_diff(before.splitlines(), after.splitlines(), f"{name}.toml", f"{name}.toml", lineterm="")
    return [row for row in painted(rows("\n".join(lines))[0]) if row.kind != "file"]
