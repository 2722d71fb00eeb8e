"""Threads of a process write to the ledger in turn, and none waits for ever."""

from __future__ import annotations

import threading

import pytest

from appliance.config import Home
from appliance.errors import Unavailable
from appliance.ledger import database, open_ledger
from appliance.work import TrackedRepository


def test_many_threads_write_at_once_and_each_write_is_kept(home: Home) -> None:
    ledger, together = open_ledger(home), threading.Barrier(24)

    def write(thread: int) -> None:
        together.wait()
        for number in range(5):
            ledger.add_repository(TrackedRepository(name=f"r{thread}-{number}", url="file:///x", branch="main"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(24)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(ledger.repositories()) == 24 * 5
    ledger.close()


def test_who_waits_too_long_for_its_turn_is_told_and_others_go_on(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = open_ledger(home)
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.05)
    told: list[Exception] = []

    def write() -> None:
        try:
            ledger.add_repository(TrackedRepository(name="late", url="file:///x", branch="main"))
        except Unavailable as error:
            told.append(error)

    with ledger.database.writing():
        late = threading.Thread(target=write)
        late.start()
        late.join()
    assert len(told) == 1 and ledger.repositories() == []
    write()
    assert [one.name for one in ledger.repositories()] == ["late"]
    ledger.close()
