"""What the plan stage makes of what people wrote: a plan of theirs, held to the repository's tests, or a plan around
their patch. Each gives the plan, or None and why it cannot be one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance.by_hand import is_test
from appliance.errors import VerificationFailed
from appliance.line.hand import brought
from appliance.line.parts import Parts
from appliance.work import Change, Plan, Suspect, TestReport

SHOWN = 5


def held_to_tests(written: Plan, parts: Parts, tree: Path, base: str, baseline: TestReport) -> tuple[Plan | None, str]:
    """A person's plan on this base: its acceptance tests are there, and one at least fails. Its tests are put into the
    tree."""
    for test in written.tests:
        target = tree / test.path
        if target.exists() or target.is_symlink():
            return None, f"{test.path} is in the repository by now; give the plan's test another name"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(test.content, encoding="utf-8")
    parts.progress("running the acceptance tests of the plan")
    report = parts.suite(tree, written.acceptance)
    if report.limit or not report.complete:
        said = report.limit or report.output_tail.strip()[-300:]
        return None, f"the acceptance tests of the plan could not run to their end: {said}"
    missing = [test for test in written.acceptance if test not in report.outcomes]
    if missing:
        there = ", ".join(sorted(report.outcomes)[:SHOWN]) or "none"
        return None, f"there is no test {', '.join(missing[:SHOWN])} at {base[:12]}; found: {there}"
    if set(report.passed) >= set(written.acceptance):
        return None, "all acceptance tests of the plan pass already: name one that fails until the work is done"
    failing = [test for test in written.acceptance if test not in report.passed]
    plan = written.with_(base=base, baseline=dict(baseline.outcomes))
    return (
        plan,
        f"the plan is {written.by}'s: {len(failing)} of {len(written.acceptance)} acceptance test(s) fail as yet",
    )


def favoured(suspects: Sequence[Suspect], files: Sequence[str], by: str) -> tuple[Suspect, ...]:
    """Suspects with those of the named files first, in the order of the names; a file without one is one itself."""
    named = [
        one
        for path in files
        for one in (
            [one for one in suspects if one.path == path]
            or [Suspect(path=path, line=1, score=1.0, why=f"named by {by}")]
        )
    ]
    return (*named, *(one for one in suspects if one.path not in files))


def around_patch(change: Change, parts: Parts, tree: Path, baseline: TestReport) -> tuple[Plan | None, str]:
    """A plan for a patch that came first: done when the tests pass which it brings or changes, and which do not pass
    without it."""
    tests = [path for path in change.files if is_test(path)]
    if not tests:
        return None, no_proof("brings no test")
    workspace = parts.repository.workspace(change.base)
    try:
        workspace.apply(change.diff)
        with parts.folder("patched") as into:
            patched = workspace.export(workspace.commit("by hand", ()), into)
            parts.progress("running all tests with the patch, then with its tests alone")
            after = parts.suite(patched)
            for path in tests:
                if (patched / path).is_file():
                    (tree / path).parent.mkdir(parents=True, exist_ok=True)
                    (tree / path).write_bytes((patched / path).read_bytes())
        before = parts.suite(tree)
    except VerificationFailed as error:
        return None, error.message
    finally:
        workspace.close()
    if not after.complete:
        return None, no_proof(f"has tests that could not run: {after.limit or after.output_tail.strip()[-300:]}")
    shown = [test for test in after.passed if test.partition("::")[0] in tests]
    acceptance = tuple(test for test in shown if before.outcomes.get(test) != "passed")
    if not acceptance:
        return None, no_proof("brings no test that passes with it and fails without it")
    plan = Plan(
        acceptance=acceptance, tests=brought(change.diff), files=tuple(p for p in change.files if p not in tests),
        baseline=dict(baseline.outcomes), base=change.base,
        summary=f"made around a patch: {len(acceptance)} test(s) pass with it and not without",
    )  # fmt: skip
    return plan, plan.summary


def no_proof(why: str) -> str:
    """What is said of a patch that nothing proves."""
    return (
        f"the patch {why}, so nothing shows that it does its work: add one to it, or name acceptance tests in the plan"
    )
