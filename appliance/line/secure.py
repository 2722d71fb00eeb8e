"""Stage secure: nothing new for the scanners. What the base had already is not held against the change."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.by_hand import is_test
from appliance.errors import Unavailable
from appliance.evidence import keep
from appliance.line.parts import Parts
from appliance.work import Change, Finding, Outcome, Result, State, Verdict, WorkItem

USUAL_IN_TESTS = frozenset({"S101", "B101"})
"""Assert statements, which are what tests are made of."""


def run(item: WorkItem, parts: Parts) -> Outcome:
    """Scan the touched files before and after; a new finding, or a scanner that did not finish, stops the item."""
    assert item.change is not None, "the runner secures reviewed items only"
    try:
        before, after = scanned(item.change, parts)
    except Unavailable as error:
        verdict = Verdict(gate="secure", verdict=Result.INCONCLUSIVE, evidence={"reason": error.message})
        return settle(item, verdict)
    fresh = new_findings(before, after)
    kept = keep_sarif(parts.evidence, after)
    tools = ", ".join(scanner.name for scanner in parts.scanners)
    reason = f"{tools}: {len(fresh)} new finding(s), {len(after) - len(fresh)} known before"
    if fresh:
        reason += ": " + "; ".join(f"{one.path}:{one.line} {one.rule} {one.message}" for one in fresh[:5])
    evidence = {"reason": reason, "new": [one.model_dump() for one in fresh], "sarif": kept}
    return settle(item, Verdict(gate="secure", verdict=Result.FAIL if fresh else Result.PASS, evidence=evidence))


def scanned(change: Change, parts: Parts) -> tuple[list[Finding], list[Finding]]:
    """Findings of all scanners in the touched files, without and with the change."""
    workspace = parts.repository.workspace(change.base)
    try:
        workspace.apply(change.diff)
        commit = workspace.commit("under scan", ())
        with parts.folder("secure") as old, parts.folder("secure") as new:
            before = _scan(parts.repository.checkout(change.base, old), change.files, parts)
            return before, _scan(workspace.export(commit, new), change.files, parts)
    finally:
        workspace.close()


def _scan(tree: Path, files: Sequence[str], parts: Parts) -> list[Finding]:
    present = [path for path in files if (tree / path).is_file() and not (tree / path).is_symlink()]
    if not present:
        return []
    parts.progress(f"scanning {len(present)} file(s)")
    found = [one for scanner in parts.scanners for one in scanner.scan(tree, present)]
    return [one for one in found if not (one.rule in USUAL_IN_TESTS and is_test(one.path))]


def new_findings(before: Sequence[Finding], after: Sequence[Finding]) -> list[Finding]:
    """Findings beyond those of the base, by tool, rule, path and message: a moved line is not a new finding."""
    known = Counter((one.tool, one.rule, one.path, one.message) for one in before)
    fresh = []
    for one in after:
        key = (one.tool, one.rule, one.path, one.message)
        if known[key] > 0:
            known[key] -= 1
        else:
            fresh.append(one)
    return fresh


def settle(item: WorkItem, verdict: Verdict) -> Outcome:
    """PASS goes on; anything else waits for a person."""
    item = item.with_(verdicts=(*item.verdicts, verdict))
    reason = str(verdict.evidence["reason"])
    facts = {"verdict": verdict.verdict, **verdict.evidence}
    if verdict.verdict is Result.PASS:
        return Outcome(item=item.with_(state=State.SECURED, stage="ship"), reason=reason, by="rule", facts=facts)
    if "secure" in item.approvals:
        who = item.approvals["secure"]
        passed = item.with_(state=State.SECURED, stage="ship")
        return Outcome(item=passed, reason=f"approved by {who} over: {reason}", by=f"person:{who}", facts=facts)
    stopped = item.with_(state=State.NEEDS_HUMAN, stage="secure", waiting_for=f"approve or reject: {reason}")
    return Outcome(item=stopped, reason=reason, by="rule", facts=facts)


def keep_sarif(folder: Path, findings: Sequence[Finding]) -> dict[str, Any]:
    """Write the findings as SARIF 2.1.0 into the item's evidence. Returns its name and SHA-256."""
    tools: dict[str, list[Finding]] = {}
    for one in findings:
        tools.setdefault(one.tool, []).append(one)
    document = {
        "version": "2.1.0",
        "runs": [_sarif_run(tool, found) for tool, found in sorted(tools.items())],
    }
    return keep(folder, "secure", "sarif", json.dumps(document, indent=1).encode()).model_dump()


def _sarif_run(tool: str, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "tool": {"driver": {"name": tool, "rules": [{"id": rule} for rule in sorted({one.rule for one in findings})]}},
        "results": [
            {
                "ruleId": one.rule,
                "level": one.severity if one.severity in ("none", "note", "warning", "error") else "warning",
                "message": {"text": one.message},
                "locations": [
                    {
                        "physicalLocation": {
                            "artifactLocation": {"uri": one.path},
                            "region": {"startLine": max(1, one.line)},
                        }
                    }
                ],
            }
            for one in findings
        ],
    }
