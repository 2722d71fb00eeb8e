"""Unified diffs between a tree and new contents of some of its files. Pure text, as `git apply` reads it."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from appliance.work import Noun, WorkItem

NO_NEWLINE = "\\ No newline at end of file\n"


class DiffStat(Noun):
    """How large a diff is, and which paths it touches."""

    files: tuple[str, ...]
    insertions: int
    deletions: int


def diff_of(tree: Path, files: Mapping[str, str]) -> str:
    """What turns the tree's files into `files` (path → whole new content); new files included."""
    pieces = []
    for path in sorted(files):
        old = tree / path
        before = old.read_text(encoding="utf-8") if old.is_file() else None
        if before != files[path]:
            pieces.append(_one(path, before, files[path]))
    return "".join(pieces)


def _one(path: str, before: str | None, after: str) -> str:
    head = [f"diff --git a/{path} b/{path}\n"]
    if before is None:
        head.append("new file mode 100644\n")
    lines = difflib.unified_diff(
        (before or "").splitlines(keepends=True),
        after.splitlines(keepends=True),
        "/dev/null" if before is None else f"a/{path}",
        f"b/{path}",
    )
    body = (line if line.endswith("\n") else f"{line}\n{NO_NEWLINE}" for line in lines)
    return "".join([*head, *body])


def stat_of(diff: str) -> DiffStat:
    """Count a diff's lines and name its paths (both sides of a rename)."""
    paths: list[str] = []
    insertions = deletions = 0
    in_hunk = False
    for line in diff.splitlines():
        header = re.match(r"diff --git a/(.+) b/(.+)$", line)
        if header:
            in_hunk = False
            paths += header.groups()
        elif line.startswith("@@"):
            in_hunk = True
        elif in_hunk and line.startswith("+"):
            insertions += 1
        elif in_hunk and line.startswith("-"):
            deletions += 1
    return DiffStat(files=tuple(dict.fromkeys(paths)), insertions=insertions, deletions=deletions)


def fingerprint(diff: str) -> str:
    """SHA-256 (hex) by which a refused diff is recognised."""
    return hashlib.sha256(diff.encode()).hexdigest()


def refusals(item: WorkItem) -> tuple[str, ...]:
    """Fingerprints of the refused change: of the whole, and of the candidate's own edit that build compares."""
    assert item.change is not None and item.plan is not None
    diffs = [item.change.diff]
    diffs += [
        candidate.diff
        for attempt in item.attempts[-1:]
        for candidate in attempt.candidates
        if item.change.diff.startswith(candidate.diff)
    ]
    return tuple(fingerprint(diff) for diff in diffs)
