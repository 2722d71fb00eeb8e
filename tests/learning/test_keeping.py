"""How long what is kept, and room given back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from appliance.config import Home
from appliance.learning import keeping
from appliance.learning.service import Learning, rebuild_stopped
from appliance.ledger import open_ledger
from appliance.settings import Settings
from tests.learning.world import calls, spooled, tell, with_repositories

SETTINGS = Settings.model_validate({"learning": {"calls_days": 10, "texts_days": 10}})


class Stopped:
    """A clock that shows one time."""

    def __init__(self, at: str) -> None:
        self.at = datetime.fromisoformat(at).replace(tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0


def lines(day: int, many: int = 10) -> list[dict[str, object]]:
    return [{**line, "id": f"{day}-{n}", "at": f"2026-11-{day:02}T10:00:00.000+00:00"}
            for n, line in enumerate(calls(range(many)))]  # fmt: skip


@pytest.fixture
def learning(home: Home) -> Iterator[Learning]:
    opened = Learning(home, SETTINGS)
    yield opened
    opened.close()


def at(learning: Learning, moment: str) -> None:
    learning.ledger.clock = Stopped(moment)
    learning.keep()


def test_calls_that_are_older_go_from_store_and_spool_alike(home: Home, learning: Learning) -> None:
    for day in (5, 15, 16, 25):
        spooled(home, lines(day), f"usage-202611{day:02}.jsonl")
    learning.catch_up()
    at(learning, "2026-11-25T12:00:00")
    assert sorted(file.name for file in home.spool.iterdir()) == [
        "usage-20261115.jsonl", "usage-20261116.jsonl", "usage-20261125.jsonl",
    ]  # fmt: skip
    at(learning, "2026-11-26T00:00:01")
    left = learning.answer({"ask": "calls_by_day"})["rows"]
    assert [str(row["day"]) for row in left] == ["2026-11-16", "2026-11-25"]
    assert learning.status()["model_calls"] == 20 and learning.status()["only_here"] == []
    before = learning.digest()
    learning.rebuild()
    assert learning.digest() == before


def test_a_days_calls_are_looked_at_once_a_day_and_nothing_goes_when_all_is_kept(home: Home) -> None:
    spooled(home, lines(5), "usage-20201105.jsonl")
    forever = Learning(home, Settings.model_validate({"learning": {"calls_days": 0}}))
    forever.catch_up()
    forever.keep()
    assert forever.status()["model_calls"] == 10 and len(list(home.spool.iterdir())) == 1
    forever.close()


def test_words_of_people_are_emptied_and_figures_stay(home: Home, learning: Learning) -> None:
    ledger = with_repositories(open_ledger(home))
    ledger.clock = Stopped("2026-11-01T10:00:00")
    tell(ledger, range(1, 41))
    ledger.clock = Stopped("2026-11-25T10:00:00")
    tell(ledger, range(41, 61))
    ledger.close()
    learning.catch_up()
    at(learning, "2026-11-25T12:00:00")
    rows = learning.answer({"ask": "sql", "with": {"sql": "SELECT signal, title, author FROM signals"}})["rows"]
    assert {bool(title or author) for signal, title, author in rows if int(signal[2:]) <= 40} == {False}
    assert {bool(title and author) for signal, title, author in rows if int(signal[2:]) > 40} == {True}
    left = "SELECT DISTINCT kind, json_keys(payload)::VARCHAR FROM events WHERE happened < '2026-11-02'"
    left += " AND payload IS NOT NULL"
    assert learning.answer({"ask": "sql", "with": {"sql": left}})["rows"] == (("OutcomeLearned", "[facts]"),)
    vectors = "SELECT happened < '2026-11-02', count(meaning), count(*) FROM decisions GROUP BY 1 ORDER BY 1"
    late, early = learning.answer({"ask": "sql", "with": {"sql": vectors}})["rows"]
    assert late[1] == late[2] > 0 and (early[1], early[2] > 0) == (0, True), "a report's vector goes with its words"
    assert learning.status()["items"] == 60
    before = learning.digest()
    learning.rebuild()
    assert learning.digest() == before


def test_room_is_given_back_and_nothing_else_changes(
    home: Home, learning: Learning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "WORTH_BYTES", 1)
    monkeypatch.setattr(keeping, "WORTH_SHARE", 0.1)
    spooled(home, lines(5, 20_000), "usage-20261105.jsonl")  # many blocks of the file
    spooled(home, lines(25), "usage-20261125.jsonl")
    learning.catch_up()
    size = learning.status()["bytes"]  # what is not yet in the file is in its log
    before = learning.answer({"ask": "sql", "with": {"sql": "SELECT * FROM model_calls WHERE happened > '2026-11-20'"}})
    at(learning, "2026-11-25T12:00:00")
    after = learning.answer({"ask": "sql", "with": {"sql": "SELECT * FROM model_calls"}})
    assert sorted(after["rows"]) == sorted(before["rows"]) and learning.begun == ""
    assert learning.status()["bytes"] < size
    spooled(home, lines(26), "usage-20261126.jsonl")
    learning.catch_up()
    assert learning.status()["model_calls"] == 20
    assert not list(home.root.glob("*.compact*"))


def test_a_file_of_calls_that_was_taken_away_is_named_as_missing_for_a_rebuild(home: Home, learning: Learning) -> None:
    file = spooled(home, lines(24), "usage-20261124.jsonl")
    learning.catch_up()
    file.unlink()
    learning.catch_up()
    assert learning.status()["only_here"] == ["usage-20261124.jsonl"] and learning.status()["model_calls"] == 10
    learning.rebuild()
    assert learning.status()["model_calls"] == 0


def test_a_store_with_its_files_taken_away_is_trusted_at_the_next_start(home: Home) -> None:
    spooled(home, lines(24), "usage-20261124.jsonl").replace(home.spool / "usage-20261123.jsonl")
    assert rebuild_stopped(home, Settings())["model_calls"] == 10
    (home.spool / "usage-20261123.jsonl").unlink()
    opened = Learning(home, Settings())
    assert (opened.begun, opened.status()["model_calls"]) == ("", 10)
    opened.close()
