"""An option of the heavy tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--examples N`: a longer look at the gateway's own description."""
    parser.addoption("--examples", type=int, default=40, help="calls made up for each operation and phase")
