"""A look at made-up bodies at every door of a real gateway; `make test-clients` takes a longer one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.inference.bodies import RANKER, look, obedient
from tests.inference.gateway_process import (
    BIG,
    CODER,
    EMBEDDER,
    Gateway,
    card,
    eventually,
    make_home,
    publish,
    running_gateway,
)
from tests.inference.mock_engine import MockEngine

CASES = 250


@pytest.fixture(scope="module")
def gateway(engine: MockEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("bodies"))
    (home.models / RANKER).mkdir()
    (home.models / RANKER / "card.json").write_text(card(RANKER, ("rerank",)).model_dump_json())
    publish(home, dict.fromkeys((EMBEDDER, CODER, BIG, RANKER), engine.url))
    engine.will(obedient)
    with running_gateway(home) as running:
        yield running


def test_no_body_makes_the_gateway_fail_or_hang(gateway: Gateway) -> None:
    examined(gateway, CASES)


def examined(gateway: Gateway, cases: int) -> None:
    seen = look(gateway, cases)
    print(f"{sum(seen.values())} calls: {seen}")  # with `-s`, for whoever wants the figures
    assert seen.get(200, 0) > 0 and seen.get(400, 0) > 0
    assert eventually(lambda: gateway.metric("appliance_gateway_in_flight") == 0)
    assert "Traceback" not in (gateway.home.logs / "gateway.log").read_text()
