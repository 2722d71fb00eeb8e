"""Looks around once a second: tells what is free, and sends to rest those that nobody uses."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from pathlib import Path

from inference.engines.openings import write_private
from inference.engines.seating import Look

TEND_SECONDS = 1.0
"""Pause between looks for models that nobody has used for long."""
LOOKS = 5
"""So many of these looks apart is what is free told anew: nvidia-smi takes a moment."""


@contextmanager
def tending(
    devices: Path, look: Look, idle: Callable[[], Iterable[str]], retire: Callable[[str], None]
) -> Iterator[None]:
    """While this is open, a thread writes what is free to `devices`, and calls `retire` for each of the `idle`."""
    over = threading.Event()

    def tend() -> None:
        for n in count():
            if n % LOOKS == 0:
                with contextlib.suppress(OSError):  # a full disk: told again later
                    write_private(devices, json.dumps(asdict(look())) + "\n")
            if over.wait(TEND_SECONDS):
                devices.unlink(missing_ok=True)
                return
            for id in idle():
                retire(id)

    thread = threading.Thread(target=tend, name="tend", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
