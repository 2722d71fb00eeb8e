"""Edits of sources: where they apply, what is refused, and that nothing else is ever touched."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from appliance.droids import definitions
from appliance.droids.answer import Edit, Replace, Whole
from appliance.droids.edits import apply, refusal
from appliance.droids.lines import closest, split_lines

SOURCE = '''import os
import re


@staticmethod
def first(x):
    """One."""
    return x


class Cart:
    rate = 2

    def total(self):
        if self:
            return 1
        return 2

    def other(self):
        return 2


async def last():
    pass
'''


def done(*edits: Edit, files: Mapping[str, str] | None = None, whole_lines: int = 150) -> str:
    given = files or {"m.py": SOURCE}
    found = apply(edits, given.get, (), whole_lines)
    assert not found.problem, found.problem
    return found.files["m.py"]


def refused(*edits: Edit, protected: tuple[str, ...] = (), whole_lines: int = 150) -> str:
    found = apply(edits, {"m.py": SOURCE}.get, protected, whole_lines)
    assert found.files == {}
    return found.problem


def test_exact_lines_are_replaced() -> None:
    assert done(Replace("m.py", "    rate = 2", "    rate = 3")) == SOURCE.replace("rate = 2", "rate = 3")


def test_an_empty_replacement_takes_the_lines_away() -> None:
    assert done(Replace("m.py", "import re", "")) == SOURCE.replace("import re\n", "")


@pytest.mark.parametrize(
    ("search", "replace"),
    [
        ("if self:\n    return 1", "if not self:\n    return 3"),
        ("        if self:   \n            return 1\t", "        if not self:\n            return 3"),
        ("\n        if self:\n            return 1\n\n", "        if not self:\n            return 3\n"),
        ("            if self:\n                return 1", "            if not self:\n                return 3"),
    ],
)
def test_white_space_that_a_model_got_wrong_is_forgiven(search: str, replace: str) -> None:
    wanted = SOURCE.replace("if self:\n            return 1", "if not self:\n            return 3")
    assert done(Replace("m.py", search, replace)) == wanted


def test_lines_indented_otherwise_among_themselves_are_another_block() -> None:
    assert "nearest" in refused(Replace("m.py", "if self:\nreturn 1", "pass"))


def test_a_search_that_fits_several_places_is_refused_with_their_lines() -> None:
    assert "(lines 17, 20)" in refused(Replace("m.py", "        return 2", "        return 3"))


def test_a_search_that_fits_nowhere_gets_the_nearest_lines_with_numbers() -> None:
    problem = refused(Replace("m.py", "    def totals(self):\n        if self:\n            return 7", "x"))
    assert "   14      def total(self):" in problem and "   16              return 1" in problem


@pytest.mark.parametrize("search", ["", "   ", "\n\n\t\n"])
def test_an_empty_search_is_refused(search: str) -> None:
    assert "empty" in refused(Replace("m.py", search, "x = 1"))


def test_an_edit_that_changes_nothing_is_refused() -> None:
    assert "as it is" in refused(Replace("m.py", "import re", "import re"))


def test_an_edit_that_breaks_the_syntax_is_refused_with_the_line() -> None:
    problem = refused(Replace("m.py", "    rate = 2", "    rate = = 2"))
    assert "would not be Python" in problem and "line 12: rate = = 2" in problem


def test_edits_of_one_answer_build_on_each_other_and_count_together() -> None:
    first, second = Replace("m.py", "import re", "import json"), Replace("m.py", "import json", "import csv")
    assert done(first, second) == SOURCE.replace("import re", "import csv")
    assert refused(first, Replace("m.py", "no such line", "x"))


@pytest.mark.parametrize(
    ("name", "source", "wanted"),
    [
        ("Cart.total", "def total(self):\n    return 5", "    def total(self):\n        return 5\n"),
        ("total", "    def total(self):\n        return 5", "    def total(self):\n        return 5\n"),
        ("Cart.total", "            def total(self):\n                return 5",
         "    def total(self):\n        return 5\n"),
        ("last", "async def last():\n    return 1", "async def last():\n    return 1\n"),
        ("first", "def first(x):\n    return 5", "def first(x):\n    return 5\n"),
    ],
)  # fmt: skip
def test_one_definition_is_written_anew_in_its_place(name: str, source: str, wanted: str) -> None:
    node = definitions.find(SOURCE, name)
    assert node is not None
    start, end = definitions.span(node)
    lines = split_lines(SOURCE)
    assert done(Whole("m.py", source, name)) == "".join([*lines[:start], wanted, *lines[end:]])


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("Cart.gone", "def gone(): ...", "no Cart.gone"),
        ("first", "def second(x): ...", "that definition and nothing else"),
        ("first", "def first(x): ...\ndef more(): ...", "that definition and nothing else"),
        ("first", "def first(x:", "that definition and nothing else"),
        ("Cart", "class Cart:\n    # ... rest of the class\n    x = 1", "leaves something out"),
        ("Cart.total", "def total(self):\n    ...\n    # existing code\n    return 1", "leaves something out"),
    ],
)
def test_a_definition_that_is_not_the_one_named_is_refused(name: str, source: str, words: str) -> None:
    assert words in refused(Whole("m.py", source, name))


def test_a_fence_with_some_of_a_files_functions_replaces_these_only() -> None:
    part = "import re\n\n\ndef first(x):\n    return 5\n"
    old = "@staticmethod\n" + 'def first(x):\n    """One."""\n    return x\n'
    assert done(Whole("m.py", part)) == SOURCE.replace(old, "def first(x):\n    return 5\n")


def test_a_whole_text_that_would_lose_definitions_is_refused() -> None:
    assert "would lose Cart, first, last" in refused(Whole("m.py", "X = 1\n"))
    assert "would lose" in refused(Whole("m.py", "def first(x):\n    return x\n\n\ndef new():\n    pass\n"))


def test_long_files_and_functions_are_not_written_anew() -> None:
    assert "longer than 10 lines" in refused(Whole("m.py", SOURCE + "X = 1\n"), whole_lines=10)
    assert "longer than 3 lines" in refused(Whole("m.py", "class Cart:\n    pass", "Cart"), whole_lines=3)


def test_a_new_file_is_made() -> None:
    assert apply([Whole("shop/new.py", "X = 1\n")], {}.get).files == {"shop/new.py": "X = 1\n"}


def test_files_keep_their_line_ends_and_their_missing_last_one() -> None:
    crlf = {"m.py": "a = 1\r\nb = 2\r\n"}
    assert done(Replace("m.py", "a = 1", "a = 3\nc = 4"), files=crlf) == "a = 3\r\nc = 4\r\nb = 2\r\n"
    assert done(Replace("m.py", "b = 2", "b = 3"), files={"m.py": "a = 1\nb = 2"}) == "a = 1\nb = 3"
    assert done(Replace("m.py", "x = 1", "x = 2"), files={"m.py": "\ufeffy = 0\nx = 1\n"}) == "\ufeffy = 0\nx = 2\n"


@pytest.mark.parametrize(
    "path",
    ["", ".", "/etc/passwd", "../x.py", "a/../../x.py", "~/x.py", "C:/x.py", "a\\b.py", ".git/config", "a/.GIT/hooks/x",
     "tests/test_a.py", "src/tests/data.json", "test_a.py", "a_test.py", "pkg/conftest.py", "a\nb.py", "a b.py"],
)  # fmt: skip
def test_paths_outside_in_git_or_in_tests_are_refused(path: str) -> None:
    assert refusal(path, ())


@pytest.mark.parametrize("path", [".github/workflows/ci.yml", ".GitHub/x", "tox.ini", "docs/CODEOWNERS"])
def test_protected_paths_are_refused_whatever_their_case(path: str) -> None:
    assert "protected" in refusal(path, (".github/**", "tox.ini", "**/CODEOWNERS"))


def test_ordinary_paths_are_allowed() -> None:
    assert not any(refusal(path, (".git*",)) for path in ("a.py", "src/pkg/testing_tools.py", "a/b/c.txt", "latest.py"))


LINES = st.lists(
    st.sampled_from(["a = 1", "b = 2", "    c = 3", "", "d = 'é'", "# e\f", "\tf"]), min_size=1, max_size=25
)


@given(lines=LINES, data=st.data(), new=LINES, end=st.sampled_from(["", "\n"]))
def test_nothing_outside_the_replaced_lines_changes(
    lines: list[str], data: st.DataObject, new: list[str], end: str
) -> None:
    assume(lines[-1] or end or len(lines) > 1)
    held = lines if lines[-1] or end else lines[:-1]  # what follows the last line end is no line
    start = data.draw(st.integers(0, len(held) - 1))
    stop = data.draw(st.integers(start + 1, len(held)))
    search = "\n".join(held[start:stop])
    assume(search.strip())
    old = "\n".join(lines) + end
    found = apply([Replace("notes.txt", search, "\n".join(new))], {"notes.txt": old}.get)
    before, after = "".join(split_lines(old)[:start]), "".join(split_lines(old)[stop:])
    if found.problem:
        same = [n for n in range(len(held)) if held[n : n + stop - start] == held[start:stop]]
        assert "as it is" in found.problem or ("several places" in found.problem and len(same) > 1)
        return
    result = found.files["notes.txt"]
    assert result.startswith(before) and result.endswith(after) and len(result) >= len(before) + len(after)
    replaced = result[len(before) : len(result) - len(after)]
    assert replaced.rstrip("\n") == "\n".join(new).rstrip("\n")


def test_a_line_end_after_the_last_line_is_no_line_of_its_own() -> None:
    old = "a = 1\nb = 2\nb = 2\n"
    assert apply([Replace("notes.txt", "a = 1\nb = 2\nb = 2\n", "c = 3\n")], {"notes.txt": old}.get).files == {
        "notes.txt": "c = 3\n"
    }
    assert "several places" in apply([Replace("notes.txt", "b = 2\n", "c = 3\n")], {"notes.txt": old}.get).problem


@given(path=st.text(max_size=30), text=st.text(max_size=60), name=st.sampled_from(["", "f", "C.m"]))
def test_only_the_named_file_is_ever_in_the_result(path: str, text: str, name: str) -> None:
    files = {"m.py": SOURCE, "n.py": "x = 1\n"}
    for edit in (Whole(path, text, name), Replace(path, text, text + "y")):
        found = apply([edit], files.get)
        assert set(found.files) <= {path.removeprefix("./")} and bool(found.files) != bool(found.problem)
    assert files == {"m.py": SOURCE, "n.py": "x = 1\n"}


@given(
    st.sampled_from(["first", "Cart", "Cart.total", "Cart.other", "last"]),
    st.lists(st.sampled_from(["x = 1", "return None", "pass"]), max_size=4),
)
def test_a_definition_written_anew_leaves_all_others_as_they_were(name: str, body: list[str]) -> None:
    last = name.rpartition(".")[2]
    head = "class Cart:" if last == "Cart" else f"def {last}():"
    lines = [line for line in body if last != "Cart" or line != "return None"] or ["pass"]
    new = done(Whole("m.py", "\n".join([head, *(f"    {line}" for line in lines)]), name))
    before, after = (
        {found: ast.get_source_segment(text, node) for found, node in definitions.walk(ast.parse(text))}
        for text in (SOURCE, new)
    )
    kept = [
        found for found in before if found != name and not found.startswith(f"{name}.") and not name.startswith(found)
    ]
    assert all(after[found] == before[found] for found in kept) and next(iter(after)) == "first"


@given(st.text())
def test_lines_join_to_the_text_they_came_from(text: str) -> None:
    assert "".join(split_lines(text)) == text


@given(LINES, LINES)
def test_the_nearest_lines_are_lines_of_the_file(lines: list[str], search: list[str]) -> None:
    for shown in closest(lines, search).split("\n"):
        number, _, text = shown.partition("  ") if shown.strip() else ("", "", "")
        assert not shown.strip() or shown[:5].strip().isdigit(), (number, text)
