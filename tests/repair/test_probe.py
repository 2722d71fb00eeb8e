"""Asking a candidate about inputs that the tests do not have."""

from __future__ import annotations

import random
import sys
from types import CodeType, ModuleType

import pytest

from appliance.repair.runner import documented, inputs, probe

TEXT = "def double(n):\n    return n + n\n"


def defined(file: str) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(compile(TEXT, file, "exec"), names)
    return names


def test_a_function_is_asked_though_another_file_has_the_very_same_one() -> None:
    """Code objects of the same text at the same line are equal, whatever their file."""
    mine, other = defined("/tree/mine.py"), defined("/elsewhere/mine.py")
    code = mine["double"].__code__  # type: ignore[attr-defined]
    assert isinstance(code, CodeType)
    assert code == other["double"].__code__  # type: ignore[attr-defined]
    recorder = probe.Recorder("/tree/", {"/tree/mine.py"}, set())
    recorder.calls[code.co_filename, code] = [{"n": 2}]
    assert [asked.label for asked in probe._functions(recorder)] == ["double"]


class Pair:
    def __init__(self, first: int) -> None:
        self.first = first


def test_objects_that_calls_made_are_handed_to_later_calls() -> None:
    pool: dict[type, list[object]] = {}
    seen = {"self": Pair.__new__(Pair), "first": 7}
    probe._ask(probe.Asked("Pair.__init__", Pair.__init__, [seen]), dict(seen), pool)
    assert [thing.first for thing in pool[Pair]] == [7]  # type: ignore[attr-defined]
    varied = inputs.vary([{"other": Pair(1)}], (), random.Random(1), pool)
    assert varied["other"].first == 7


def test_plain_values_and_failures_leave_the_pool_as_it_is() -> None:
    pool: dict[type, list[object]] = {}
    seen = {"self": Pair.__new__(Pair)}
    probe._ask(probe.Asked("repr", lambda self: repr(self), [seen]), dict(seen), pool)
    probe._ask(probe.Asked("Pair.first", lambda self: self.first, [seen]), dict(seen), pool)
    assert not pool


DOCUMENTED = """
def area(width, height):
    '''The area.

    >>> size = 2
    >>> area(size, 3)
    6
    >>> area(1, 1)
    2
    >>> area(None, 1)
    0
    '''
    return width * height


def never_ends():
    '''
    >>> 1
    1
    >>> never_ends()
    1
    '''
    while True:
        pass
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("documented_area")
    made.__file__ = "/tree/documented_area.py"
    exec(compile(DOCUMENTED, made.__file__, "exec"), made.__dict__)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


def test_examples_in_docstrings_are_run_and_what_is_only_set_up_says_nothing(module: ModuleType) -> None:
    area, _ = documented.docstrings({module.__file__ or ""})
    begin = "the docstring of documented_area.area: "
    assert documented.run(area, probe.TooLong) == [
        [begin + "area(size, 3)", documented.WRITTEN],
        [begin + "area(1, 1)", documented.OTHERWISE],
        [begin + "area(None, 1)", documented.OTHERWISE],
    ]


def test_of_a_docstring_whose_examples_take_too_long_nothing_is_said(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "DOCSTRING_SECONDS", 0.05)
    _, never_ends = documented.docstrings({module.__file__ or ""})
    assert probe._heard(never_ends) == []


def test_files_that_are_not_loaded_have_no_docstrings() -> None:
    assert list(documented.docstrings({"/tree/not_loaded.py"})) == []
