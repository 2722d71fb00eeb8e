from __future__ import annotations

from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from appliance.config import Home
from control import passwords
from tests.control.world import Console, Site, fill


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same algorithm with little memory: tests sign in a hundred times, and none is about its cost but one."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    passwords._of_nobody.cache_clear()


@pytest.fixture
def console(home: Home) -> Iterator[Console]:
    made = Console(home)
    yield made
    made.ledger.close()


@pytest.fixture
def site(console: Console) -> Site:
    return fill(console.ledger, home=console.home)
