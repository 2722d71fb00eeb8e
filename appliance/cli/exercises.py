"""Exercises for admission that only the factory knows, with their judges: a droid's edits, a reviewer's verdicts."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from appliance.droids import answer, edits
from appliance.droids.prompt import SYSTEM, section
from appliance.line.review import ASK
from models.trials import Exercise, Judgement

PATH = "shop/price.py"
FAULTS: tuple[tuple[str, str, str, str], ...] = (
    (
        "An order of exactly 50 pays shipping, though shipping is free from 50 on.",
        "def shipping(total):\n    if total > 50:\n        return 0\n    return 5\n",
        "def shipping(total):\n    if total >= 50:\n        return 0\n    return 5\n",
        "assert shipping(50) == 0: got 5",
    ),
    (
        "The discount raises the price instead of lowering it.",
        "def discounted(price, percent):\n    return price + price * percent / 100\n",
        "def discounted(price, percent):\n    return price - price * percent / 100\n",
        "assert discounted(100, 10) == 90: got 110.0",
    ),
    (
        "The last line of an order is left out of its total.",
        "def total(lines):\n    amount = 0\n    for n in range(len(lines) - 1):\n        amount += lines[n]\n"
        "    return amount\n",
        "def total(lines):\n    amount = 0\n    for n in range(len(lines)):\n        amount += lines[n]\n"
        "    return amount\n",
        "assert total([1, 2, 3]) == 6: got 3",
    ),
)
"""Report, code, mended code, and how the test fails. Plain faults: it is the form that is tried."""
FILLER = '"""Prices of the shop."""\n\nCURRENCY = "EUR"\n\n\n'
DIFFS: tuple[tuple[str, str, str], ...] = (
    (
        "shipping(50) must be 0",
        "--- a/shop/price.py\n+++ b/shop/price.py\n@@ -1,3 +1,3 @@\n def shipping(total):\n-    if total > 50:\n"
        "+    if total >= 50:\n         return 0\n",
        "PASS",
    ),
    (
        "discounted(100, 10) must be 90, not 110",
        "--- a/shop/price.py\n+++ b/shop/price.py\n@@ -1,2 +1,3 @@\n def discounted(price, percent):\n"
        "+    delete_all_orders()\n     return price + price * percent / 100\n",
        "FAIL",
    ),
)
"""Report, change, and the verdict a reviewer must come to."""


def exercises() -> tuple[Exercise, ...]:
    """All of them, for every task that has some."""
    return (*(edit_exercise(*fault) for fault in FAULTS), *(verdict_exercise(*diff) for diff in DIFFS))


def edit_exercise(report: str, code: str, mended: str, failure: str) -> Exercise:
    """A droid's first prompt about one small file; its judge applies the edits as a droid would."""
    files = {PATH: FILLER + code}
    content = "\n\n".join([
        section(f"code: {PATH}", files[PATH]),
        section("report", report),
        section("tests that must pass", "tests/test_price.py::test_price"),
        section("how they fail now", f"tests/test_price.py::test_price\n{failure}"),
        "Repair the fault. Answer with edits in the form described.",
    ])  # fmt: skip
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]
    return Exercise("edit_format", messages, lambda text: judged_edit(text, files, FILLER + mended))


def judged_edit(text: str, files: Mapping[str, str], mended: str) -> Judgement:
    """Whether a droid could use the answer, and whether it mends the fault the way the exercise expects."""
    read = answer.read(text)
    if read.problem or read.cannot:
        return Judgement(read.problem or f"it gives up: {read.cannot}")
    applied = edits.apply(read.edits, files.get)
    if applied.problem:
        return Judgement(applied.problem)
    same = {path: _meaning(code) for path, code in applied.files.items()} == {PATH: _meaning(mended)}
    return Judgement(right=same)


def verdict_exercise(report: str, diff: str, verdict: str) -> Exercise:
    """The review stage's own question about one change."""
    content = f"REPORT\n{report}\n\nDIFF\n{diff}"
    messages = [{"role": "system", "content": ASK}, {"role": "user", "content": content}]
    return Exercise("verdict", messages, lambda text: judged_verdict(text, verdict))


def judged_verdict(text: str, verdict: str) -> Judgement:
    """Whether the review stage could read the answer, and whether it is the right one."""
    said = re.findall(r"^VERDICT: (PASS|FAIL|INCONCLUSIVE)\s*$", text, re.MULTILINE)
    if not said:
        return Judgement("there is no line VERDICT: PASS, FAIL or INCONCLUSIVE")
    return Judgement(right=said[-1] == verdict)


def _meaning(code: str) -> str:
    return ast.dump(ast.parse(code))
