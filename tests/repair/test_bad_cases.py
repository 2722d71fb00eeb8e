"""Repositories that are hard on a search: hanging, forking, loud, dying tests; decorated, lazy and hidden functions."""

from __future__ import annotations

import pytest

from appliance.settings import RepairSettings
from tests.repair.conftest import Repair

pytestmark = pytest.mark.integration

SHORT = RepairSettings(cpu_seconds=8.0, pair_seconds=0.0)


def check(repair: Repair, files: dict[str, str], path: str, expected: str, **more: object) -> None:
    """The repair ships, or at least offers, a change that leaves `expected` in the file."""
    found = repair(files, settings=SHORT, **more)
    assert found.candidates, found.reason
    assert any(expected in candidate.files.get(path, "") for candidate in found.candidates), [
        candidate.why for candidate in found.candidates
    ]


def test_a_bug_that_hangs_is_mended(repair: Repair) -> None:
    check(
        repair,
        {
            "m.py": """
                def digits(n):
                    found = []
                    while n > 0:
                        found.append(n % 10)
                        n = n % 10
                    return found[::-1]
                """,
            "test_m.py": """
                from m import digits

                def test_none():
                    assert digits(0) == []

                def test_some():
                    assert digits(1234) == [1, 2, 3, 4]
                """,
        },
        "m.py",
        "n = n // 10",
    )


LOUD = """
    import os, sys, subprocess

    def noisy(n):
        for _ in range(20):
            print("x" * 100_000)
            sys.stderr.write("y" * 100_000)
        os.write(1, b"z" * 1_000_000)
        return n + 2

    def forking(n):
        pid = os.fork()
        if pid == 0:
            while True:
                pass
        return n * 2
    """


def test_floods_of_output_and_forks_left_behind_disturb_nothing(repair: Repair) -> None:
    check(
        repair,
        {
            "m.py": LOUD,
            "test_m.py": """
                from m import forking, noisy

                def test_noisy():
                    assert noisy(1) == 2 and noisy(5) == 6

                def test_forking():
                    assert forking(4) == 8
                """,
        },
        "m.py",
        "return n + 1",
    )


def test_a_process_that_ends_itself_ends_only_its_own_candidate(repair: Repair) -> None:
    check(
        repair,
        {
            "m.py": """
                import os
                import signal

                def stop(n):
                    if n <= 3:
                        os._exit(0)
                    return n

                def killed(n):
                    if n > 100:
                        os.kill(0, signal.SIGTERM)
                    return n
                """,
            "test_m.py": """
                from m import killed, stop

                def test_sound():
                    assert killed(5) == 5

                def test_four():
                    assert stop(4) == 4 and killed(1) == 1

                def test_first():
                    import m
                    exits = []
                    m.os._exit, kept = exits.append, m.os._exit
                    try:
                        assert stop(3) == 3 and not exits
                        assert stop(2) == 2 and exits == [0]
                    finally:
                        m.os._exit = kept
                """,
        },
        "m.py",
        "if n < 3:",
    )


def test_cached_and_wrapped_functions_are_mended(repair: Repair) -> None:
    check(
        repair,
        {
            "m.py": """
                import contextlib
                import functools

                @functools.lru_cache
                def fib(n):
                    return n if n < 2 else fib(n - 1) + fib(n - 3)

                @contextlib.contextmanager
                def doubled(items):
                    yield [item * 2 for item in items]
                """,
            "test_m.py": """
                from m import doubled, fib

                def test_fib():
                    assert [fib(n) for n in range(8)] == [0, 1, 1, 2, 3, 5, 8, 13]

                def test_doubled():
                    with doubled([1, 2]) as found:
                        assert found == [2, 4]
                """,
        },
        "m.py",
        "fib(n - 1) + fib(n - 2)",
    )


def test_a_context_manager_is_mended(repair: Repair) -> None:
    check(
        repair,
        {
            "m.py": """
                import contextlib

                @contextlib.contextmanager
                def appended(items, item):
                    items.append(item)
                    yield len(items) - 1
                    items.pop()
                """,
            "test_m.py": """
                from m import appended

                def test_it():
                    items = [1, 2]
                    with appended(items, 3) as count:
                        assert count == 3 and items == [1, 2, 3]
                    assert items == [1, 2]

                def test_empty():
                    with appended([], 3) as count:
                        assert count == 1
                """,
        },
        "m.py",
        "yield len(items)\n",
    )


def test_a_property_of_a_class_imported_by_name_is_mended(repair: Repair) -> None:
    check(
        repair,
        {
            "src/shapes/__init__.py": "from shapes.box import Box\n",
            "src/shapes/box.py": """
                class Box:
                    def __init__(self, width, height):
                        self.width = width
                        self.height = height

                    @property
                    def slack(self):
                        return self.width - self.width

                    @property
                    def square(self):
                        return self.width == self.height
                """,
            "tests/test_box.py": """
                from shapes import Box

                def test_slack():
                    assert Box(2, 3).slack == -1 and Box(5, 1).slack == 4

                def test_square():
                    assert Box(2, 2).square and Box(2, 2).slack == 0
                """,
        },
        "src/shapes/box.py",
        "self.width - self.height",
    )


def test_closures_and_generators_are_mended(repair: Repair) -> None:
    check(
        repair,
        {
            "m.py": """
                def counter(step):
                    total = 0

                    def add(times):
                        nonlocal total
                        total += step + times
                        return total

                    return add

                def evens(limit):
                    for n in range(limit):
                        if n % 2 == 0:
                            yield n
                """,
            "test_m.py": """
                from m import counter, evens

                def test_counter():
                    add = counter(3)
                    assert add(2) == 6 and add(1) == 9 and add(0) == 9

                def test_evens():
                    assert list(evens(5)) == [0, 2, 4]
                """,
        },
        "m.py",
        "step * times",
    )


def test_a_generator_is_mended(repair: Repair) -> None:
    check(
        repair,
        {
            "m.py": """
                def windows(items, size):
                    for at in range(len(items) - size):
                        yield items[at : at + size]
                """,
            "test_m.py": """
                from m import windows

                def test_two():
                    assert list(windows([1, 2, 3, 4], 2)) == [[1, 2], [2, 3], [3, 4]]

                def test_whole():
                    assert list(windows([1, 2], 2)) == [[1, 2]]

                def test_long():
                    assert list(windows([1], 2)) == []
                """,
        },
        "m.py",
        " + 1",
    )


def test_async_functions_are_mended(repair: Repair) -> None:
    check(
        repair,
        {
            "m.py": """
                import asyncio

                async def total(items):
                    result = 1
                    for item in items:
                        await asyncio.sleep(0)
                        result += item
                    return result
                """,
            "test_m.py": """
                import asyncio
                from m import total

                def test_total():
                    assert asyncio.run(total([1, 2, 3])) == 6

                def test_nothing():
                    assert asyncio.run(total([])) == 0
                """,
        },
        "m.py",
        "result = 0",
    )


def test_a_constant_of_the_module_is_mended(repair: Repair) -> None:
    check(
        repair,
        {
            "m.py": """
                LIMIT = 9

                def short(text, limit=LIMIT):
                    return text[:limit]
                """,
            "test_m.py": """
                from m import short

                def test_ten():
                    assert short("abcdefghijkl") == "abcdefghij"

                def test_five():
                    assert short("abcde") == "abcde" and short("abc", 2) == "ab"
                """,
        },
        "m.py",
        "LIMIT = 10",
    )


def test_a_doctest_can_be_the_acceptance_test(repair: Repair) -> None:
    check(
        repair,
        {
            "pytest.ini": "[pytest]\naddopts = --doctest-modules\n",
            "m.py": '''
                def initials(name):
                    """The first letters.

                    >>> initials("ada king lovelace")
                    'AKL'
                    >>> initials("")
                    \'\'
                    """
                    return "".join(word[-1] for word in name.split()).upper()
                ''',
            "test_m.py": "from m import initials\n\ndef test_one():\n    assert initials('a') == 'A'\n",
        },
        "m.py",
        "word[0]",
    )


def test_a_module_that_cannot_be_imported_is_mended(repair: Repair) -> None:
    check(
        repair,
        {
            "m.py": """
                SIZES = ("small", "large")
                DEFAULT = SIZES[2]

                def size(name=DEFAULT):
                    return SIZES.index(name)
                """,
            "test_m.py": """
                from m import size

                def test_default():
                    assert size() == 1

                def test_small():
                    assert size("small") == 0
                """,
            "test_other.py": "def test_sound():\n    assert True\n",
        },
        "m.py",
        "SIZES[1]",
    )


def test_a_test_that_starts_processes_fails_honestly_or_is_mended(repair: Repair) -> None:
    found = repair(
        {
            "m.py": "import sys\n\nif __name__ == '__main__':\n    print(int(sys.argv[1]) + 2)\n",
            "test_m.py": """
                import subprocess, sys

                def test_it():
                    done = subprocess.run([sys.executable, "m.py", "4"], capture_output=True, text=True)
                    assert done.stdout == "5\\n"
                """,
        },
        settings=RepairSettings(cpu_seconds=4.0, pair_seconds=0.0),
    )
    assert found.decision in ("none", "ask", "ship") and (found.candidates or found.reason)
