"""Writes examples as a test file in the repository's own folder and style."""

from __future__ import annotations

import builtins
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from appliance.line.reproduce.claims import Example
from appliance.line.reproduce.index import Index

SECONDS = 5
"""After which a call that the report says never returns has not returned."""


@dataclass(frozen=True)
class Case:
    """One test function before it is text."""

    example: Example
    setup: tuple[str, ...] = ()
    expected: str = ""
    comparison: str = "=="
    """==, is, approx:TOLERANCE, holds, raises, returns (no exception) or ends (within SECONDS)."""


def place(index: Index, modules: Iterable[str], digest: str) -> str:
    """Path of the new test file: beside the tests that import the same module, named as they are."""
    files = [path for path in index.tests if PurePosixPath(path).name not in {"conftest.py", "__init__.py"}]
    files = [p for p in files if re.match(r"test_.*|.*_test\.py|tests?\.py", PurePosixPath(p).name)] or files
    importing = [
        p for p in files if any(re.search(rf"(?:from|import)\s+{re.escape(m)}\b", index.tests[p]) for m in modules)
    ]
    chosen = importing or files
    folders = Counter(str(PurePosixPath(p).parent) for p in chosen)
    folder = min(folders, key=lambda f: (-folders[f], len(f), f)) if folders else "tests"
    suffixed = sum(PurePosixPath(p).name.endswith("_test.py") for p in files)
    name = f"report_{digest}_test.py" if suffixed * 2 > len(files) else f"test_report_{digest}.py"
    return name if folder == "." else f"{folder}/{name}"


def unittest_style(index: Index) -> bool:
    """Whether the repository's tests are unittest classes and never use pytest."""
    written = [text for text in index.tests.values() if "def test" in text]
    return bool(written) and all("TestCase" in t for t in written) and not any("import pytest" in t for t in written)


def test_name(example: Example, taken: set[str]) -> str:
    """A readable name from the call, unique in its file."""
    words = re.sub(r"\W+", "_", example.call).strip("_").lower()[:50].strip("_")
    purpose = (
        "raises_" + example.raises.lower()
        if example.raises
        else "ends"
        if example.hangs and not example.expected
        else "as_reported"
    )
    base = f"test_{words}_{purpose}"
    name, n = base, 2
    while name in taken:
        name, n = f"{base}_{n}", n + 1
    taken.add(name)
    return name


test_name.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever its name suggests to pytest


def write(title: str, cases: list[Case], imports: dict[str, set[str]], style_unittest: bool) -> str:
    """The file's text."""
    body = [_function(case, style_unittest) for case in cases]
    lines = [f'"""From the report: {one_line(title)}"""', "", *_imports(cases, imports, style_unittest), ""]
    if any(case.example.hangs for case in cases):
        lines += ["", *_TIME_LIMIT, ""]
    if style_unittest:
        lines += ["", "class TestReport(unittest.TestCase):", "\n\n".join(_indent(text) for text in body)]
    else:
        lines += ["", "\n\n\n".join(body)]
    return "\n".join(lines).rstrip() + "\n"


def one_line(text: str, length: int = 100) -> str:
    """A stranger's words as they may stand in a docstring: one line, nothing that could end or escape it."""
    plain = "".join(c if c.isprintable() and c not in '"\\`' else " " for c in text)
    plain = re.sub(r"\s+", " ", plain).strip()
    return (plain[: length - 1] + "…" if len(plain) > length else plain) or "(no title)"


_TIME_LIMIT = [
    "@contextlib.contextmanager",
    "def _time_limit():",
    f'    """Fail when the body has not ended after {SECONDS} seconds."""',
    "",
    "    def stop(signum, frame):",
    f'        pytest.fail("did not return within {SECONDS} seconds")',
    "",
    "    previous = signal.signal(signal.SIGALRM, stop)",
    f"    signal.setitimer(signal.ITIMER_REAL, {SECONDS})",
    "    try:",
    "        yield",
    "    finally:",
    "        signal.setitimer(signal.ITIMER_REAL, 0)",
    "        signal.signal(signal.SIGALRM, previous)",
]


def _imports(cases: list[Case], imports: dict[str, set[str]], style_unittest: bool) -> list[str]:
    standard = {m: n for m, n in imports.items() if m in _STANDARD}
    own = {m: n for m, n in imports.items() if m not in _STANDARD}
    hangs = any(case.example.hangs for case in cases)
    plain = [*(["contextlib", "signal"] if hangs else []), *(["unittest"] if style_unittest else [])]
    first = [f"import {name}" for name in plain]
    first += [f"from {m} import {', '.join(sorted(standard[m]))}" for m in sorted(standard)]
    uses_pytest = hangs or (
        any(c.comparison == "raises" or c.comparison.startswith("approx") for c in cases) and not style_unittest
    )
    second = ["import pytest"] if uses_pytest else []
    third = [f"from {m} import {', '.join(sorted(own[m]))}" for m in sorted(own)]
    groups = [group for group in (first, second, third) if group]
    return "\n\n".join("\n".join(group) for group in groups).split("\n")


_STANDARD = frozenset({"decimal", "fractions", "datetime", "collections", "uuid", "io", "math"})


def _function(case: Case, style_unittest: bool) -> str:
    parameter = "self" if style_unittest else ""
    lines = [f"def {case.example.test}({parameter}):", f'    """{_sentence(case.example)}"""']
    lines += [f"    {line}" for line in case.setup]
    check = _check_unittest(case) if style_unittest else _check(case)
    if case.example.hangs:
        check = ["with _time_limit():", *(f"    {line}" for line in check)]
    return "\n".join(lines + [f"    {line}" for line in check])


def _check(case: Case) -> list[str]:
    call, expected = case.example.call, case.expected
    if case.comparison == "raises":
        return [f"with pytest.raises({expected}):", f"    {call}"]
    if case.comparison in ("returns", "ends"):
        return [call]
    if case.comparison == "holds":
        return [f"assert {call}"]
    if case.comparison.startswith("approx:"):
        return [f"assert {call} == pytest.approx({expected}, abs={case.comparison.partition(':')[2]})"]
    return [f"assert {call} {case.comparison} {expected}"]


def _check_unittest(case: Case) -> list[str]:
    call, expected = case.example.call, case.expected
    if case.comparison == "raises":
        return [f"with self.assertRaises({expected}):", f"    {call}"]
    if case.comparison in ("returns", "ends"):
        return [call]
    if case.comparison == "holds":
        return [f"self.assertTrue({call})"]
    if case.comparison.startswith("approx:"):
        return [f"self.assertAlmostEqual({call}, {expected}, delta={case.comparison.partition(':')[2]})"]
    verb = "assertIs" if case.comparison == "is" else "assertEqual"
    return [f"self.{verb}({call}, {expected})"]


def _sentence(example: Example) -> str:
    """What the report says, in our words: a stranger's text stays out of the code."""
    if example.raises:
        said = f"Should raise {example.raises}"
    elif example.expected:
        said = f"Should be {example.expected}"
    else:
        said = "Should return" if example.hangs else f"Should not raise {example.exception}"
    if example.hangs:
        seen = ", but never returns"
    elif example.exception and (example.expected or example.raises):
        seen = f", but raises {example.exception}"
    else:
        seen = f", but is {example.actual}" if example.actual else ""
    return one_line(said + seen, 110) + ", says the report."


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" if line else line for line in text.split("\n"))


def is_builtin_exception(name: str) -> bool:
    """Whether Python itself defines this exception."""
    found = getattr(builtins, name, None)
    return isinstance(found, type) and issubclass(found, Exception)
