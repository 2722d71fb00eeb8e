"""The language of code is told by its files, and of a repair by what is suspected first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from appliance.language import language_of
from appliance.line.build import question, spoken
from appliance.ports import Repository
from appliance.work import Plan, Suspect, WorkItem
from tests.contracts.model import ScriptedModel


class Files:
    """A repository that has these files, and counts how often it was asked."""

    def __init__(self, *paths: str) -> None:
        self.known, self.asked = paths, list[str]()

    def head(self) -> str:
        return "h" * 40

    def paths(self, commit: str) -> tuple[str, ...]:
        self.asked.append(commit)
        return self.known


@pytest.mark.parametrize(
    ("paths", "language"),
    [
        (["a.py", "b.ts", "c.tsx"], "typescript"), (["a.py", "b.go"], "go"), (["Makefile", "a.json"], ""), ([], ""),
        (["src/MAIN.C", "src/main.h"], "c"), ([".py", "py", "a.py/readme"], ""),
    ],
)  # fmt: skip
def test_most_files_decide_and_what_is_no_code_counts_for_nothing(paths: Sequence[str], language: str) -> None:
    assert language_of(paths) == language


@pytest.mark.parametrize(
    ("plan", "language", "asked"),
    [
        (Plan(suspects=(Suspect(path="web/app.js", line=1, score=1.0),), base="b"), "javascript", []),
        (Plan(files=("docs/notes.md",), base="b"), "python", ["b"]),
        (Plan(), "python", ["h" * 40]),
    ],
    ids=["suspects", "no suspect is code", "no plan says"],
)
def test_the_router_is_asked_with_the_language_of_what_is_to_be_changed(
    plan: Plan, language: str, asked: list[str]
) -> None:
    files = Files("shop/cart.py", "shop/price.py", "web/app.js")
    item = WorkItem(id="W-1", repo="shop", title="it breaks", kind="bug")
    words: dict[str, Any] = question(item, ScriptedModel(), spoken(plan, cast(Repository, files)))[0]
    assert words["language"] == language and files.asked == asked
