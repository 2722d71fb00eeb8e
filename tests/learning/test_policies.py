"""Policies as files: published, taken into use, gone back from; each step is in the audit chain."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.config import Home
from appliance.errors import Conflict, NotFound
from appliance.learning.policies import SUBJECT, Policies
from appliance.ledger import Ledger, open_ledger
from inference.policy import Standing, read_policy

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
PREFERENCE = {"rule": "r", "task": "repair", "order": ["big", "small"], "evidence": 40}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    for folder in home.folders:
        folder.mkdir(parents=True)
    return home


@pytest.fixture
def ledger(home: Home) -> Iterator[Ledger]:
    ledger = open_ledger(home)
    yield ledger
    ledger.close()


def test_a_published_policy_is_not_in_use_until_promoted_and_the_router_reads_it(home: Home, ledger: Ledger) -> None:
    kept = Policies(home, ledger)
    assert kept.publish([PREFERENCE], [], NOW) == 1
    assert kept.current() == 0 and read_policy(home.policy_file).standing is Standing.MISSING
    kept.promote(1, "ada")
    found = read_policy(home.policy_file)
    assert found.policy is not None and (found.policy.version, kept.current()) == (1, 1)
    assert found.policy.preferences[0].order == ("big", "small")


def test_going_back_leads_to_the_one_before_and_then_to_the_rules_alone(home: Home, ledger: Ledger) -> None:
    kept = Policies(home, ledger)
    for number in (1, 2):
        kept.publish([PREFERENCE], [], NOW)
        kept.promote(number, "ada")
    assert (kept.roll_back("ada", "worse"), kept.current()) == (1, 1)
    assert (kept.roll_back("ada", "worse"), kept.current()) == (0, 0) and not home.policy_file.exists()
    with pytest.raises(Conflict, match="no policy is in use"):
        kept.roll_back("ada", "worse")
    told = [(one.kind, one.payload["version"]) for one in ledger.history(SUBJECT)]
    assert told == [
        ("PolicyPublished", 1), ("PolicyPromoted", 1), ("PolicyPublished", 2), ("PolicyPromoted", 2),
        ("PolicyRolledBack", 2), ("PolicyRolledBack", 1),
    ]  # fmt: skip


def test_what_is_not_there_or_in_use_already_cannot_be_promoted(home: Home, ledger: Ledger) -> None:
    kept = Policies(home, ledger)
    with pytest.raises(NotFound, match="no policy 3"):
        kept.promote(3, "ada")
    kept.publish([PREFERENCE], [], NOW)
    kept.promote(1, "ada")
    with pytest.raises(Conflict, match="in use"):
        kept.promote(1, "ada")


def test_a_broken_policy_in_use_counts_as_none_and_is_replaced(home: Home, ledger: Ledger) -> None:
    home.policy_file.write_text("{")
    kept = Policies(home, ledger)
    kept.publish([PREFERENCE], [], NOW)
    assert kept.current() == 0
    kept.promote(1, "ada")
    assert kept.current() == 1
