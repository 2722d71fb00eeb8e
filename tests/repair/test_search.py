"""Repair by search, end to end through the real sandbox."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.computers.sandbox import BoxedSandbox
from appliance.errors import UsageError
from appliance.repair.localise import localise
from appliance.repair.problem import Found, Problem
from appliance.repair.search import search
from appliance.settings import RepairSettings
from tests.repair.conftest import LIMITS, Repair, Write

pytestmark = pytest.mark.integration

CHUNKS = {
    "pkg/__init__.py": "",
    "pkg/parts.py": '''
        """Parts of lists."""


        def chunks(items, size):
            # the last one may be shorter
            return [items[i:i + size] for i in range(0, len(items) - 1, size)]


        def pairs(items):
            return list(zip(items, items[1:]))
        ''',
    "tests/test_parts.py": """
        import pytest
        from pkg.parts import chunks, pairs

        @pytest.mark.parametrize("items, size, expected", [
            ([1, 2, 3, 4], 2, [[1, 2], [3, 4]]),
            ([1, 2, 3], 2, [[1, 2], [3]]),
            ([1], 3, [[1]]),
            ([], 3, []),
            ([1, 2, 3, 4, 5, 6, 7], 3, [[1, 2, 3], [4, 5, 6], [7]]),
        ])
        def test_chunks(items, size, expected):
            assert chunks(items, size) == expected

        def test_pairs():
            assert pairs([1, 2, 3]) == [(1, 2), (2, 3)]
        """,
}

PRICES = {
    "prices.py": '''
        FREE_FROM = 50


        def shipping(total, members=()):
            """Shipping is free from 50 on."""
            if total > FREE_FROM:
                return 0
            return 5
        ''',
    "test_prices.py": """
        from prices import shipping

        def test_below():
            assert shipping(49) == 5

        def test_at():
            assert shipping(50) == 0

        def test_above():
            assert shipping(51) == 0

        def test_far():
            assert shipping(500) == 0 and shipping(0) == 5
        """,
}


def applied(tree: Path, found: Found) -> str:
    """The first candidate's diff, applied by git itself; returns `git diff --stat`'s last line."""
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    subprocess.run(["git", "add", "-A"], cwd=tree, check=True)
    diff = found.candidates[0].diff
    subprocess.run(["git", "apply", "-"], cwd=tree, input=diff, text=True, check=True)
    for path, content in found.candidates[0].files.items():
        assert (tree / path).read_text(encoding="utf-8") == content
    return subprocess.run(["git", "diff", "--numstat"], cwd=tree, check=True, capture_output=True, text=True).stdout


def test_off_by_one_is_mended_and_nothing_else_is_touched(repair: Repair, tmp_path: Path) -> None:
    found = repair(CHUNKS, report="chunks drops the last item of a list")
    assert found.decision == "ship", found
    assert applied(tmp_path / "tree", found).split() == ["1", "1", "pkg/parts.py"]
    assert "range(0, len(items), size)" in found.candidates[0].files["pkg/parts.py"]
    assert "# the last one may be shorter" in found.candidates[0].files["pkg/parts.py"]
    assert "line 6 of pkg/parts.py" in found.candidates[0].why
    assert found.suspects[0].path == "pkg/parts.py" and found.tried > 0


def test_wrong_comparison_is_mended(repair: Repair, tmp_path: Path) -> None:
    found = repair(PRICES, report="shipping(50) gives 5 instead of 0")
    assert found.decision == "ship", found
    assert "total >= FREE_FROM" in found.candidates[0].files["prices.py"]
    assert 1 <= found.candidates[0].found < found.tried, "it looks on after the one it ships"
    assert applied(tmp_path / "tree", found).split()[2] == "prices.py"


def test_a_refused_diff_is_never_proposed_again(problem: Callable[..., Problem], sandbox: BoxedSandbox) -> None:
    settings = RepairSettings(cpu_seconds=8.0, pair_seconds=0.0)
    first = problem(PRICES)
    found = search(first, sandbox, LIMITS, settings, sandbox.python, lambda _: None, None)
    refused = frozenset(hashlib.sha256(one.diff.encode()).hexdigest() for one in found.candidates)
    again = Problem(first.tree, first.acceptance, first.baseline, refused=refused)
    second = search(again, sandbox, LIMITS, settings, sandbox.python, lambda _: None, None)
    assert not refused & {hashlib.sha256(one.diff.encode()).hexdigest() for one in second.candidates}


def test_protected_paths_and_tests_are_left_alone(repair: Repair) -> None:
    found = repair(PRICES, protected=("prices.py",))
    assert found.decision == "none" and not found.candidates


def test_two_meanings_that_nothing_decides_are_put_to_a_person(repair: Repair) -> None:
    found = repair(
        {
            "m.py": "def grade(points, limit):\n    return 'x'\n",
            "test_m.py": "from m import grade\n\ndef test_it():\n    assert grade('abc', 'abc') == 'abc'\n",
        }
    )
    assert found.decision == "ask", found
    assert len(found.candidates) > 1 and all(one.telling_input for one in found.candidates[:2])
    assert "grade(" in found.candidates[0].telling_input


def test_when_nothing_passes_the_answer_says_where_it_looked(repair: Repair) -> None:
    found = repair(
        {
            "m.py": "def roman(n):\n    return ''\n",
            "test_m.py": "from m import roman\n\ndef test_it():\n    assert roman(1987) == 'MCMLXXXVII'\n",
        },
        settings=RepairSettings(cpu_seconds=3.0, pair_seconds=0.0),
    )
    assert found.decision == "none" and "m.py" in found.reason and found.tried > 5


def test_two_edits_are_found_together(repair: Repair) -> None:
    found = repair(
        {
            "m.py": "def inside(x, low, high):\n    return x > low and x > high\n",
            "test_m.py": """
                from m import inside

                def test_low():
                    assert inside(1, 1, 5)

                def test_high():
                    assert inside(4, 1, 5)

                def test_out():
                    assert not inside(5, 1, 5) and not inside(9, 1, 5)

                def test_under():
                    assert not inside(0, 1, 5)
                """,
        },
        settings=RepairSettings(cpu_seconds=10.0, pair_seconds=40.0),
    )
    assert found.candidates, found
    mended, equal = found.candidates[0].files["m.py"], ("x >= low and x < high", "x >= low and high > x")
    assert any(text in mended for text in equal) or found.decision == "ask"


def test_progress_is_told_at_least_every_two_seconds(problem: Callable[..., Problem], sandbox: BoxedSandbox) -> None:
    files = {
        "m.py": "import time\n\ndef slow(n):\n    return n + 2\n",
        "test_m.py": "import time\nfrom m import slow\n\ndef test_it():\n    time.sleep(3)\n    assert slow(3) == 9\n",
    }
    times = [time.monotonic()]
    settings = RepairSettings(cpu_seconds=0.5, pair_seconds=0.0)
    found = search(
        problem(files), sandbox, LIMITS, settings, sandbox.python, lambda _: times.append(time.monotonic()), None
    )
    assert found.decision == "none"
    assert max(b - a for a, b in itertools.pairwise(times)) < 20.0 and len(times) > 8


def test_localise_puts_the_broken_line_first(problem: Callable[..., Problem], sandbox: BoxedSandbox) -> None:
    found = localise(problem(CHUNKS), sandbox, LIMITS, sandbox.python, lambda _: None)
    assert (found[0].path, found[0].line, found[0].function) == ("pkg/parts.py", 6, "chunks")


def test_a_problem_without_acceptance_tests_is_an_error(write: Write, sandbox: BoxedSandbox) -> None:
    settings = RepairSettings(cpu_seconds=1.0)
    with pytest.raises(UsageError):
        search(Problem(write(CHUNKS), (), {}), sandbox, LIMITS, settings, sandbox.python, lambda _: None, None)


def test_an_example_in_a_docstring_that_no_test_runs_decides(repair: Repair) -> None:
    found = repair(
        {
            "m.py": """
            def area(width, height):
                '''What a floor needs.

                >>> area(2, 3)
                6
                '''
                return width + height
            """,
            "test_m.py": """
            from m import area

            def test_one():
                assert area(1, 1) == 1

            def test_none():
                assert area(0, 0) == 0
            """,
        }
    )
    assert found.decision == "ship" and "width * height" in found.candidates[0].files["m.py"], found
    assert len(found.candidates) > 1
