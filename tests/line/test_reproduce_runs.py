"""Reproduction tests for real: they fail for the reason the report gives, and pass once the fault is mended."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.line.reproduce import Reproduction, check_reason, reproduce
from tests.line.reports import REPORTS, Report, write

RECORD = """
import json
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        with open("record.jsonl", "a") as out:
            out.write(json.dumps([item.nodeid, report.outcome, report.longreprtext]) + "\\n")
"""


@dataclass(frozen=True)
class Ran:
    """What became of all reports' tests: test id → (outcome, message)."""

    found: Mapping[str, Reproduction]
    before: Mapping[str, tuple[str, str]]
    after: Mapping[str, tuple[str, str]]


def outcomes(tree: Path, found: Mapping[str, Reproduction]) -> dict[str, tuple[str, str]]:
    """Run the reports' tests in one pytest of its own."""
    paths = []
    for one in found.values():
        for test in one.tests:
            target = tree / test.path.replace("_report_", "_report_x_")
            # hangs are real here: five seconds each would be the whole test's time
            target.write_text(test.content.replace("ITIMER_REAL, 5)", "ITIMER_REAL, 0.3)"), encoding="utf-8")
            paths.append(target.relative_to(tree).as_posix())
    (tree / "recorder.py").write_text(RECORD)
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "recorder", "-p", "no:cacheprovider", *paths],
        cwd=tree, env={"PYTHONPATH": f"{tree}:{tree / 'src'}", "PATH": "/usr/bin:/bin"},
        capture_output=True, timeout=100,
    )  # fmt: skip
    rows = [json.loads(line) for line in (tree / "record.jsonl").read_text().splitlines()]
    return {name.replace("_report_x_", "_report_"): (outcome, message) for name, outcome, message in rows}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    broken, mended = write(tmp_path_factory.mktemp("broken")), write(tmp_path_factory.mktemp("mended"), mended=True)
    found = {report.name: reproduce(report.title, report.body, broken) for report in REPORTS}
    return Ran(found, outcomes(broken, found), outcomes(mended, found))


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.name)
def test_it_fails_as_the_report_says_and_passes_when_mended(ran: Ran, report: Report) -> None:
    found = ran.found[report.name]
    for test in found.test_ids:
        outcome, message = ran.before[test]
        assert outcome == "failed", f"{test} passes on the faulty code"
        proved, why = check_reason(message, found)
        assert proved, f"{why}\n{message}"
        assert ran.after[test] == ("passed", "")


def test_every_test_that_was_written_was_run(ran: Ran) -> None:
    assert set(ran.before) == set(ran.after) == {test for one in ran.found.values() for test in one.test_ids}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('`slug("A b")` gives `A_B` instead of `a-b`.', "which is not how it fails"),
        ("`mean([])` raises KeyError. It should return 0.", "which is not how it fails"),
        ("`clamp(15, 0, 10, 3)` should give 10.", "could not run"),
        ("clamp(15, 0, 10) hangs forever, it should return 10", "not how it fails"),
    ],
)
def test_a_failure_of_another_kind_than_reported_proves_nothing(tmp_path: Path, body: str, words: str) -> None:
    tree = write(tmp_path)
    found = reproduce("Odd", body, tree)
    ran = outcomes(tree, {"odd": found})
    for outcome, message in ran.values():
        proved, why = check_reason(message, found)
        assert outcome == "failed" and not proved and words in why
    assert ran
