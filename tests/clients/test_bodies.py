"""The long look at made-up bodies: `tests/inference/test_gateway_bodies.py` with 10,000 of them."""

from __future__ import annotations

import pytest

from tests.inference.conftest import engine
from tests.inference.gateway_process import Gateway
from tests.inference.test_gateway_bodies import examined, gateway

__all__ = ["engine", "gateway"]
CASES = 10_000
pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]


def test_ten_thousand_bodies_make_the_gateway_neither_fail_nor_hang(gateway: Gateway) -> None:
    examined(gateway, CASES)
