from __future__ import annotations

from pathlib import Path

import pytest

from appliance.line.diffs import diff_of
from appliance.line.review import policy
from appliance.settings import AutonomySettings
from appliance.work import Change, NewTest, Plan, Result, Verdict

NOWHERE = Path("/nonexistent")
PLAN = Plan(tests=(NewTest(path="tests/test_report_1.py", content="x\n", origin="the report"),))


def judged(diff: str, **settings: int) -> Verdict:
    return policy(Change(branch="b", base="c", diff=diff), PLAN, AutonomySettings(**settings))


def test_a_small_change_of_code_with_its_own_test_passes() -> None:
    assert (
        judged(diff_of(NOWHERE, {"shop/rates.py": "x = 1\n", "tests/test_report_1.py": "x\n"})).verdict is Result.PASS
    )


@pytest.mark.parametrize(
    "path",
    [
        "tests/test_rates.py",
        "test_rates.py",
        "pkg/test/helper.py",
        "conftest.py",
        "pkg/conftest.py",
        ".github/workflows/ci.yml",
        ".gitlab-ci.yml",
        ".GITHUB/workflows/ci.yml",
        ".gitattributes",
        ".githooks/pre-push",
        "tox.ini",
        "pytest.ini",
        "docs/CODEOWNERS",
    ],
)
def test_tests_ci_and_hooks_are_protected(path: str) -> None:
    verdict = judged(diff_of(NOWHERE, {path: "x\n"}))
    assert verdict.verdict is Result.FAIL
    assert path in verdict.evidence["reason"]


def test_too_many_files_and_lines_are_refused() -> None:
    many = judged(diff_of(NOWHERE, {f"f{n}.py": "x\n" for n in range(11)}))
    long = judged(diff_of(NOWHERE, {"f.py": "x\n" * 401}))
    assert "11 files" in many.evidence["reason"] and "401 lines" in long.evidence["reason"]
    assert many.verdict is long.verdict is Result.FAIL


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        ("new file mode 120000\n", "symbolic link"),
        ("new mode 120000\n", "symbolic link"),
        ("new file mode 160000\n", "submodule"),
        ("new mode 100755\n", "executable"),
        ("GIT binary patch\n", "binary"),
        ("deleted file mode 100644\n", "deleted file"),
    ],
)
def test_what_a_plain_edit_never_has_is_refused(piece: str, words: str) -> None:
    verdict = judged(f"diff --git a/x.py b/x.py\n{piece}")
    assert verdict.verdict is Result.FAIL
    assert words in verdict.evidence["reason"]
