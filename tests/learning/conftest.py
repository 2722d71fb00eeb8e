"""What several tests of the learning store begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.learning.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "learning.duckdb", 128)
    yield opened
    opened.close()
