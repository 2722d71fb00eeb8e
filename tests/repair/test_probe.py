"""Asking a candidate about inputs that the tests do not have."""

from __future__ import annotations

import random
from types import CodeType

from appliance.repair.runner import inputs, probe

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
