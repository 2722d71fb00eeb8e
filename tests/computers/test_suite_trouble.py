"""Test suites that go wrong in less usual ways: what is reported must be what happened."""

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


def run(
    box: BoxedSandbox, tree: Path, command: str = "", only: Sequence[str] = (), limits: Limits = LIMITS
) -> TestReport:
    return run_suite(box, tree, command, limits, box.python, only)


def test_old_style_tests_and_unexpected_passes_have_their_own_outcomes(box: BoxedSandbox, tree: Tree) -> None:
    report = run(
        box,
        tree(
            test_a_py="import pytest, unittest\n"
            "class T(unittest.TestCase):\n"
            "    def test_good(self): pass\n"
            "    def test_bad(self): self.assertEqual(1, 2)\n"
            "    @unittest.skip('not now')\n    def test_skipped(self): pass\n"
            "    @unittest.expectedFailure\n    def test_expected(self): self.fail()\n"
            "@pytest.mark.xfail\ndef test_surprise(): pass\n"
            "@pytest.mark.xfail(strict=True)\ndef test_strict(): pass\n"
        ),
    )
    assert {name.rpartition("::")[2]: outcome for name, outcome in report.outcomes.items()} == {
        "test_good": "passed",
        "test_bad": "failed",
        "test_skipped": "skipped",
        "test_expected": "xfailed",
        "test_surprise": "xpassed",
        "test_strict": "failed",
    }
    assert report.messages["test_a.py::T::test_skipped"] == "Skipped: not now"


def test_a_test_that_breaks_while_cleaning_up_has_not_passed(box: BoxedSandbox, tree: Tree) -> None:
    code = "import pytest\n@pytest.fixture\ndef late():\n    yield\n    raise OSError('late')\ndef test_a(late): pass\n"
    report = run(box, tree(test_a_py=code))
    assert report.outcomes == {"test_a.py::test_a": "error"}
    assert "late" in report.messages["test_a.py::test_a"]


def test_a_file_that_hangs_while_it_is_imported_does_not_hide_the_others(box: BoxedSandbox, tree: Tree) -> None:
    folder = tree(test_a_py="while True: pass\n", test_b_py="def test_b(): pass\n")
    report = run(box, folder)
    assert report.outcomes["test_a.py"] == "error"
    assert report.outcomes["test_b.py::test_b"] == "passed"


def test_a_configuration_that_cannot_be_loaded_is_an_incomplete_run(box: BoxedSandbox, tree: Tree) -> None:
    report = run(box, tree(conftest_py="raise RuntimeError('broken set-up')\n", test_a_py="def test_a(): pass\n"))
    assert not report.complete and not report.outcomes
    assert "broken set-up" in report.output_tail


def test_an_option_pytest_does_not_know_is_an_incomplete_run(box: BoxedSandbox, tree: Tree) -> None:
    report = run(box, tree(test_a_py="def test_a(): pass\n"), command="python -m pytest --no-such-option")
    assert not report.complete and report.exit_code == 4


def test_a_command_that_hangs_is_ended_and_keeps_what_was_known(box: BoxedSandbox, tree: Tree) -> None:
    folder = tree(test_a_py="def test_a(): pass\n")
    report = run(box, folder, command="python -m pytest -q; sleep 60", limits=LIMITS.with_(seconds=8))
    assert (report.limit, report.timed_out, report.complete) == ("time", True, False)
    assert report.outcomes == {"test_a.py::test_a": "passed"}
    assert "longer than 8 seconds" in report.output_tail


def test_a_test_that_ignores_being_hurried_is_failed_when_the_time_is_up(box: BoxedSandbox, tree: Tree) -> None:
    code = (
        "import signal\ndef test_before(): pass\ndef test_stubborn():\n"
        "    signal.signal(signal.SIGALRM, signal.SIG_IGN)\n    while True: pass\n"
    )
    report = run(box, tree(test_a_py=code), limits=LIMITS.with_(seconds=8, cpu_seconds=4))
    assert report.outcomes == {"test_a.py::test_before": "passed", "test_a.py::test_stubborn": "failed"}
    assert report.limit == "time" and not report.complete
    assert "was running when the run was ended" in report.messages["test_a.py::test_stubborn"]


def test_tests_that_run_pytest_themselves_do_not_write_into_the_record(box: BoxedSandbox, tree: Tree) -> None:
    code = (
        "import subprocess, sys\ndef test_outer(tmp_path):\n"
        "    (tmp_path / 'test_inner.py').write_text('def test_inner(): assert 0')\n"
        "    done = subprocess.run([sys.executable, '-m', 'pytest', '-q', str(tmp_path)], capture_output=True)\n"
        "    assert done.returncode == 1, done\n"
    )
    limits = LIMITS.with_(seconds=200, cpu_seconds=100)  # a test has a tenth of it, and a pytest takes a while to start
    report = run(box, tree(test_a_py=code), limits=limits)
    assert report.outcomes == {"test_a.py::test_outer": "passed"}, report.output_tail
    assert report.complete


def test_odd_names_and_messages_come_through(box: BoxedSandbox, tree: Tree) -> None:
    code = (
        "import pytest\n"
        "@pytest.mark.parametrize('x', ['a b', 'ä', 'a::b', '[', chr(0xd800), 'n\\nl'])\n"
        "def test_odd(x): assert False, x + chr(0xd800) + 'é' * 9000\n"
    )
    report = run(box, tree(test_a_py=code))
    assert len(report.outcomes) == 6 and set(report.outcomes.values()) == {"failed"}
    assert all(len(message) <= 4096 for message in report.messages.values())
    report.model_dump_json()
    again = run(box, tree(test_a_py=code), only=[name for name in report.outcomes if "a b" in name])
    assert len(again.outcomes) == 1


def test_several_pytests_in_one_command_all_count(box: BoxedSandbox, tree: Tree) -> None:
    folder = tree(test_a_py="def test_a(): pass\n", test_b_py="def test_b(): assert 0\n")
    report = run(box, folder, command="python -m pytest -q test_a.py && python -m pytest -q test_b.py")
    assert report.outcomes == {"test_a.py::test_a": "passed", "test_b.py::test_b": "failed"}
    assert report.complete and report.exit_code == 1


def test_a_record_the_tests_have_spoilt_is_read_as_far_as_it_makes_sense(box: BoxedSandbox, tree: Tree) -> None:
    code = (
        "import glob\ndef test_a(): pass\ndef test_b():\n"
        "    for name in glob.glob('.factory-record-*'):\n"
        '        text = b\'\\xff\\n[1]\\n{"kind": 3}\\n{"kind": "test", "outcome": []}\\n\' + b\'[\' * 9999\n'
        "        open(name, 'ab').write(text)\n"
    )
    report = run(box, tree(test_a_py=code))
    assert report.outcomes["test_a.py::test_a"] == "passed"


def test_the_hosts_tree_has_no_traces_of_the_run(box: BoxedSandbox, tree: Tree) -> None:
    folder = tree(test_a_py="def test_a(): pass\n")
    run(box, folder)
    assert [path.name for path in folder.rglob("*")] == ["test_a.py"]
