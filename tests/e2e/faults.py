"""Small repositories with one fault each, and the reports about them, in plain words."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """A repository, what is reported, and the test that shows the fault."""

    name: str
    files: dict[str, str] = field(hash=False)
    title: str
    body: str
    test: str


def fault(name: str, module: str, tests: str, title: str, body: str, test: str) -> Fault:
    return Fault(name, {f"{name}.py": module, f"test_{name}.py": tests}, title, body, f"test_{name}.py::{test}")


CLAMP = fault(
    "clamp",
    '''
def clamp(value, low, high):
    """`value`, but not below `low` and not above `high`."""
    if value < low:
        return low
    if value < high:
        return high
    return value
''',
    """
from clamp import clamp

def test_below():
    assert clamp(-5, 0, 10) == 0

def test_above():
    assert clamp(50, 0, 10) == 10

def test_inside():
    assert clamp(5, 0, 10) == 5

def test_edges():
    assert clamp(0, 0, 10) == 0
    assert clamp(10, 0, 10) == 10
""",
    "clamp returns the upper bound for values inside the range",
    "`clamp(5, 0, 10)` returns `10`, but 5 is inside the range, so it should be `5`.",
    "test_inside",
)

WORDS = fault(
    "words",
    '''
def longest(words):
    """The longest word; the first of several, "" for none."""
    best = ""
    for word in words:
        if len(word) >= len(best):
            best = word
    return best

def initials(name):
    return "".join(part[0].upper() for part in name.split())
''',
    """
from words import initials, longest

def test_longest():
    assert longest(["a", "abc", "ab"]) == "abc"

def test_longest_takes_the_first():
    assert longest(["one", "two"]) == "one"

def test_longest_of_none():
    assert longest([]) == ""

def test_initials():
    assert initials("ada lovelace") == "AL"
""",
    "longest() picks the last of equally long words",
    "longest(['one', 'two']) gives 'two' instead of 'one'.",
    "test_longest_takes_the_first",
)

MEAN = fault(
    "mean",
    '''
def mean(numbers):
    """Arithmetic mean; 0 for no numbers."""
    if not numbers:
        return 0
    return sum(numbers) / (len(numbers) - 1)

def spread(numbers):
    return max(numbers) - min(numbers)
''',
    """
from mean import mean, spread

def test_mean():
    assert mean([2, 4, 6]) == 4

def test_mean_of_two():
    assert mean([1, 2]) == 1.5

def test_mean_of_none():
    assert mean([]) == 0

def test_spread():
    assert spread([3, 9, 5]) == 6
""",
    "The mean is too high",
    "mean([2, 4, 6]) returns 6.0 but the mean of these is 4.",
    "test_mean",
)

ALL = (CLAMP, WORDS, MEAN)
