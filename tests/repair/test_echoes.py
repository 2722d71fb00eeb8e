"""What an edit does to a line, as the ranking sees it."""

from __future__ import annotations

import pytest

from appliance.repair.echoes import Echoes, equal_pairs, plain
from appliance.repair.edits import Edit
from appliance.repair.source import Source

TEXT = """def down(heap, at):
    child = 2 * at + 1
    right = child  # the slip
    return heap[child], right


def up(heap, at):
    child = 2*at + 1  # leftmost
    right = child + 1
    return heap[child], right
"""


def edit(old: str, new: str) -> Edit:
    start = TEXT.index(old)
    return Edit("m.py", ((start, start + len(old), new),), "any", TEXT.count("\n", 0, start) + 1)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (edit("child  # the slip", "child + 1  # now sound"), 1.0),
        (edit("2 * at + 1", "2 * at"), -1.0),
        (edit("child  # the slip", "at"), 0.0),
        (edit("heap[child]", "heap[at]"), -1.0),
    ],
)
def test_a_line_that_stands_elsewhere_speaks_for_the_edit_that_makes_it(made: Edit, says: float) -> None:
    assert Echoes(Source("m.py", TEXT)).twin(made) == says


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        ("if a and a:", 1),
        ("elif x == x:", 1),
        ("except KeyError:", 0),
        ("return (data[i] + data[i]) / 2", 1),
        ("name = name", 1),
        ("f(a, a, 1, 1)", 1),
        ("return x * x", 0),
        ("else:", 0),
        ("    }", 0),
    ],
)
def test_a_line_that_says_a_thing_twice_is_seen(line: str, pairs: int) -> None:
    assert equal_pairs(line) == pairs


def test_an_edit_that_ends_saying_a_thing_twice_takes_a_pair_away() -> None:
    text = "def f(a, b):\n    return a.x and a.x\n"
    start = text.rindex("a.x")
    mended = Edit("m.py", ((start, start + 3, "b.x"),), "variable", 2)
    assert Echoes(Source("m.py", text)).doubled(mended) == -1.0


def test_the_sign_of_a_comment_inside_a_text_ends_no_line() -> None:
    assert plain('  x = "a # b"') == 'x="a#b"'
    assert plain("  x = 1  # b") == "x=1"
