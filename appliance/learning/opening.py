"""When can the file be trusted? Compared at boot with the watermark in the ledger.

DuckDB keeps every acknowledged commit through a SIGKILL. But a log file that is missing or was cut off opens without
complaint, with older content; and a restored ledger may be older than the file. So the store's newest event must be one
the ledger has, with the same hash, and at least as new as the ledger says it was; and every file of the gateway's spool
must have been read at least as far as the ledger says. Else the file is put aside and the store is built anew: it holds
nothing that the ledger and the spool do not.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import duckdb

from appliance.learning import people, spool
from appliance.learning.store import EXPORTS, Store
from appliance.ledger import Ledger
from appliance.ledger.chain import GENESIS

log = logging.getLogger("appliance.learning")

WATERMARK = "learning"
"""The name of this reader in the ledger."""
OF_FILE = "spool:"
"""Before the name of a file of the spool: how far that was read, in bytes."""
FORGOTTEN = "somebody was forgotten"
KEPT_ASIDE = 3
"""Files put aside that are kept, newest first: they are for looking at, not for the disk to fill up with."""


def open_trusted(file: Path, calls: Path, ledger: Ledger, memory_mb: int) -> tuple[Store, str]:
    """The store, and why it was begun anew ("" when it goes on where it was). `calls` is the spool.

    Raises duckdb.Error when even a new file cannot be opened.
    """
    noted = ledger.watermark(WATERMARK)
    if not file.exists():
        why = f"{file.name} is missing, though {noted} events were in it" if noted else ""
        return begin_anew(file, calls, ledger, memory_mb, why), why
    try:
        store = Store(file, memory_mb, people.known(ledger))
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise  # somebody else has it open: the file is not to blame
        return _replaced(file, calls, ledger, memory_mb, f"it cannot be opened: {error}")
    except (duckdb.Error, UnicodeDecodeError) as error:
        return _replaced(file, calls, ledger, memory_mb, f"it cannot be opened: {error}")
    try:
        why = distrust(store, ledger, noted) or unread(store, calls, ledger)
    except duckdb.Error as error:
        why = f"it cannot be read: {error}"
    if not why and store.is_without() != len(people.known(ledger)):
        store.close()
        remove(file)
        return begin_anew(file, calls, ledger, memory_mb, FORGOTTEN), FORGOTTEN
    if why:
        store.close()
        return _replaced(file, calls, ledger, memory_mb, why)
    note(ledger, store.watermark()[0], store.positions())
    return store, ""


def distrust(store: Store, ledger: Ledger, noted: int) -> str:
    """What speaks against the store's content; "" when nothing does."""
    seq, digest = store.watermark()
    count, lowest, highest = store.counted()
    if (count, lowest, highest) != (seq, min(1, seq), seq):
        return f"it says it has {seq} events and has {count}"
    if seq < noted:
        return f"it has {seq} events, and {noted} were in it once"
    if digest != (ledger.hash_of(seq) if seq else GENESIS):
        return f"its event {seq} is not the ledger's"
    return ""


def unread(store: Store, calls: Path, ledger: Ledger) -> str:
    """The file of the spool of which the store has less than it had once; "" when there is none."""
    positions = store.positions()
    for file in spool.files(calls):
        noted, has = ledger.watermark(OF_FILE + file.name), positions.get(file.name, 0)
        if has < noted:
            return f"it has {has} bytes of {file.name}, and {noted} were in it once"
    return ""


def begin_anew(file: Path, calls: Path, ledger: Ledger, memory_mb: int, why: str) -> Store:
    """An empty store. The order is safe to be killed in: a missing file always means building anew."""
    if why:
        log.warning("the learning store is built anew from the ledger and the spool: %s", why)
    wal(file).unlink(missing_ok=True)
    store = Store(file, memory_mb, people.known(ledger))
    note(ledger, 0, {one.name: 0 for one in spool.files(calls)})
    return store


def note(ledger: Ledger, seq: int | None, positions: Mapping[str, int]) -> None:
    """Tell the ledger how far the store is, in events and in files of the spool, where that has changed."""
    wanted = {OF_FILE + name: position for name, position in positions.items()}
    for name, position in (wanted if seq is None else {WATERMARK: seq, **wanted}).items():
        if ledger.watermark(name) != position:
            ledger.set_watermark(name, position)


def _replaced(file: Path, calls: Path, ledger: Ledger, memory_mb: int, why: str) -> tuple[Store, str]:
    aside = put_aside(file)
    why = " ".join(why.split())
    return begin_anew(file, calls, ledger, memory_mb, f"{why}; the old file is {aside.name}"), why


def put_aside(file: Path) -> Path:
    """Rename the file and its log; returns the new name. Older ones beyond `KEPT_ASIDE` are removed."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f".{time.monotonic_ns() % 1_000_000:06d}"
    aside = file.with_name(f"{file.name}.aside-{stamp}")
    if wal(file).exists():
        wal(file).rename(wal(aside))
    file.rename(aside)
    old = sorted(file.parent.glob(f"{file.name}.aside-*[0-9]"))[:-KEPT_ASIDE]
    for one in old:
        one.unlink()
        wal(one).unlink(missing_ok=True)
    return aside


def remove(file: Path) -> None:
    """Remove every older file put aside, what was written out, and the file itself: a name is to be in none of them.

    The file goes last: killed before that, the next start sees that it is one to be removed.
    """
    for one in (*file.parent.glob(f"{file.name}.aside-*"), *file.parent.glob(f"{file.name}.compact*")):
        one.unlink(missing_ok=True)
    shutil.rmtree(file.parent / EXPORTS, ignore_errors=True)
    for one in (wal(file), file):
        one.unlink(missing_ok=True)


def wal(file: Path) -> Path:
    """DuckDB's log beside a file."""
    return file.with_name(f"{file.name}.wal")
