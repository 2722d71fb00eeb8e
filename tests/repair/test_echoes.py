"""What an edit does to a line, as the ranking sees it."""

from __future__ import annotations

import pytest

from appliance.repair.echoes import Echoes, plain, said_in_vain
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
        ("name = name", 0),
        ("f(a, a, 1, 1)", 1),
        ("return x * x", 0),
        ("else:", 0),
        ("    }", 0),
    ],
)
def test_a_line_that_says_a_thing_twice_is_seen(line: str, pairs: int) -> None:
    assert said_in_vain(line)[0] == pairs


def test_an_edit_that_ends_saying_a_thing_twice_takes_a_pair_away() -> None:
    text = "def f(a, b):\n    return a.x and a.x\n"
    start = text.rindex("a.x")
    mended = Edit("m.py", ((start, start + 3, "b.x"),), "variable", 2)
    assert Echoes(Source("m.py", text)).doubled(mended) == -1.0


def test_the_sign_of_a_comment_inside_a_text_ends_no_line() -> None:
    assert plain('  x = "a # b"') == 'x="a#b"'
    assert plain("  x = 1  # b") == "x=1"


BRANCHES = """def joined(head, tail, sep):
    if not head:
        return head + sep + tail
    else:
        return head + tail
"""


def test_an_edit_that_makes_a_line_say_what_the_one_beside_it_says_is_unlikely() -> None:
    start = BRANCHES.index("head + sep")
    void = Edit("m.py", ((start, start + len("head + sep"), "head"),), "dropped operand", 3)
    assert Echoes(Source("m.py", BRANCHES)).twin(void) == -1.0


@pytest.mark.parametrize(
    ("line", "times"),
    [
        ("elif 2 == 0:", 1),
        ("if x == 0:", 0),
        ("while 2:", 1),
        ("while 1:", 0),
        ("if True:", 0),
        ("return x or 0", 0),
        ("return 0 or x", 1),
        ("n = 2 + 1", 1),
        ("if url: url = url", 1),
        ("self.at = self.at", 1),
        ("if not (not x):", 1),
        ("if not x:", 0),
    ],
)
def test_a_line_that_asks_what_is_known_is_seen(line: str, times: int) -> None:
    assert said_in_vain(line)[1] == times


def test_an_edit_after_which_a_comparison_is_of_constants_alone_is_hollow() -> None:
    text = "def f(n):\n    if n % 2 == 0:\n        return n\n"
    start = text.index("n % 2")
    assert Echoes(Source("m.py", text)).hollow(Edit("m.py", ((start, start + 5, "2"),), "dropped operand", 2)) == 1.0
