from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from appliance.events import Fact
from appliance.learning.derive import derive, verdicts
from appliance.ledger.chain import Recorded

AT = "2026-01-01T10:00:00.000+02:00"


def event(seq: int, kind: str, subject: str, **payload: Any) -> Recorded:
    return Recorded(seq=seq, at=AT, kind=kind, subject=subject, payload=payload, prev="", hash=str(seq))


def test_a_build_that_tried_twice_gives_two_attempts_with_the_rule_that_chose_them() -> None:
    told = {"strategy": "search", "outcome": "none", "tried": 7, "seconds": 1.5}
    facts = {"rule": "repair", "attempt 2": told, "attempt 1": told, "attempt": "odd"}
    batch = derive([event(1, Fact.CHANGE_BUILT, "W-1", stage="build", to="built", facts=facts)])
    found = [(row["n"], row["tried"], row["rule"]) for row in batch.rows["attempts"]]
    assert found == [(1, 7, "repair"), (2, 7, "repair")]


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
    assert batch.rows["items"][0]["state"] == "rejected" and batch.rows["stage_runs"] == []


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
