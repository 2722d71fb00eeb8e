from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.errors import Unavailable
from appliance.line.scanners import read_bandit, usual
from appliance.line.secure import keep_sarif, new_findings
from appliance.work import Finding


def finding(line: int = 1, **more: str) -> Finding:
    return Finding(**{"rule": "S602", "path": "a.py", "message": "shell", "tool": "ruff", "line": line, **more})


def test_a_moved_finding_is_not_new_but_a_second_one_of_its_kind_is() -> None:
    assert new_findings([finding(3)], [finding(40)]) == []
    assert new_findings([finding(3)], [finding(3), finding(9)]) == [finding(9)]
    assert new_findings([finding(3)], [finding(3, path="b.py")]) == [finding(3, path="b.py")]


def test_sarif_names_tool_rule_place_and_its_own_digest(tmp_path: Path) -> None:
    kept = keep_sarif(tmp_path / "W-1", [finding(7, severity="error"), finding(0, tool="bandit", rule="B602")])
    document = json.loads((tmp_path / "W-1" / kept["file"]).read_text())
    assert document["version"] == "2.1.0"
    assert [run["tool"]["driver"]["name"] for run in document["runs"]] == ["bandit", "ruff"]
    place = document["runs"][1]["results"][0]["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("a.py", 7)
    assert len(kept["sha256"]) == 64


def test_a_file_bandit_could_not_read_is_no_result() -> None:
    with pytest.raises(ValueError, match="syntax"):
        read_bandit({"errors": [{"reason": "syntax error"}], "results": []})


@pytest.mark.integration
def test_the_real_scanners_find_planted_weaknesses_in_the_sandbox(tmp_path: Path, sandbox) -> None:
    (tmp_path / "a.py").write_text(
        'import subprocess\nsubprocess.call("ls " + input(), shell=True)\nTOKEN = "ghp_' + "9aB3" * 9 + '"\n'
    )
    (tmp_path / "clean.py").write_text("VALUE = 1\n")
    found = {scanner.name: scanner.scan(tmp_path, ["a.py", "clean.py"]) for scanner in usual(sandbox)}
    assert {"S602"} <= {one.rule for one in found["ruff"]}
    assert {"B602"} <= {one.rule for one in found["bandit"]}
    assert {"GitHub Token"} <= {one.rule for one in found["detect-secrets"]}
    assert {one.path for findings in found.values() for one in findings} == {"a.py"}
    assert not any("9aB3" in one.message for one in found["detect-secrets"]), "the secret itself is never kept"


@pytest.mark.integration
def test_a_scanner_that_cannot_read_the_file_gives_no_pass(tmp_path: Path, sandbox) -> None:
    (tmp_path / "broken.py").write_text("def f(:\n")
    bandit = next(scanner for scanner in usual(sandbox) if scanner.name == "bandit")
    with pytest.raises(Unavailable, match="bandit gave no result"):
        bandit.scan(tmp_path, ["broken.py"])
