"""A change as a unified diff that `git apply` takes. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from appliance.droids.edits import Reading
from appliance.droids.lines import split_lines

NO_NEWLINE = "\\ No newline at end of file\n"


def diff_of(reading: Reading, files: Mapping[str, str]) -> str:
    """What turns the old files into `files` (path → whole new content), new files included."""
    pieces = []
    for path in sorted(files):
        before = reading(path)
        if before != files[path]:
            pieces.append(_one(path, before, files[path]))
    return "".join(pieces)


def _one(path: str, before: str | None, after: str) -> str:
    head = f"diff --git a/{path} b/{path}\n" + ("new file mode 100644\n" if before is None else "")
    lines = difflib.unified_diff(
        split_lines(before or ""), split_lines(after), "/dev/null" if before is None else f"a/{path}", f"b/{path}"
    )
    return head + "".join(line if line.endswith("\n") else f"{line}\n{NO_NEWLINE}" for line in lines)


def changed_lines(diff: str) -> int:
    """Lines added and removed."""
    body = (line for line in diff.split("\n") if not line.startswith(("+++", "---")))
    return sum(line.startswith(("+", "-")) for line in body)
