"""What the ledger tests share: a clock that is moved by hand, and a way to open an item."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from appliance.ledger import Ledger
from appliance.work import Outcome, Signal, WorkItem


class SteppedClock:
    """A clock that tests move, wall and monotonic apart."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 1, 1, tzinfo=UTC)
        self.mono = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def sleep(self, seconds: float) -> None:
        self.pass_(seconds)

    def pass_(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.mono += seconds


def open_one(ledger: Ledger, title: str = "it breaks", severity: int = 3) -> WorkItem:
    """A received item."""
    signal = ledger.receive(Signal(id="", repo="shop", title=title))
    item = WorkItem(id="", repo="shop", title=title, signals=(signal.id,), severity=severity)
    return ledger.open_item(signal.id, Outcome(item=item, reason="a test opened it"))
