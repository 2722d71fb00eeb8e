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
from typing import Protocol

from appliance.errors import Unavailable
from inference.engines.openings import write_private
from inference.engines.seating import Look

TEND_SECONDS = 1.0
"""Pause between looks for models that nobody has used for long."""
LOOKS = 5
"""So many of these looks apart is what is free told anew: nvidia-smi takes a moment."""


class Tended(Protocol):
    """Whose models these are."""

    devices: Path
    """The file that says what is free."""

    def idle(self) -> Iterable[str]:
        """The models that nobody uses."""
        ...

    def retire(self, id: str) -> None:
        """Send one of them to rest, unless somebody uses it by now."""
        ...

    def publish(self) -> None:
        """Tell anew what is served."""
        ...


@contextmanager
def tending(tended: Tended, look: Look, generation: Callable[[], str]) -> Iterator[None]:
    """While this is open, a thread tells what is free and what is served, and retires the idle.

    `generation` changes when models come, change or go: an adapter may be another one now.
    """
    over = threading.Event()

    def tend() -> None:
        known = ""
        for n in count():
            if n % LOOKS == 0:
                with contextlib.suppress(OSError):  # a full disk: told again later
                    write_private(tended.devices, json.dumps(asdict(look())) + "\n")
            if over.wait(TEND_SECONDS):
                tended.devices.unlink(missing_ok=True)
                return
            with contextlib.suppress(OSError, Unavailable):  # a disk that fails us: tried again in a second
                if (now := generation()) != known:
                    tended.publish()
                    known = now
                for id in tended.idle():
                    tended.retire(id)

    thread = threading.Thread(target=tend, name="tend", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
