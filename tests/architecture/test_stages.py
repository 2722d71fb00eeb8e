"""README, the line's docstring, the runner and the files agree on the stages and their order."""

from __future__ import annotations

import re

import appliance.line
from appliance.line.runner import STAGES
from appliance.work import State
from tests.architecture.tree import ROOT

OPENING = "signal"
IN_ORDER = [OPENING, *STAGES]
AFTER = [state for state, _ in STAGES.values()] + [State.CLOSED]
"""The state after each stage: a stage leaves an item where the next one takes it up."""


def test_the_docstring_tells_the_stages_and_states_in_the_runners_order() -> None:
    told = re.findall(r"^    (\w+) +→ (\w+) ", appliance.line.__doc__ or "", re.MULTILINE)
    assert told == [(stage, state.value) for stage, state in zip(IN_ORDER, AFTER, strict=True)]


def test_the_readme_tells_the_states_and_stages_in_the_runners_order() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    states = " → ".join(state.value for state in AFTER)
    assert states in readme
    told = re.findall(r"^\| `(\w+)` +\| `(\w+)` +\|", readme, re.MULTILINE)
    assert told == [(stage, state.value) for stage, state in zip(IN_ORDER, AFTER, strict=True)]


def test_each_stage_is_a_file_of_the_line_with_a_run() -> None:
    folder = ROOT / "appliance" / "line"
    for stage in IN_ORDER:
        assert "\ndef " in (folder / f"{stage}.py").read_text("utf-8"), f"no stage in {stage}.py"
    for stage, (_, run) in STAGES.items():
        assert (run.__module__, run.__name__) == (f"appliance.line.{stage}", "run")
