"""What the gateway's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.inference.mock_engine import MockEngine, mock_engine


@pytest.fixture(scope="module")
def engine() -> Iterator[MockEngine]:
    """An engine that answers as the test wills, one for all tests of a file."""
    with mock_engine() as running:
        yield running
