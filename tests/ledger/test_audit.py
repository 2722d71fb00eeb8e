from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import VerificationFailed
from appliance.ledger import Ledger
from appliance.ledger.audit import read_anchor, verify, write_anchor
from appliance.ledger.chain import GENESIS, canonical, digest, first_break
from tests.ledger.world import open_one

KEY = b"k" * 32


@pytest.fixture
def anchored(ledger: Ledger, tmp_path: Path) -> Path:
    for _ in range(3):
        open_one(ledger)
    write_anchor(tmp_path / "anchor", *ledger.tip(), KEY)
    return tmp_path / "anchor"


def tamper(ledger: Ledger, statement: str) -> None:
    with ledger.database.writing() as connection:
        connection.execute(sa.text(statement))


def test_an_untouched_ledger_verifies(ledger: Ledger, anchored: Path) -> None:
    found = verify(ledger, anchored, KEY)
    assert (found.ok, found.events, found.anchored) == (True, 7, 7)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE events SET payload = '{}' WHERE seq = 3", "event 3 was altered"),
        ("UPDATE events SET at = '2030' WHERE seq = 7", "event 7 was altered"),
        ("DELETE FROM events WHERE seq = 4", "event 4 is missing"),
        ("DELETE FROM events WHERE seq > 5", "2 newest events are missing"),
        ("DELETE FROM events", "7 newest events are missing"),
        ("UPDATE events SET seq = 100 - seq WHERE seq IN (49, 51)", ""),
        ("UPDATE events SET prev = hash WHERE seq = 2", "event 2 does not follow"),
    ],
)
def test_edits_deletions_and_truncation_are_found(ledger: Ledger, anchored: Path, statement: str, problem: str) -> None:
    tamper(ledger, statement)
    found = verify(ledger, anchored, KEY)
    assert found.ok is (problem == "")
    assert problem in found.problem


def test_swapped_events_are_found(ledger: Ledger, anchored: Path) -> None:
    for statement in ("SET seq = 99 WHERE seq = 3", "SET seq = 3 WHERE seq = 4", "SET seq = 4 WHERE seq = 99"):
        tamper(ledger, f"UPDATE events {statement}")
    assert not verify(ledger, anchored, KEY).ok


def test_a_chain_rewritten_with_right_hashes_fails_against_the_anchor(ledger: Ledger, anchored: Path) -> None:
    rows = list(ledger.raw_events())
    prev = GENESIS
    for seq, at, kind, subject, payload, _, _ in rows:
        text = payload.replace("it breaks", "all is well")
        new = digest(seq, at, kind, subject, text, prev)
        with ledger.database.writing() as connection:
            connection.execute(
                sa.text("UPDATE events SET payload = :p, prev = :prev, hash = :h WHERE seq = :s"),
                {"p": text, "prev": prev, "h": new, "s": seq},
            )
        prev = new
    found = verify(ledger, anchored, KEY)
    assert not found.ok and "not the one that was anchored" in found.problem


def test_an_altered_or_foreign_anchor_is_refused(ledger: Ledger, anchored: Path) -> None:
    anchored.write_text(anchored.read_text().replace('"seq": 7', '"seq": 6'))
    with pytest.raises(VerificationFailed, match="altered"):
        read_anchor(anchored, KEY)
    anchored.write_text("{")
    with pytest.raises(VerificationFailed, match="cannot be read"):
        verify(ledger, anchored, KEY)


FIELDS = st.text(max_size=20)


@given(FIELDS, FIELDS, FIELDS, FIELDS)
def test_no_two_rows_have_one_spelling(at: str, kind: str, subject: str, payload: str) -> None:
    moved = digest(1, at + "1", kind, subject, payload, GENESIS)
    assert moved != digest(1, at, "1" + kind, subject, payload, GENESIS)


@given(st.dictionaries(FIELDS, st.one_of(st.integers(), FIELDS, st.none(), st.booleans())))
def test_canonical_json_does_not_depend_on_order(payload: dict[str, object]) -> None:
    assert canonical(payload) == canonical(dict(reversed(list(payload.items()))))


def test_an_empty_chain_is_whole() -> None:
    assert first_break([]) == (0, GENESIS, "")
