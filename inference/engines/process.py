"""An engine as the supervisor runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.settings import EnginesSettings
from inference.engines.engine import Engine
from inference.engines.loaded import Loaded
from inference.lifecycle import Patience
from inference.supervisor import ProcessSpec

DRAIN_SECONDS = 30.0
"""For requests in flight when a model is unloaded or starts anew with other threads. New ones wait at the gateway."""
STOP_SECONDS = 3.0
"""An engine without work ends at once; llama-server told to end in mid-answer stops answering, and does not end."""


def process_of(loaded: Loaded, argv: Callable[[], Sequence[str]], log: Path, patience: Patience) -> ProcessSpec:
    """What the supervisor has to know of a model's engine. `argv` makes its command anew for each start."""
    engine = loaded.engine
    return ProcessSpec(
        name=loaded.id,
        argv=argv if engine.local else None,
        log=log,
        probe=lambda: engine.answers(loaded.seat),
        env=lambda: engine.env(loaded.seat),
        busy=lambda: engine.busy(loaded.seat),
        alive=lambda: engine.alive(loaded.seat),
        explain=engine.explain,
        telling=engine.telling,
        death_signal=engine.death_signal,
        patience=patience,
    )


def patience_with(engine: Engine, settings: EnginesSettings) -> Patience:
    """How long to wait for an engine and how often to look."""
    usual = Patience(
        start_seconds=settings.start_seconds,
        drain_seconds=DRAIN_SECONDS,
        stop_seconds=STOP_SECONDS,
        restart_limit=settings.restart_limit,
    )
    return engine.patience(usual)
