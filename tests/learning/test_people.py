"""Forgetting people: what the store says of them, and that it stays so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.config import Home
from appliance.errors import UsageError
from appliance.events import Fact
from appliance.learning import opening, people
from appliance.learning.service import Learning, rebuild_stopped
from appliance.learning.tables import DERIVED
from appliance.ledger import Ledger, open_ledger
from appliance.ledger.chain import Recorded
from appliance.settings import Settings
from tests.learning.world import calls, spooled, tell, with_repositories


@pytest.fixture
def ledger(home: Home) -> Iterator[Ledger]:
    opened = with_repositories(open_ledger(home))
    tell(opened, range(1, 31))
    spooled(home, calls(range(1, 10)))
    yield opened
    opened.close()


def told_of(home: Home) -> tuple[str, dict[str, str]]:
    """All that a store says, in one text; and its digests."""
    learning = Learning(home, Settings())
    try:
        learning.catch_up()
        said = str([learning._store.ask(f"SELECT * FROM {table}", {}, 5) for table in DERIVED]).casefold()
        return said, learning.digest()
    finally:
        learning.close()


def test_a_forgotten_person_is_nowhere_in_the_store_and_not_in_one_built_anew(home: Home, ledger: Ledger) -> None:
    before, _ = told_of(home)
    assert "grace hopper" in before and "'ada'" in before
    rebuild_stopped(home, Settings())  # an older file lies aside now, with the name in it
    pseudonym = rebuild_stopped(home, Settings(), "Grace Hopper")["pseudonym"]
    after, digest = told_of(home)
    assert "grace" not in after and pseudonym in after and "'ada'" in after
    assert not list(home.root.glob("learning.duckdb.aside-*"))
    for file in home.root.glob("learning.duckdb*"):
        assert b"grace hopper" not in file.read_bytes().lower()
    tell(ledger, range(31, 61))
    assert "grace" not in told_of(home)[0]
    rebuild_stopped(home, Settings())
    again, _ = told_of(home)
    assert "grace" not in again and digest


def test_the_ledger_keeps_the_name_and_its_chain_and_adds_only_a_digest(home: Home, ledger: Ledger) -> None:
    events = ledger.tip()[0]
    rebuild_stopped(home, Settings(), "grace hopper")
    (added,) = ledger.tail(events)
    assert added.kind == Fact.PERSON_FORGOTTEN and "grace" not in str(added.payload).casefold()
    assert any("grace hopper" in str(event.payload) for event in ledger.tail(0, 10_000))


def test_forgetting_twice_is_forgetting_once(ledger: Ledger) -> None:
    assert people.forget(ledger, "ada") == people.forget(ledger, " ADA ")
    assert len(people.known(ledger)) == 1


def test_a_store_that_was_not_built_anew_after_somebody_was_forgotten_is_removed_at_the_next_start(
    home: Home, ledger: Ledger
) -> None:
    told_of(home)
    people.forget(ledger, "grace hopper")  # killed here
    learning = Learning(home, Settings())
    assert learning.begun == opening.FORGOTTEN
    learning.close()
    assert "grace" not in told_of(home)[0] and not list(home.root.glob("*.aside-*"))


@pytest.mark.parametrize("name", ["", " ", "a", "rule", "Build", "PASS", "one two three four five six seven", "!?"])
def test_what_is_no_name_is_refused(name: str, ledger: Ledger) -> None:
    with pytest.raises(UsageError):
        people.forget(ledger, name)
    assert people.known(ledger) == ()


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("ada", "X"), ("Ada.", "X."), ("person:ada", "person:X"), ("@ada, look", "@X, look"), ("ada's", "X's"),
        ("adamant", "adamant"), ("ada-2", "ada-2"), ("ada@site.example", "ada@site.example"), ("", ""),
        ("(ada)\nada ada", "(X)\nX X"), ("nevada", "nevada"),
    ],
)  # fmt: skip
def test_a_name_is_replaced_wherever_it_is_a_word_of_its_own(said: str, seen: str, ledger: Ledger) -> None:
    pseudonym = people.forget(ledger, "ada")
    show = people.veil(people.known(ledger))
    event = Recorded(seq=1, at="", kind="K", subject="S", payload={"deep": [{"text": said}]}, prev="", hash="")
    assert show(event).payload == {"deep": [{"text": seen.replace("X", pseudonym)}]}


def test_names_go_from_lines_of_calls_and_a_line_that_is_none_stays_one(ledger: Ledger) -> None:
    pseudonym = people.forget(ledger, "ada")
    show = people.veil_of_lines(people.known(ledger))
    shown = show('{"task": "for Ada", "half": "\\ud800"}\nada{\n' + "[" * 100_000).split("\n")
    assert shown == [f'{{"task": "for {pseudonym}", "half": "\\ud800"}}', "", ""]
    shown[0].encode()
    assert people.veil_of_lines(())("ada{") == "ada{"
