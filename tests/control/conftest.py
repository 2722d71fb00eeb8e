from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.config import Home
from tests.control.world import Console, Site, fill


@pytest.fixture
def console(home: Home) -> Iterator[Console]:
    made = Console(home)
    yield made
    made.ledger.close()


@pytest.fixture
def site(console: Console) -> Site:
    return fill(console.ledger)
