from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.events import Fact
from appliance.learning.derive import derive
from appliance.learning.derive_gates import verdicts
from appliance.ledger.chain import Recorded
from appliance.policy import Meaning

AT = "2026-01-01T10:00:00.000+02:00"


def event(seq: int, kind: str, subject: str, /, **payload: Any) -> Recorded:
    return Recorded(seq=seq, at=AT, kind=kind, subject=subject, payload=payload, prev="", hash=str(seq))


def test_a_build_that_tried_twice_gives_two_attempts_with_the_rule_that_chose_them() -> None:
    told = {"strategy": "search", "outcome": "none", "tried": 7, "seconds": 1.5}
    facts = {"rule": "repair", "attempt 2": told, "attempt 1": told, "attempt": "odd"}
    batch = derive([event(1, Fact.CHANGE_BUILT, "W-1", stage="build", to="built", facts=facts)])
    found = [(row["n"], row["tried"], row["rule"]) for row in batch.rows["attempts"]]
    assert found == [(1, 7, "repair"), (2, 7, "repair")]


def test_the_routers_choice_comes_with_what_was_asked_and_the_reports_vector_is_kept_once() -> None:
    meaning = Meaning.of([0.6, 0.8], "mini", "ab").model_dump()
    asked = {"task": "repair", "stage": "build", "language": "python", "prompt_tokens": 90, "severity": 2, "repo": "x"}
    facts = {"rule": "r", "candidates": ["a", "b"], "asked": asked, "suggested": ["b", "a"], "meaning": meaning}
    batch = derive([event(1, Fact.CHANGE_BUILT, "W-1", stage="build", to="built", facts=facts)])
    [row] = batch.rows["decisions"]
    assert (row["stage"], row["language"], row["prompt_tokens"], row["severity"]) == ("build", "python", 90, 2)
    assert (row["suggested"], json.loads(row["features"])) == ("b", asked)
    assert Meaning.model_validate_json(row["meaning"]).model_dump() == meaning
    assert meaning["numbers"] not in batch.rows["events"][0]["payload"]


@pytest.mark.parametrize("meaning", [None, 1, "x", {}, {"embedder": "m", "numbers": "?"}, [1.0]])
def test_an_odd_vector_is_none(meaning: Any) -> None:
    facts = {"rule": "r", "candidates": ["a"], "meaning": meaning, "asked": meaning}
    batch = derive([event(1, Fact.CHANGE_BUILT, "W-1", stage="build", to="built", facts=facts)])
    assert batch.rows["decisions"][0]["meaning"] is None


def test_a_review_gives_the_verdict_of_each_of_its_gates() -> None:
    facts = {"policy": {"verdict": "PASS", "reason": "small"}, "model": {"verdict": "INCONCLUSIVE"}}
    found = verdicts("review", facts, "both")
    assert [(row["gate"], row["verdict"], row["reason"]) for row in found] == [
        ("policy", "PASS", "small"),
        ("model", "INCONCLUSIVE", "both"),
    ]


def test_times_are_kept_in_utc() -> None:
    (row,) = derive([event(1, Fact.BOX_STARTED, "box")]).rows["events"]
    assert row["happened"].isoformat() == "2026-01-01T08:00:00"


def test_a_command_of_a_person_moves_the_item_but_is_no_stage_run() -> None:
    batch = derive([event(1, Fact.COMMAND_APPLIED, "W-1", **{"from": "needs_human", "to": "rejected"})])
    assert batch.moves[0]["state"] == "rejected" and batch.rows["stage_runs"] == []


INNER = ["stage", "facts", "attempt 1", "verdict", "tried", "to", "x"]
OUTER = ["stage", "facts", "from", "to", "by", "reason", "wall_seconds", "title", "repo"]

anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.sampled_from(["PASS", "build"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner, max_size=4),
    max_leaves=12,
)


@example(kind=Fact.ITEM_OPENED, payload={"stage": "test", "facts": {"verdict": []}})
@given(kind=st.sampled_from(list(Fact)), payload=st.dictionaries(st.sampled_from(OUTER), anything))
def test_no_payload_whatever_stops_the_reader(kind: Fact, payload: dict[str, Any]) -> None:
    batch = derive([event(1, str(kind), "W-1", **payload)])
    assert len(batch.rows["events"]) == 1


def test_the_candidates_of_an_attempt_are_told_with_the_one_that_was_taken() -> None:
    found = [{"origin": "off by one", "weight": 0.7, "files": ["a.py"], "digest": "d1"}, {"origin": "guard"}, "odd"]
    facts = {"attempt 1": {"outcome": "plausible", "candidates": found}, "attempt 2": {"outcome": "ambiguous",
             "candidates": found[:1]}}  # fmt: skip
    rows = derive([event(1, Fact.CHANGE_BUILT, "W-1", stage="build", to="built", facts=facts)]).rows["candidates"]
    assert [(row["n"], row["rank"], row["origin"], row["chosen"]) for row in rows] == [
        (1, 1, "off by one", True), (1, 2, "guard", False), (2, 1, "off by one", False),
    ]  # fmt: skip
    assert (rows[0]["files"], rows[0]["digest"], rows[0]["item"]) == (["a.py"], "d1", "W-1")


def test_a_scanners_findings_are_rows() -> None:
    one = {"tool": "bandit", "rule": "B1", "path": "a.py", "line": 3, "message": "m", "severity": "error"}
    facts = {"verdict": "FAIL", "new": [one, 5]}
    (row,) = derive([event(1, Fact.CHANGE_SECURED, "W-1", stage="secure", to="needs_human", facts=facts)]).rows[
        "findings"
    ]
    assert {name: row[name] for name in one} == one and row["stage"] == "secure"


def test_what_people_say_of_an_item_is_a_review_and_what_a_forge_tells_is_none() -> None:
    said = [event(n, Fact.COMMAND_GIVEN, "W-1", verb=verb, by="ada", text="no")
            for n, verb in enumerate(("reject", "look", "observe", "revise"), start=1)]  # fmt: skip
    rows = derive(said).rows["reviews"]
    assert [(row["verb"], row["person"], row["words"]) for row in rows] == [
        ("reject", "ada", "no"), ("revise", "ada", "no"),
    ]  # fmt: skip


def test_an_incident_of_the_line_names_the_item_that_did_not_hold() -> None:
    told = {"repo": "shop", "kind": "incident", "source": "monitor", "title": "W-7 was reverted: it breaks"}
    theirs = {**told, "source": "cli"}
    events = [event(1, Fact.SIGNAL_RECEIVED, "S-1", **told), event(2, Fact.SIGNAL_RECEIVED, "S-2", **theirs),
              event(3, Fact.SIGNAL_RECEIVED, "S-3", **{**told, "kind": "bug"})]  # fmt: skip
    batch = derive(events)
    assert [(row["signal"], row["item"]) for row in batch.rows["incidents"]] == [("S-1", "W-7"), ("S-2", "")]
    assert [row["kind"] for row in batch.rows["signals"]] == ["incident", "incident", "bug"]


def test_each_move_of_a_lesson_is_a_row_with_the_lesson_as_it_was() -> None:
    lesson = {"text": "mind the rounding", "scope": {"repo": "shop", "path": "a.py"}, "support": 2, "source": "review"}
    moved = {"from": "proposed", "to": "confirmed", "by": "person:ada", "why": "right", "lesson": lesson}
    used = {"item": "W-2", "round": 1, "stage": "build", "role": "builder", "rank": 1, "score": 0.5, "how": "words"}
    batch = derive([event(1, Fact.LESSON_CONFIRMED, "L-1", **moved), event(2, Fact.LESSON_USED, "L-1", **used)])
    (row,) = batch.rows["lessons"]
    assert (row["lesson"], row["before"], row["state"], row["words"], row["repo"], row["support"]) == (
        "L-1", "proposed", "confirmed", "mind the rounding", "shop", 2,
    )  # fmt: skip
    (use,) = batch.rows["lesson_uses"]
    assert {name: use[name] for name in used} == used and use["lesson"] == "L-1"
