"""What the box proves is judged strictly: what is not said is a failure."""

from __future__ import annotations

import json

from installer.target.health import WANTED, judged


def rows(**verdicts: str) -> str:
    named = dict.fromkeys(WANTED, "pass") | {name.replace("_", " "): verdict for name, verdict in verdicts.items()}
    return json.dumps([{"name": name, "verdict": one, "found": "x", "fix": ""} for name, one in named.items() if one])


def test_a_box_that_proves_all_is_healthy() -> None:
    assert [row.verdict for row in judged(rows(), "")] == ["pass"] * len(WANTED)


def test_what_is_not_said_is_a_failure() -> None:
    (failed,) = (row for row in judged(rows(git_fetch=""), "") if row.verdict == "fail")
    assert (failed.name, failed.found) == ("git fetch", "not tried")


def test_a_verdict_nobody_knows_is_no_pass() -> None:
    assert [row.name for row in judged(rows(audit="fine"), "") if row.verdict == "fail"] == ["audit"]


def test_a_box_that_says_nothing_readable_is_not_healthy() -> None:
    (failed,) = judged("", "error: the gateway does not answer\nhint: see its log")
    assert failed.verdict == "fail" and failed.found == "hint: see its log"
    assert judged("[1]", "")[0].verdict == judged('{"name": 1}', "")[0].verdict == "fail"
