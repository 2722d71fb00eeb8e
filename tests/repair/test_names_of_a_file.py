"""What an edit does to the names of its file, as the ranking sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.repair.edits import Edit
from appliance.repair.idioms import MOST, Idioms
from appliance.repair.localise import locate
from appliance.repair.problem import Problem
from appliance.repair.roles import Roles
from appliance.repair.source import Source
from appliance.repair.spectrum import Spectrum

TEXT = """def pick(items, at, name):
    first = items[at]
    label = name.upper()
    return label + first


def last(items, at):
    return items[items]


def second(items, at):
    return items[at]
"""


def edit(old: str, new: str, nth: int = 0) -> Edit:
    start = -1
    for _ in range(nth + 1):
        start = TEXT.index(old, start + 1)
    return Edit("m.py", ((start, start + len(old), new),), "variable", TEXT.count("\n", 0, start) + 1)


@pytest.mark.parametrize(
    ("made", "more"),
    [
        (edit("name.upper()", "first"), 1.0),
        (edit("name.upper", "first.upper"), 1.0),
        (edit("return items[items]", "return items[at]"), -1.0),
        (edit("label + first", "first + label"), 0.0),
    ],
)
def test_a_name_that_nothing_reads_any_more_is_counted(made: Edit, more: float) -> None:
    assert Idioms(Source("m.py", TEXT)).unread(made) == more


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (edit("    first = items[at]\n", ""), 1.0),
        (edit("first = items", "label = items"), 1.0),
        (edit("    return label + first\n", ""), 0.0),
        (edit("first = items[at]", "first = at"), 0.0),
    ],
)
def test_a_name_that_is_still_read_but_set_nowhere_any_more_is_counted(made: Edit, names: float) -> None:
    assert Idioms(Source("m.py", TEXT)).unset(made) == names


def test_a_name_that_was_handed_over_has_a_value_without_being_set() -> None:
    text = "def f(at):\n    at = at or 1\n    return at\n"
    start = text.index("    at = ")
    gone = Edit("m.py", ((start, text.index("    return"), ""),), "deleted statement", 2)
    assert Idioms(Source("m.py", text)).unset(gone) == 0.0


def test_a_name_that_the_function_does_not_speak_of_is_foreign() -> None:
    idioms = Idioms(Source("m.py", TEXT))
    assert idioms.foreign(edit("first", "label", 1)) == 0.0
    assert idioms.foreign(edit("first", "elsewhere", 1)) == 1.0


def test_a_name_in_a_role_that_it_plays_elsewhere_is_at_home() -> None:
    roles = Roles(Source("m.py", TEXT))
    key = TEXT.index("items]")
    at_home = Edit("m.py", ((key, key + 5, "at"),), "variable", 8)
    assert roles.compared(at_home) == (1.0, 1.0)
    assert roles.compared(edit("at", "name", 1)) == (-1.0, -1.0)


def test_edits_of_anything_but_one_name_say_nothing_of_roles() -> None:
    roles = Roles(Source("m.py", TEXT))
    assert roles.compared(edit("label + first", "first")) == (0.0, 0.0)
    assert roles.compared(edit("at", "at + 1", 1)) == (0.0, 0.0)


def test_a_constant_of_a_module_is_suspected_through_files_that_import_it_alone(tmp_path: Path) -> None:
    (tmp_path / "sizes.py").write_text("WIDTH = 3\n")
    (tmp_path / "other.py").write_text("WIDTH = 4\n")
    (tmp_path / "box.py").write_text("import sizes\n\n\ndef wide():\n    return sizes.WIDTH\n")
    spectrum = Spectrum(failing={"t.py::test": frozenset({("box.py", 5)})})
    fault = locate(Problem(tree=tmp_path, acceptance=("t.py::test",), baseline={}), spectrum)
    assert ("sizes.py", 1) in fault.lines and ("other.py", 1) not in fault.lines


BLOCKS = """class Till:
    def total(self, lines):
        found = 0
        for line in lines:
            found += line
        return found
"""


@pytest.mark.parametrize(
    ("old", "new", "dead"),
    [
        ("found = 0\n", "return found\n        found = 0\n", 3),
        ("found += line", "break\n            found += line", 1),
        ("found += line", "continue", 0),
        ("return found", "return lines", 0),
        ("found = 0", "found = 1", 0),
        ("found = 0\n", "raise (\n", 0),
    ],
)
def test_statements_that_nothing_reaches_any_more_are_counted(old: str, new: str, dead: int) -> None:
    start = BLOCKS.index(old)
    made = Edit("m.py", ((start, start + len(old), new),), "x", BLOCKS[:start].count("\n") + 1)
    assert Idioms(Source("m.py", BLOCKS)).dead(made) == min(dead, MOST)


def test_an_edit_that_has_dead_code_reached_again_speaks_for_itself() -> None:
    text = "def f(x):\n    return x\n    x += 1\n"
    start = text.index("return x")
    made = Edit("m.py", ((start, start + 8, "x += 1"), (start + 13, start + 19, "return x")), "swapped statements", 2)
    assert Idioms(Source("m.py", text)).dead(made) == -1.0
