"""Each way a learning store can be wrong at boot, made on a real file."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from appliance.config import Home
from appliance.learning import opening
from appliance.learning.service import Learning, rebuild_stopped
from appliance.ledger import open_ledger
from appliance.settings import Settings
from tests.learning.world import calls, spooled, tell, with_repositories


@pytest.fixture
def told(home: Home) -> Iterator[Home]:
    """A home whose learning store is up to date."""
    ledger = with_repositories(open_ledger(home))
    tell(ledger, range(1, 21))
    ledger.close()
    spooled(home, calls(range(1, 41)))
    caught_up(home)
    return home


def caught_up(home: Home) -> tuple[dict[str, str], str]:
    """Open, take over what is there, close. Returns the digest and why it was begun anew."""
    learning = Learning(home, Settings())
    try:
        learning.catch_up()
        return learning.digest(), learning.begun
    finally:
        learning.close()


def crashed_copy(home: Home) -> tuple[Path, Path]:
    """The file and its log as a crash would leave them: copied while the store is open."""
    learning = Learning(home, Settings())
    learning.catch_up()
    file, log = home.learning, opening.wal(home.learning)
    shutil.copy(file, file.with_suffix(".copy"))
    shutil.copy(log, log.with_suffix(".copy"))
    learning.close()
    log.unlink(missing_ok=True)
    file.with_suffix(".copy").rename(file)
    log.with_suffix(".copy").rename(log)
    return file, log


def more(home: Home) -> None:
    ledger = open_ledger(home)
    tell(ledger, range(21, 31))
    ledger.close()
    only_calls(home)


def only_calls(home: Home) -> None:
    spooled(home, calls(range(41, 61)))
    spooled(home, calls(range(61, 71)), "usage-20261127.jsonl")


def test_a_store_that_is_right_goes_on_where_it_was(told: Home) -> None:
    more(told)
    digest, begun = caught_up(told)
    assert begun == "" and digest["items"]


def test_a_store_one_batch_ahead_of_the_ledgers_watermark_is_right(told: Home) -> None:
    ledger = open_ledger(told)
    ledger.set_watermark(opening.WATERMARK, ledger.watermark(opening.WATERMARK) - 5)
    ledger.close()
    assert caught_up(told)[1] == ""
    ledger = open_ledger(told)
    assert ledger.watermark(opening.WATERMARK) == ledger.tip()[0]


def test_a_crash_with_a_log_beside_the_file_loses_nothing(told: Home) -> None:
    more(told)
    crashed_copy(told)
    assert caught_up(told)[1] == ""


def empty(file: Path, _log: Path) -> None:
    file.write_bytes(b"")


def garbage(file: Path, _log: Path) -> None:
    file.write_bytes(b"not a database" * 1000)


def truncated(file: Path, _log: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def gone(file: Path, log: Path) -> None:
    file.unlink()
    log.unlink(missing_ok=True)


def without_log(_file: Path, log: Path) -> None:
    log.unlink()


def short_log(_file: Path, log: Path) -> None:
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])


def zeroed_log(_file: Path, log: Path) -> None:
    log.write_bytes(log.read_bytes()[:-200] + b"\0" * 200)


def garbage_log(_file: Path, log: Path) -> None:
    log.write_bytes(b"?" * 500)


DAMAGE = [empty, garbage, truncated, gone, without_log, short_log, zeroed_log, garbage_log]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_store_is_noticed_put_aside_and_built_anew(
    told: Home, damage: Callable[[Path, Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    more(told)
    file, log = crashed_copy(told)
    damage(file, log)
    with caplog.at_level(logging.WARNING):
        digest, begun = caught_up(told)
    assert begun and "built anew from the ledger" in caplog.text
    rebuild_stopped(told, Settings())
    assert caught_up(told)[0] == digest
    learning = Learning(told, Settings())
    assert learning.status()["model_calls"] == 70 and learning.status()["items"] == 30
    learning.close()
    aside = list(told.root.glob("learning.duckdb.aside-*"))
    assert aside or damage is gone


@pytest.mark.parametrize("damage", [without_log, short_log], ids=lambda damage: damage.__name__)
def test_calls_that_a_damaged_log_lost_are_noticed_when_no_event_came_with_them(
    told: Home, damage: Callable[[Path, Path], None]
) -> None:
    only_calls(told)
    damage(*crashed_copy(told))
    assert "of usage-2026112" in caught_up(told)[1]
    learning = Learning(told, Settings())
    assert learning.status()["model_calls"] == 70
    learning.close()


def test_a_store_from_another_ledger_is_not_believed(told: Home) -> None:
    told.ledger.unlink()
    for rest in told.root.glob("ledger.db-*"):
        rest.unlink()
    ledger = with_repositories(open_ledger(told))
    tell(ledger, range(1, 21), seed=2)
    ledger.close()
    assert "is not the ledger's" in caught_up(told)[1]


def test_a_restored_older_ledger_means_building_anew(told: Home) -> None:
    before = told.ledger.read_bytes()
    more(told)
    caught_up(told)
    for rest in told.root.glob("ledger.db-*"):
        rest.unlink()
    told.ledger.write_bytes(before)
    assert caught_up(told)[1]


def test_rows_taken_out_by_hand_are_noticed(told: Home) -> None:
    with duckdb.connect(str(told.learning)) as connection:
        connection.execute("DELETE FROM events WHERE seq = 5")
    assert "events and has" in caught_up(told)[1]


def test_only_the_newest_files_put_aside_are_kept(told: Home) -> None:
    for _ in range(opening.KEPT_ASIDE + 2):
        rebuild_stopped(told, Settings())
    assert len(list(told.root.glob("learning.duckdb.aside-*"))) == opening.KEPT_ASIDE
