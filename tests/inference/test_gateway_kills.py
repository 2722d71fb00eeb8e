"""SIGKILL of any process under load: a real box, real llama-servers, clients at every door."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.world import RunningBox
from tests.inference.storm import Storm, make_home

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
SEED = 3


def test_whatever_is_killed_clients_get_an_answer_or_an_error_and_counts_stay_exact(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    box = RunningBox(home.root)
    storm = Storm(box, home, SEED)
    storm.start_box()
    try:
        storm.begin()
        for victim in ("gateway worker", "writer", "engines", "writer", "gateway", "llama-server"):
            storm.kill(victim)
        storm.end()
        storm.settle()
    finally:
        storm.end()
        assert box.stop() == 0, box.said()
    for log in ("gateway", "engines"):
        assert "Traceback" not in (home.logs / f"{log}.log").read_text()
