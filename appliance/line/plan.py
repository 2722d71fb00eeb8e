"""Stage plan: reproduce first, then say where the fault may be and which tests must pass."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from appliance.by_hand import of_a_person
from appliance.errors import FactoryError
from appliance.line import hand
from appliance.line.parts import Parts
from appliance.line.reproduce import Reproduction, check_reason, match_failures, reproduce
from appliance.line.similarity import rate
from appliance.line.written import around_patch, favoured, held_to_tests
from appliance.work import Change, Kind, NewTest, Outcome, Plan, State, TestReport, WorkItem

REPAIRABLE = frozenset({Kind.BUG, Kind.INCIDENT, Kind.FINDING, Kind.FEEDBACK})

MISSING_MODULE = "; if the repository needs it, name a Python that has it in `computers.python` and restart the box"


def run(item: WorkItem, parts: Parts) -> Outcome:
    """Run the repository's tests, find or write the ones the report is about, and localise."""
    written = of_a_person(item.plan)
    patch = item.change if item.change and item.change.author else None  # handed in before there was a plan
    if item.kind not in REPAIRABLE and written is None and patch is None:
        return ask(item, f"a {item.kind} needs a plan by a person: this box plans bugs by itself, and nothing else yet")
    parts.progress("fetching the repository")
    newest = parts.repository.sync()
    base = patch.base if patch else newest
    with parts.folder("plan") as into:
        tree = parts.repository.checkout(base, into)
        parts.progress("running the repository's tests")
        baseline = parts.suite(tree)
        trouble = cannot_start(baseline)
        if trouble:
            return ask(item, trouble, {"baseline": evidence(baseline)})
        if patch:
            return _around(item, patch, parts, tree, baseline)
        if written:
            return _as_written(item, written, parts, tree, base, baseline)
        return _plan(item, parts, tree, base, baseline)


LIMIT_SETTINGS = {"time": "seconds", "output": "output_kb", "memory": "memory_mb", "disk": "disk_mb"}
"""Limit of the sandbox → its setting in `computers`, where it is not called the same."""


def cannot_start(report: TestReport) -> str:
    """Why a test run is no ground to stand on, and what to do; "" when it is."""
    if report.limit:
        setting = LIMIT_SETTINGS.get(report.limit, report.limit)
        return (
            f"the repository's tests were stopped at the sandbox's limit on {report.limit}; mend what uses it up, "
            f"raise `computers.{setting}` and restart the box, or name another command with `repo set NAME --test`"
        )
    if report.complete and not report.outcomes:
        hint = "add tests, or name their command with `repo set NAME --test`"
        return f"the repository has no tests, so nothing would show that a change breaks nothing; {hint}"
    if not report.complete or (not report.passed and "error" in report.outcomes.values()):
        return f"the repository's tests cannot start (exit {report.exit_code}): {first_error(report)}"
    return ""


def first_error(report: TestReport) -> str:
    """The first error of a test run in a line: pytest's own last line says no more than how many there are."""
    for test in report.with_outcome("error"):
        said = re.findall(r"^E +(\S.*)$", report.messages.get(test, ""), re.MULTILINE)
        if said:
            hint = MISSING_MODULE if "No module named" in said[-1] else ""
            return f"{test}: {said[-1][:300]}{hint}"
    return (report.output_tail.strip().splitlines()[-1:] or ["no output"])[0][:300]


def _plan(item: WorkItem, parts: Parts, tree: Path, base: str, baseline: TestReport) -> Outcome:
    report = f"{item.title}\n{item.body}"
    similarity, how = rated(tree, report, parts)
    failing = {test: baseline.messages.get(test, "") for test in baseline.failed}
    matched, why_matched = match_failures(report, failing, {})
    parts.progress("writing a test from the report's example")
    found = reproduce(item.title, item.body, tree)
    if covered(found, [failing[test] for test in matched]):
        found = found.with_(tests=(), why="a failing test of the repository shows the example already")
    tests, why_tests = confirmed(found, parts, tree)
    acceptance = (*matched, *(test.id for test in tests))
    facts = {"baseline": evidence(baseline), "similarity": how, "example": why_tests, "matched": why_matched}
    if not acceptance:
        return ask(item, f"nothing reproduces the report: {why_matched}; {why_tests}", facts)
    plan = Plan(
        acceptance=acceptance,
        tests=tuple(dict.fromkeys(test.test for test in tests)),
        baseline=dict(baseline.outcomes),
        base=base,
    )
    parts.progress("looking for the place")
    suspects = parts.localise(tree, item.with_(plan=plan), similarity)[:20]
    files = tuple(dict.fromkeys(suspect.path for suspect in suspects))[:5]
    first = (
        f"most suspicious: {suspects[0].path}:{suspects[0].line} {suspects[0].function}" if suspects else "no suspect"
    )
    summary = f"make {len(acceptance)} test(s) pass without losing {len(baseline.passed)} that pass; {first}"
    plan = plan.with_(summary=summary, suspects=suspects, files=files)
    reason = f"{why_matched if matched else why_tests}; {summary}"
    return Outcome(item=planned(item, plan), reason=reason, by="rule", facts=facts)


def _as_written(item: WorkItem, written: Plan, parts: Parts, tree: Path, base: str, baseline: TestReport) -> Outcome:
    similarity, how = rated(tree, f"{item.title}\n{item.body}", parts)
    plan, why = held_to_tests(written, parts, tree, base, baseline)
    facts = {"baseline": evidence(baseline), "similarity": how, "plan": "a person's"}
    if plan is None:
        return ask(item.with_(plan=written.with_(base="")), why, facts)
    parts.progress("looking for the place")
    found = parts.localise(tree, item.with_(plan=plan), similarity)[:20]
    suspects = favoured(found, written.files, written.by)
    files = written.files or tuple(dict.fromkeys(one.path for one in suspects))[:5]
    plan = plan.with_(suspects=suspects, files=files, summary=f"{why}; without losing {len(baseline.passed)} that pass")
    return Outcome(item=planned(item, plan), reason=plan.summary, by=f"person:{written.by}", facts=facts)


def _around(item: WorkItem, patch: Change, parts: Parts, tree: Path, baseline: TestReport) -> Outcome:
    written = of_a_person(item.plan)
    if written:
        plan, why = held_to_tests(written, parts, tree, patch.base, baseline)
    else:
        plan, why = around_patch(patch, parts, tree, baseline)
    facts = {"baseline": evidence(baseline), "plan": "made around a patch"}
    if plan is None:
        return ask(item.with_(change=None), hand.waiting(item.id, why), facts)
    made = item.with_(plan=plan, state=State.BUILT, stage="test")
    return Outcome(item=made, reason=why, by="rule", facts=facts)


def planned(item: WorkItem, plan: Plan) -> WorkItem:
    """On to build, or to the person who makes the change by hand."""
    item = item.with_(plan=plan, stage="build")
    if item.taken_by:
        why = f"the plan is made; {item.taken_by} makes the change by hand"
        return item.with_(state=State.NEEDS_HUMAN, waiting_for=hand.waiting(item.id, why))
    return item.with_(state=State.PLANNED)


def rated(tree: Path, report: str, parts: Parts) -> tuple[Mapping[str, float], str]:
    """Similarity of report and functions, and how it was had. Without a model the plan goes on: it only orders."""
    try:
        similarity = rate(tree, report, parts.model)
    except FactoryError as error:
        return {}, f"not judged: {error.message}"
    best = max(similarity, key=lambda name: similarity[name], default="")
    return (
        similarity,
        f"{len(similarity)} functions; nearest {best} ({similarity[best]:.2f})" if best else "no functions",
    )


def covered(found: Reproduction, messages: Sequence[str]) -> bool:
    """Do the failures of the repository's own tests name every call that the report shows?"""
    shown = re.sub(r"[\s\"']", "", "".join(messages))
    return bool(found.examples) and all(re.sub(r"[\s\"']", "", one.call) in shown for one in found.examples)


class Confirmed:
    """A reproduction test with the id pytest gives it."""

    def __init__(self, test: NewTest, id: str) -> None:
        self.test = test
        self.id = id


def confirmed(found: Reproduction, parts: Parts, tree: Path) -> tuple[list[Confirmed], str]:
    """Keep the tests that fail for the reason the report gives; write them into the tree."""
    if not found.tests:
        return [], found.why
    kept: list[Confirmed] = []
    reasons: list[str] = []
    for test in found.tests:
        target = tree / test.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(test.content, encoding="utf-8")
        report = parts.suite(tree, [id for id in found.test_ids if id.partition("::")[0] == test.path])
        wrong = {name: report.messages.get(name, "") for name in report.failed}
        right = [name for name, message in wrong.items() if check_reason(message, found)[0]]
        if report.complete and right:
            kept += [Confirmed(test, name) for name in right]
            reasons.append(f"a test from the report ({test.origin}) fails as reported")
        else:
            target.unlink()
            reasons.append(why_not(test, report, wrong, found))
    return kept, "; ".join(reasons)


def why_not(test: NewTest, report: TestReport, wrong: Mapping[str, str], found: Reproduction) -> str:
    """Why a test made from the report proves nothing."""
    if not report.complete or not report.outcomes:
        return f"the test from the report ({test.origin}) could not run: {report.limit or report.output_tail[-200:]}"
    if not wrong:
        return f"the test from the report ({test.origin}) passes already: what it reports does not happen here"
    message = next(iter(wrong.values()))
    return f"the test from the report ({test.origin}) fails for another reason: {check_reason(message, found)[1]}"


def ask(item: WorkItem, why: str, facts: Mapping[str, object] | None = None) -> Outcome:
    """Stop for a person."""
    stopped = item.with_(state=State.NEEDS_HUMAN, stage="plan", waiting_for=why)
    return Outcome(item=stopped, reason=why, by="rule", facts=facts or {})


def evidence(report: TestReport) -> dict[str, object]:
    """A test run in figures, as the ledger keeps it."""
    counts: dict[str, int] = {}
    for outcome in report.outcomes.values():
        counts[outcome] = counts.get(outcome, 0) + 1
    return {
        "tests": counts,
        "exit_code": report.exit_code,
        "complete": report.complete,
        "limit": report.limit,
        "seconds": round(report.wall_seconds, 3),
        "sandbox": report.sandbox,
    }
