"""A report becomes a test, a model a change, and the sandbox is the judge: the droid as the build stage calls it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.computers.sandbox import BoxedSandbox
from appliance.computers.suite import run_suite
from appliance.evidence import read
from appliance.line.reproduce import check_reason, reproduce
from appliance.line.strategies import Droid, limits_of
from appliance.settings import Settings
from appliance.work import Plan, State, Suspect, TestReport, WorkItem
from control.trajectory import told
from tests.contracts.model import ScriptedModel
from tests.line.reports import write

pytestmark = pytest.mark.integration
FIX = """shop/text.py of src.

src/shop/text.py
```python
<<<<<<< SEARCH
    return text.lower()
=======
    return re.sub(r"\\W+", "-", text.lower()).strip("-")
>>>>>>> REPLACE
```
"""
BREAKS_ANOTHER = FIX.replace('re.sub(r"\\W+", "-", text.lower()).strip("-")', '"a-b"')
HANGS = FIX.replace('    return re.sub(r"\\W+", "-", text.lower()).strip("-")', "    while True:\n        pass")
CHEATS = "tests/test_text.py\n```python\ndef test_slug():\n    pass\n```\n"


class Line:
    """The parts of the line that a droid needs, with the real sandbox."""

    def __init__(self, sandbox: BoxedSandbox, tree: Path) -> None:
        self.sandbox, self.tree, self.evidence = sandbox, tree, tree.with_name("evidence")
        self.settings = Settings().model_copy(
            update={"computers": Settings().computers.model_copy(update={"seconds": 20.0})}
        )
        title, body = "slug keeps blanks", '`slug("A b")` gives `a b` instead of `a-b`.'
        baseline = self.suite(tree)
        found = reproduce(title, body, tree)
        [test] = found.tests
        (tree / test.path).write_text(test.content)
        ran = self.suite(tree, found.test_ids)
        assert ran.failed == found.test_ids and check_reason(ran.messages[ran.failed[0]], found)[0]
        plan = Plan(
            acceptance=ran.failed, tests=found.tests, baseline=dict(baseline.outcomes), base="0" * 40,
            suspects=(Suspect(path="src/shop/text.py", line=6, function="slug", score=1.0),),
        )  # fmt: skip
        self.item = WorkItem(id="i1", repo="shop", title=title, body=body, state=State.PLANNED, plan=plan)

    def suite(self, tree: Path, only: Sequence[str] = ()) -> TestReport:
        return run_suite(self.sandbox, tree, "", limits_of(self.settings), self.sandbox.python, only)

    def droid(self, model: ScriptedModel) -> Droid:
        return Droid(model, self.suite, self.settings, self.sandbox, lambda line: None, self.evidence)


@pytest.fixture
def line(sandbox: BoxedSandbox, tmp_path: Path) -> Line:
    return Line(sandbox, write(tmp_path / "tree"))


def test_a_model_mends_the_fault_and_its_diff_applies_where_the_tests_then_pass(line: Line, tmp_path: Path) -> None:
    model = ScriptedModel(BREAKS_ANOTHER, FIX)
    attempt = line.droid(model)(line.tree, line.item, "scripted", {})
    assert (attempt.outcome, attempt.tried, len(attempt.candidates)) == ("plausible", 2, 1)
    assert attempt.trajectory is not None
    run = told(read(line.evidence / line.item.id, attempt.trajectory))
    assert [step.speaker for step in run.steps if step.model] == ["the model"] * 2
    assert "passed before your change" in next(step.seen for step in run.steps if step.model)
    assert [call.options["episode"] for call in model.calls] == [line.item.id] * 2
    heard = model.calls[1].messages[-1]["content"]
    assert "tests/test_text.py::test_slug" in heard and "passed before your change" in heard
    clean = write(tmp_path / "clean")
    subprocess.run(["git", "init", "-q"], cwd=clean, check=True)
    subprocess.run(["git", "apply"], cwd=clean, input=attempt.candidates[0].diff.encode(), check=True)
    assert line.item.plan is not None
    for test in line.item.plan.tests:
        (clean / test.path).write_text(test.content)
    assert line.suite(clean).failed == ()


def test_an_endless_loop_or_a_changed_test_is_no_candidate(line: Line) -> None:
    attempt = line.droid(ScriptedModel(CHEATS, HANGS, CHEATS))(line.tree, line.item, "scripted", {})
    assert (attempt.outcome, attempt.candidates) == ("none", ())
    assert attempt.tried == 1 and "same result 3 times" in attempt.detail
