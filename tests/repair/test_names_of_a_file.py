"""What an edit does to the names of its file, as the ranking sees it."""

from __future__ import annotations

import pytest

from appliance.repair.edits import Edit
from appliance.repair.idioms import Idioms
from appliance.repair.roles import Roles
from appliance.repair.source import Source

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
