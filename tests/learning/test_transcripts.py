"""What rubs within a droid's attempt is read from the trajectory it leaves, and no word of it goes any further."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config import Home
from appliance.droids.account import trajectory
from appliance.droids.loop import Feedback, Task, attempt
from appliance.errors import LimitExceeded
from appliance.events import STAGE_FACTS, Fact
from appliance.evidence import keep
from appliance.learning.frictions import TIMES, found
from appliance.learning.rubbing import Watch
from appliance.learning.service import Learning
from appliance.learning.transcripts import MOST_BYTES, MOST_STEPS, rubs
from appliance.line import signal as opening
from appliance.settings import DroidSettings, LearningSettings, Settings
from appliance.work import Signal
from tests.contracts.model import Script, ScriptedModel
from tests.learning.test_frictions import look
from tests.learning.world import Telling

SECRET = "ghp_" + "a1B2c3D4" * 5
CODE = f'def price(net):\n    token = "{SECRET}"\n    return net * 2\n'


def edit(number: int) -> str:
    change = f"<<<<<<< SEARCH\n    return net * 2\n=======\n    return net * {number}\n>>>>>>> REPLACE"
    return f"shop.py\n```python\n{change}\n```"


def driven(folder: Path, *script: Script, passes: str = "net * 9") -> bytes:
    """The document that a real droid loop leaves over a scripted model; `passes` is the code that mends the fault."""
    (folder / "shop.py").write_text(CODE)
    task = Task(
        tree=folder, title="price is wrong", report=f"it says {SECRET}", acceptance=("t::a",), suspects=(),
        failures={"t::a": "assert 4 == 9"}, protected=(), model="scripted",
    )  # fmt: skip

    def validate(files: Any) -> Feedback:
        right = any(passes in text for text in files.values())
        return Feedback(passed=right, failures={} if right else {"t::a": f"no, {SECRET}"}, lost=())

    limits = DroidSettings(samples=2, turns=5, repeats=9, format_errors=9)
    result = attempt(task, ScriptedModel(*script), validate, limits, lambda line: None)
    return json.dumps(trajectory("W-1-1", "1", "scripted", list(result.steps))).encode()


@pytest.mark.parametrize(
    ("script", "kinds"),
    [
        ([edit(9)], []),
        ([edit(3), edit(4), edit(9)], []),
        ([edit(3), edit(3), edit(3), edit(9)], ["again", "again"]),
        ([edit(3), edit(4), edit(3), edit(9)], ["wavering"]),
        (["I would rather talk.", "Let me think.", edit(9)], ["unusable", "unusable"]),
        (["CANNOT: there is no such file", edit(9)], ["abandoned"]),
        ([LimitExceeded("too long", "send less"), edit(9)], ["churn"]),
    ],
    ids=["mended at once", "other edits", "the same again", "back to one that failed", "talk", "given up", "too long"],
)  # fmt: skip
def test_signs_are_found_in_what_a_real_droid_leaves(script: list[Script], kinds: list[str], tmp_path: Path) -> None:
    document = driven(tmp_path, *script)
    found_here = rubs(document)
    assert [rub.kind for rub in found_here] == kinds
    steps = {step["step_id"]: step for step in json.loads(document)["steps"]}
    assert all(rub.step in steps for rub in found_here), "each names a step that is there"


def test_an_older_trajectory_that_does_not_say_outcomes_still_shows_repeats() -> None:
    steps = [{"step_id": n, "source": "agent", "message": f"edit {text}"} for n, text in enumerate("abab", start=1)]
    assert rubs(json.dumps({"steps": steps}).encode()) == (("wavering", 3), ("wavering", 4))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
odd_steps = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "step_id": json_values,
            "source": st.sampled_from(["agent", "user", 3]),
            "message": json_values,
            "extra": st.sampled_from([{"outcome": "cut"}, {"outcome": "passed"}, {"outcome": SECRET}, SECRET, None]),
        },
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(odd_steps | json_values)
def test_whatever_a_trajectory_holds_only_kinds_and_steps_come_out_of_it(steps: Any) -> None:
    made = rubs(json.dumps({"steps": steps}).encode())
    assert all(rub.kind in TIMES and type(rub.step) is int for rub in made)


def test_what_is_too_long_or_no_trajectory_has_no_signs_and_many_steps_are_cut_off() -> None:
    again = [{"step_id": n, "source": "agent", "message": "x"} for n in range(1, MOST_STEPS + 500)]
    assert len(rubs(json.dumps({"steps": again}).encode())) == MOST_STEPS - 1
    assert rubs(b" " * MOST_BYTES + json.dumps({"steps": again}).encode()) == ()
    for odd in (b"", b"\xff", b"[]", b"{}", b'{"steps": 3}', b"[" * 100_000):
        assert rubs(odd) == ()


class Rubbed(Telling):
    """Items with a droid's attempt that left a trajectory."""

    def attempt(self, evidence: Path, document: bytes) -> tuple[str, str]:
        got = self.ledger.receive(Signal(id="", repo="shop", title="it breaks"))
        item = self.ledger.open_item(got.id, opening.run(got)).id
        kept = keep(evidence / item, "trajectory", "json", document)
        tried = {"strategy": "droid", "model": "scripted", "outcome": "plausible", "tried": 1, "detail": "",
                 "trajectory": kept.model_dump()}  # fmt: skip
        self.say(STAGE_FACTS["build"], item, stage="build", to="built", reason="so", by="droid",
                 facts={"attempt 1": tried})  # fmt: skip
        return item, kept.file


def test_what_rubs_in_many_trajectories_is_filed_with_its_steps_and_without_a_word_of_them(
    home: Home, tmp_path: Path
) -> None:
    told = Rubbed(home)
    document = driven(tmp_path, edit(3), edit(3), edit(3), edit(3), edit(9))
    items = [told.attempt(home.evidence, document) for _ in range(3)]
    learning = Learning(home, Settings(learning=LearningSettings(friction_count=3, friction_days=7)))
    [row] = look(learning)
    learning.close()
    assert (row["kind"], row["place"], row["found"]) == ("again", "answers of scripted", 3)
    [(filed, _)] = [pair for pair in told.ledger.signals() if pair[0].source == "learning"]
    for item, file in items:
        assert f"/items/{item}/trajectory/{file}#step-" in filed.body
    noted = [event for item, _ in items for event in told.ledger.history(item) if event.kind == Fact.FRICTION_FOUND]
    said = json.dumps([event.payload for event in noted]) + filed.model_dump_json()
    assert len(noted) == 3 and SECRET not in said and "net *" not in said and "price" not in said


def test_a_trajectory_that_is_gone_or_was_changed_tells_nothing(home: Home, tmp_path: Path) -> None:
    told = Rubbed(home)
    document = driven(tmp_path, edit(3), edit(3), edit(3), edit(3), edit(9))
    gone, name = told.attempt(home.evidence, document)
    (home.evidence / gone / name).unlink()
    changed, name = told.attempt(home.evidence, document)
    (home.evidence / changed / name).write_bytes(document + b" ")
    watch = Watch(told.ledger, lambda _sql, _given: [], LearningSettings(), home.evidence)
    for item in (gone, changed):
        assert list(watch.transcripts(item, told.ledger.history(item))) == []
    assert found(told.ledger.history(gone), []) == []


def test_people_who_say_nearly_the_same_again_are_noticed_and_the_number_of_a_choice_is_not(home: Home) -> None:
    told = Rubbed(home)
    got = told.ledger.receive(Signal(id="", repo="shop", title="it breaks"))
    item = told.ledger.open_item(got.id, opening.run(got)).id

    def people(*words: str) -> dict[str, int]:
        for text in words:
            told.say(Fact.COMMAND_GIVEN, item, verb="answer", by="ada", text=text)
        return {one.kind: one.times for one in found(told.ledger.history(item), [])}

    assert people("2", "2", "1", "1") == {"rephrasing": 4}
    assert "said again" not in people("the total must be rounded up to cents", "dates are in UTC, always")
    assert "said again" not in people("no: the total must be rounded up to whole cents")
    assert people("again: the total must be rounded up to whole cents!")["said again"] == 2
