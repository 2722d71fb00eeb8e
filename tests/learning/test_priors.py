"""From the ledger's outcomes to the file that repair by search reads."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from appliance.learning.priors import MOST_FILES, Repair, file_of, repair_of

DAY = datetime(2026, 5, 1)


def repair(days_ago: float = 0.0, repo: str = "shop", **told: Any) -> Repair:
    facts = {"repo": repo, "template": "comparison", "place": "if", "paths": ["a.py"], **told}
    return repair_of(DAY - timedelta(days=days_ago), {"facts": facts})


def counts(*repairs: Repair, half_life: float = 100.0) -> Any:
    content = file_of(repairs, half_life)
    return json.loads(content) if content else None


def test_an_old_repair_counts_half_after_a_half_life() -> None:
    found = counts(repair(), repair(100.0, template="constant"), repair(200.0, template="variable"))
    assert found["site"]["templates"] == {"comparison": 1.0, "constant": 0.5, "variable": 0.25}


def test_each_repository_has_its_own_counts_and_files_are_no_matter_of_the_site() -> None:
    found = counts(repair(), repair(repo="wms", paths=["b.py"]))
    assert found["site"] == {"templates": {"comparison": 2.0}, "places": {"if": 2.0}, "files": {}}
    assert {name: one["files"] for name, one in found["repositories"].items()} == {
        "shop": {"a.py": 1.0},
        "wms": {"b.py": 1.0},
    }


def test_a_repair_of_two_edits_counts_once_in_all() -> None:
    found = counts(repair(template="comparison + constant", paths=["a.py", "b.py"]))
    assert found["site"]["templates"] == {"comparison": 0.5, "constant": 0.5}
    assert found["repositories"]["shop"]["files"] == {"a.py": 0.5, "b.py": 0.5}


def test_the_order_in_which_outcomes_are_told_makes_no_difference() -> None:
    repairs = [repair(float(n % 7), template=("constant", "variable")[n % 2]) for n in range(40)]
    assert file_of(repairs, 30.0) == file_of(reversed(repairs), 30.0)


def test_a_change_by_a_model_tells_of_its_files_only() -> None:
    found = counts(repair(template="", place="", paths=["m.py"]))
    assert found["site"]["templates"] == {} and found["repositories"]["shop"]["files"] == {"m.py": 1.0}


def test_without_a_repair_there_is_no_file() -> None:
    assert file_of([], 30.0) is None
    assert file_of([repair_of(DAY, {"facts": {"repo": "shop", "strategy": "search"}})], 30.0) is None


@pytest.mark.parametrize(
    "facts", [None, [], {"repo": 3, "template": {"a": 1}, "paths": "a.py"}, {"paths": [1, "", "x" * 400]}]
)
def test_odd_facts_are_nothing_said(facts: Any) -> None:
    one = repair_of(DAY, {"facts": facts})
    assert one.files == () and (not one.templates or one.templates == ('{"a": 1}',))


def test_of_too_many_files_those_mended_most_are_named() -> None:
    repairs = [repair(paths=[f"f{n}.py"]) for n in range(MOST_FILES + 50)] + [repair(paths=["often.py"])] * 3
    files = counts(*repairs)["repositories"]["shop"]["files"]
    assert len(files) == MOST_FILES and files["often.py"] == 3.0
