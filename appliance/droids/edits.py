"""Applies edits to sources. Pure: a function gives the old text; new texts come back, or what is wrong.

All edits of an answer count together: one that cannot be applied refuses them all, in words a model can act on. What
an edit does not name stays as it was, byte for byte.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import PurePosixPath

from appliance.droids import definitions
from appliance.droids.answer import Edit, Replace, Whole
from appliance.droids.lines import closest, matches, shift, shifted, spliced, split_lines, trimmed

MAX_BYTES = 1_000_000
Reading = Callable[[str], str | None]
"""Path → the file's text, None when there is none. Raises nothing."""

_ELIDED = re.compile(
    r"^\s*(?:#|//)\s*(?:\.\.\.|…)|^\s*(?:\.\.\.|…)\s*\(?(?:rest|remaining|existing|unchanged|same|other|previous)\b"
    r"|^\s*#.*\b(?:rest of (?:the )?(?:code|file|function|class)|existing code|remains? (?:the same|unchanged))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Applied:
    """New texts by path; none, with the `problem`, when the edits were refused."""

    files: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def apply(edits: Sequence[Edit], reading: Reading, protected: Sequence[str] = (), whole_lines: int = 150) -> Applied:
    """Apply edits in order. `whole_lines` is the longest file or definition that may be written anew."""
    files: dict[str, str] = {}
    for edit in edits:
        path = edit.path.removeprefix("./")
        problem = refusal(path, protected)
        if problem:
            return Applied(problem=problem)
        old = files[path] if path in files else reading(path)
        if isinstance(edit, Replace):
            new, problem = _replaced(old, edit, path)
        else:
            new, problem = _whole(old, edit, path, whole_lines)
        problem = problem or unfit(path, new)
        if problem:
            return Applied(problem=problem)
        files[path] = new
    changed = {path: text for path, text in files.items() if text != reading(path)}
    return Applied(changed) if changed else Applied(problem="the edits leave every file as it is")


def refusal(path: str, protected: Sequence[str]) -> str:
    """Why a path may not be edited; "" when it may."""
    pure = PurePosixPath(path)
    outside = pure.is_absolute() or ".." in pure.parts or path.startswith("~")
    if outside or not path.isprintable() or re.search(r'[\\:"\s]', path) or path in {"", "."}:
        return f"{path!r} is not a path inside the repository"
    if ".git" in (part.lower() for part in pure.parts):
        return f"{path} belongs to git"
    if any(fnmatch(path.lower(), pattern.lower()) for pattern in protected):
        return f"{path} is protected: a change may not touch it"
    if is_test(path):
        return f"{path} belongs to the tests: the code must be mended, not what judges it"
    return ""


def is_test(path: str) -> bool:
    """Whether a file takes part in judging a change."""
    pure = PurePosixPath(path.lower())
    in_tests = any(part in {"test", "tests", "testing"} for part in pure.parts[:-1])
    return in_tests or pure.name == "conftest.py" or fnmatch(pure.name, "test_*.py") or pure.name.endswith("_test.py")


def unfit(path: str, text: str) -> str:
    """What keeps a new text from being taken at all; "" when nothing does."""
    if len(text) > MAX_BYTES or "\0" in text:
        return f"{path} would be larger than {MAX_BYTES} bytes, or binary"
    if not path.endswith(".py"):
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text.removeprefix("\ufeff"))
    except SyntaxError as error:
        lines = text.split("\n")
        shown = lines[error.lineno - 1].strip() if error.lineno and error.lineno <= len(lines) else ""
        return f"{path} would not be Python any more: {error.msg}, line {error.lineno}: {shown[:120]}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"{path} would not be Python any more: {error}"
    return ""


def _replaced(old: str | None, edit: Replace, path: str) -> tuple[str, str]:
    if old is None:
        return "", f"{path} does not exist, so there is nothing to find in it"
    lines, search = split_lines(old), edit.search.split("\n")
    if not edit.search.strip():
        return "", f"the SEARCH part for {path} is empty: it must hold the lines to replace, as they are"
    found, new = matches(lines, search), edit.replace.split("\n") if edit.replace else []
    if not found:
        search, new = trimmed(edit.search), trimmed(edit.replace)
        found = matches(lines, search)
    if not found:
        return "", f"the SEARCH part is not in {path}. The nearest lines there are:\n{closest(lines, search)}"
    if len(found) > 1:
        places = ", ".join(str(n + 1) for n in found[:6])
        return "", f"the SEARCH part is at several places in {path} (lines {places}): add lines that tell them apart"
    return spliced(lines, found[0], found[0] + len(search), shifted(new, shift(lines, found[0], search))), ""


def _whole(old: str | None, edit: Whole, path: str, whole_lines: int) -> tuple[str, str]:
    content = edit.content
    elided = next((line.strip() for line in content.split("\n") if _ELIDED.match(line)), "")
    if elided and (old is None or elided not in old):
        return "", f"the new text of {path} leaves something out ({elided[:60]}): give all of it, or SEARCH/REPLACE"
    if old is None:
        return ("", f"{path} does not exist, so it has no {edit.name}") if edit.name else (content, "")
    if edit.name:
        return _put(old, {edit.name: content}, path, whole_lines)
    before, after = definitions.top_names(old), definitions.top_names(content)
    if before is not None and after is not None and before - after:
        parts = definitions.only_definitions(content, old)
        if parts and set(parts) <= before:  # a model that gave the function where it said the file
            return _put(old, parts, path, whole_lines)
        return "", f"the new text of {path} would lose {', '.join(sorted(before - after)[:6])}: use SEARCH/REPLACE"
    if old.count("\n") > whole_lines:
        return "", f"{path} is longer than {whole_lines} lines: use SEARCH/REPLACE, or name one function (path::name)"
    return content.replace("\n", "\r\n") if "\r\n" in old else content, ""


def _put(old: str, parts: Mapping[str, str], path: str, whole_lines: int) -> tuple[str, str]:
    new, problem = definitions.put(old, parts, whole_lines)
    return new, f"{path}: {problem}" if problem else ""
