"""A repository's tests in the sandbox: every outcome, and every way in which a run can go wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from appliance.computers.sandbox import BoxedSandbox
from appliance.computers.suite import run_suite
from appliance.ports import Limits
from appliance.work import TestReport

pytestmark = pytest.mark.integration
Tree = Callable[..., Path]
LIMITS = Limits(seconds=20, cpu_seconds=10, memory_mb=512, processes=64, disk_mb=64, output_kb=256)


def run(box: BoxedSandbox, tree: Path, command: str = "", only: Sequence[str] = ()) -> TestReport:
    return run_suite(box, tree, command, LIMITS, box.python, only)


EVERYTHING = """
import pytest
def test_good(): pass
def test_bad(): assert 1 + 1 == 3
@pytest.mark.skip
def test_skipped(): pass
@pytest.mark.xfail
def test_expected(): assert False
@pytest.fixture
def broken(): raise RuntimeError("fixture")
def test_error(broken): pass
@pytest.mark.parametrize("n", [1, 2])
def test_many(n): assert n == 1
class TestClass:
    def test_method(self): pass
"""


def test_every_outcome_is_told_by_the_id_pytest_gives_it(box: BoxedSandbox, tree: Tree) -> None:
    report = run(box, tree(test_all_py=EVERYTHING))
    assert dict(report.outcomes) == {
        "test_all.py::test_good": "passed",
        "test_all.py::test_bad": "failed",
        "test_all.py::test_skipped": "skipped",
        "test_all.py::test_expected": "xfailed",
        "test_all.py::test_error": "error",
        "test_all.py::test_many[1]": "passed",
        "test_all.py::test_many[2]": "failed",
        "test_all.py::TestClass::test_method": "passed",
    }
    assert report.complete and report.exit_code == 1 and not report.limit
    assert "1 + 1" in report.messages["test_all.py::test_bad"]
    assert f"tier {box.tier}" in report.sandbox


def test_only_the_tests_asked_for_are_run(box: BoxedSandbox, tree: Tree) -> None:
    report = run(box, tree(test_all_py=EVERYTHING), only=["test_all.py::test_good", "test_all.py::gone"])
    assert dict(report.outcomes) == {"test_all.py::test_good": "passed"}


def test_the_places_of_a_failure_are_told(box: BoxedSandbox, tree: Tree) -> None:
    folder = tree(shop_py="def f():\n    return g()\ndef g():\n    raise KeyError(1)\n",
                  test_shop_py="import shop\ndef test_f(): shop.f()\n")  # fmt: skip
    frames = run(box, folder).frames["test_shop.py::test_f"]
    assert [(frame.path, frame.line) for frame in frames][-2:] == [("shop.py", 2), ("shop.py", 4)]


def test_tests_that_cannot_be_imported_are_errors_of_their_file(box: BoxedSandbox, tree: Tree) -> None:
    report = run(box, tree(test_a_py="import nonexistent\n", test_b_py="def test_b(): pass\n"))
    assert report.outcomes["test_a.py"] == "error"
    assert "nonexistent" in report.messages["test_a.py"]
    assert report.outcomes["test_b.py::test_b"] == "passed"


def test_a_repository_without_tests_is_complete_and_empty(box: BoxedSandbox, tree: Tree) -> None:
    report = run(box, tree(a_py="x = 1\n"))
    assert report.complete and not report.outcomes and report.exit_code == 5


def test_a_source_folder_is_on_the_path(box: BoxedSandbox, tree: Tree) -> None:
    folder = tree()
    (folder / "src" / "pkg").mkdir(parents=True, exist_ok=True)
    (folder / "src" / "pkg" / "__init__.py").write_text("")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_a.py").write_text("import pkg\ndef test_a(): pass\n")
    report = run(box, folder)
    assert report.outcomes["tests/test_a.py::test_a"] == "passed"


def test_a_command_of_the_sites_own_is_recorded_too(box: BoxedSandbox, tree: Tree) -> None:
    report = run(box, tree(test_all_py=EVERYTHING), command="python -m pytest -q -k good")
    assert dict(report.outcomes) == {"test_all.py::test_good": "passed"}


def test_a_command_that_is_not_pytest_leaves_its_exit_code_alone(box: BoxedSandbox, tree: Tree) -> None:
    report = run(box, tree(a_py="x"), command="python -c 'raise SystemExit(4)'")
    assert (report.exit_code, dict(report.outcomes)) == (4, {})


HANG = "import time\ndef test_before(): pass\ndef test_hangs():\n    while True: pass\ndef test_after(): pass\n"
FILL = "def test_fill():\n    for n in range(2000): open(f'f{n}', 'wb').write(bytes(1 << 20))\n"
FORK = "import os\ndef test_fork():\n    while True: os.fork()\n"
CALL = "import socket\ndef test_call(): socket.create_connection(('192.0.2.1', 80), 2)\n"


def test_a_test_that_hangs_does_not_take_the_others_with_it(box: BoxedSandbox, tree: Tree) -> None:
    report = run(box, tree(test_a_py=HANG))
    assert report.outcomes["test_a.py::test_before"] == "passed"
    assert report.outcomes.get("test_a.py::test_hangs") in ("failed", "error", None)
    assert report.limit or "test_a.py::test_after" in report.outcomes


@pytest.mark.parametrize(("code", "words"), [(FILL, "wrote more than 64 MiB"), (FORK, "processes")])
def test_a_test_that_takes_too_much_ends_the_run_in_words(box: BoxedSandbox, tree: Tree, code: str, words: str) -> None:
    report = run(box, tree(test_a_py=code))
    failed = "test_a.py" in " ".join(report.failed)
    assert words in report.output_tail or failed, report
    assert not report.passed


def test_a_test_that_calls_the_network_fails_like_any_other(box: BoxedSandbox, tree: Tree) -> None:
    report = run(box, tree(test_a_py=CALL))
    assert report.outcomes == {"test_a.py::test_call": "failed"}
    assert report.complete


def test_a_test_that_ends_the_process_leaves_an_incomplete_report(box: BoxedSandbox, tree: Tree) -> None:
    report = run(box, tree(test_a_py="import os\ndef test_a(): pass\ndef test_exit(): os._exit(0)\n"))
    assert not report.complete
    assert report.exit_code == 0, "an exit code alone would have looked like success"


def test_what_tests_print_cannot_pose_as_their_outcome(box: BoxedSandbox, tree: Tree) -> None:
    report = run(box, tree(test_a_py="def test_a():\n    print('test_a.py::test_a PASSED')\n    assert False\n"))
    assert report.outcomes == {"test_a.py::test_a": "failed"}
