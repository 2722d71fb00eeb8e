"""Other constants: those that a slip of one, a sign or a letter leads to, apart from the rest."""

from __future__ import annotations

from appliance.repair.source import Source
from appliance.repair.templates import edits_of


def constants(line: str) -> dict[str, str]:
    source = Source("m.py", f"def f(x):\n    y = 8\n    {line}\n    return y\n")
    found = edits_of(source, {3: 1.0})
    return {edit.spans[0][2]: edit.template for edit in found if edit.template.endswith("constant")}


def test_a_number_that_is_one_off_is_nearer_than_one_that_is_usual_or_known() -> None:
    found = constants("y = x - 3")
    assert found["2"] == found["4"] == "constant"
    assert found["-3"] == found["30"] == found["0"] == "usual constant"
    assert found["8"] == "known constant"


def test_a_sign_is_slipped_at_one_alone() -> None:
    assert constants("y = x - 1")["-1"] == "constant"


def test_a_flag_is_turned_over() -> None:
    found = constants("y = x.sort(reverse=True)")
    assert found["False"] == "constant" and found["None"] == "usual constant"
