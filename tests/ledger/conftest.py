from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.ledger import Ledger, open_ledger
from appliance.work import TrackedRepository
from tests.ledger.world import SteppedClock


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: SteppedClock) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.db", clock)
    opened.add_repository(TrackedRepository(name="shop", url="file:///nowhere", branch="main"))
    yield opened
    opened.close()
