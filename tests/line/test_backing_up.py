"""Backups by schedule: started when the ledger says that one is due, in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path

from appliance.events import Event, Fact
from appliance.ledger import open_ledger
from appliance.line.backing_up import FIRST_SECONDS, LOOK_SECONDS, BackingUp
from appliance.settings import BackupSettings
from tests.ledger.world import SteppedClock


def ended(backing_up: BackingUp) -> None:
    assert backing_up._process is not None
    backing_up._process.wait()
    backing_up.look()
    assert backing_up._process is None


def test_one_begins_when_it_is_due_and_the_next_when_it_is_due_again(tmp_path: Path) -> None:
    clock, ran = SteppedClock(), tmp_path / "ran"
    ledger = open_ledger(tmp_path / "ledger.db", clock)
    wanted = [BackupSettings()]
    backing_up = BackingUp(ledger, ("/bin/sh", "-c", f"echo x >> {ran}"), lambda: wanted[0], clock)
    clock.pass_(FIRST_SECONDS)
    backing_up.look()
    assert backing_up._process is None, "nobody to seal it for"
    wanted[0] = BackupSettings(recipients=["age1x"])
    clock.pass_(LOOK_SECONDS)
    backing_up.look()
    ended(backing_up)
    made = {"name": "x", "bytes": 1, "manifest_sha256": ""}
    ledger.append(Event(kind=Fact.BACKUP_MADE, subject="backup", payload=made))
    clock.pass_(LOOK_SECONDS)
    backing_up.look()
    assert backing_up._process is None
    clock.pass_(24 * 3600)
    backing_up.look()
    ended(backing_up)
    assert ran.read_text() == "x\nx\n"
    ledger.close()


def test_the_end_of_the_line_ends_it(tmp_path: Path) -> None:
    clock = SteppedClock()
    ledger = open_ledger(tmp_path / "ledger.db", clock)
    backing_up = BackingUp(ledger, ("/bin/sh", "-c", "sleep 60"), lambda: BackupSettings(recipients=["age1x"]), clock)
    clock.pass_(FIRST_SECONDS)
    backing_up.look()
    process, began = backing_up._process, time.monotonic()
    assert process is not None
    backing_up.end()
    assert process.poll() is not None and time.monotonic() - began < 5
    backing_up.end()
    ledger.close()
