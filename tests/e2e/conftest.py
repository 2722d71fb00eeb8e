"""A site of one forge: each module says which in its `server`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.config import Home
from tests.contracts.forges.server import Server
from tests.e2e.forge_world import Site


@pytest.fixture
def site(home: Home, server: Server) -> Iterator[Site]:
    made = Site(home, server)
    made.look_after()
    yield made
    made.ledger.close()
