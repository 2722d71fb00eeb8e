"""Training by schedule: once when it is due, never two at once, never for ever, and its end is told."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import pytest

from appliance.config import Home
from appliance.learning.training import FIRST_SECONDS, LONGEST_SECONDS, Training
from tests.e2e.world import until


class Watch:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def training(home: Home, watch: Watch, code: str, hours: float = 1.0) -> Training:
    return Training(home, hours, (sys.executable, "-c", code), watch)


def test_it_runs_when_it_is_due_and_again_after_the_pause(
    home: Home, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "learning")
    watch, file = Watch(), tmp_path / "runs"
    code = f"open({str(file)!r}, 'a').write('x'); print('{{\"published\": 3, \"promoted\": false, \"rules\": []}}')"
    own = training(home, watch, code)
    own.look()
    assert not file.exists(), "not right after the start"
    for runs, at in ((1, FIRST_SECONDS), (2, FIRST_SECONDS + 3600)):
        watch.now = at
        own.look()
        until(lambda: ended(own), "it ends")
        assert file.read_text() == "x" * runs
    assert caplog.text.count("published 3, promoted False") == 2


def ended(own: Training) -> bool:
    own.look()
    return own._running is None


def test_one_that_fails_or_says_nonsense_is_told_and_harms_nothing(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    for code, said in (("import sys; sys.exit('no rules')", "no rules"), ("print('?')", "cannot be read")):
        watch = Watch()
        own = training(home, watch, code)
        watch.now = FIRST_SECONDS
        own.look()
        until(lambda own=own: ended(own), "it ends")
        assert said in caplog.text


def test_one_that_hangs_is_ended_and_none_runs_beside_it(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    own = training(home, watch, "import time; print('y' * 200_000, flush=True); time.sleep(600)", 0.01)
    watch.now = FIRST_SECONDS
    own.look()
    first = own._running
    assert first is not None
    time.sleep(0.2)
    watch.now += LONGEST_SECONDS / 2
    own.look()
    assert own._running is first
    watch.now += LONGEST_SECONDS
    own.look()
    assert first.poll() is not None and "took more than" in caplog.text
    own.end()


def test_none_runs_where_it_is_switched_off(home: Home) -> None:
    watch = Watch()
    own = training(home, watch, "pass", 0)
    watch.now = 1e9
    own.look()
    assert own._running is None
