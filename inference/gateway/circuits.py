"""Circuit breakers, one for each model: an engine that fails call after call is left alone for a while. Pure but for
the clock, which is handed in.

What happens to a circuit:

| state | an answer | a failure | time is over | another engine in its place |
|---|---|---|---|---|
| closed | closed, nothing counted | counted; open at the limit | | closed, nothing counted |
| open | | | half-open: one call may try | closed |
| half-open | closed | open for as long again | one more call may try | closed |

Only failures of the engine count: that it went away, or answered with 500, 502 or 504. All calls that are with it
when it fails are one failure: it died once, however many it was serving. An engine that is busy or refuses a call
is well. A breaker says only whether a call may be sent now; who answers instead is the router's matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass


@dataclass
class Circuit:
    """One model's."""

    mark: Hashable
    """Whose failures these are: another one whenever the engine was started anew."""
    failures: int = 0
    """In a row."""
    counted: float = 0.0
    """When the last of them was."""
    until: float = 0.0
    """When the next call may try; 0 while the circuit is closed."""
    why: str = ""
    """The last failure."""


class Circuits:
    """The circuits of all models of one gateway."""

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Open after `limit` failures in a row (0: never), for `seconds`."""
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._circuits: dict[str, Circuit] = {}

    def enter(self, model: str, mark: Hashable) -> float:
        """Seconds until a call may be sent to this model; 0 when it may now. In a half-open circuit this call is the
        one that tries: all others wait for what comes of it, at most as long as the circuit was open."""
        wait = self.wait(model, mark)
        if not wait and (circuit := self._circuits.get(model)) and circuit.until:
            circuit.until = self._clock() + self._seconds
        return wait

    def wait(self, model: str, mark: Hashable) -> float:
        """The same without entering."""
        circuit = self._circuits.get(model)
        if circuit is None or not circuit.until:
            return 0.0
        if circuit.mark != mark:
            del self._circuits[model]
            return 0.0
        return max(0.0, circuit.until - self._clock())

    def answered(self, model: str) -> None:
        """Its engine answered, if only to refuse."""
        if model in self._circuits:
            del self._circuits[model]

    def failed(self, model: str, mark: Hashable, why: str, began: float) -> None:
        """Its engine failed a call that went to it at `began`, by the same clock."""
        circuit = self._circuits.get(model)
        if circuit is None or circuit.mark != mark:
            circuit = self._circuits[model] = Circuit(mark)
        elif began < circuit.counted:
            return  # it was with the engine at a failure that is counted
        circuit.failures += 1
        circuit.counted = self._clock()
        circuit.why = why
        if self._limit and circuit.failures >= self._limit:
            circuit.until = self._clock() + self._seconds

    def open(self) -> dict[str, Circuit]:
        """Those that are not closed."""
        return {model: circuit for model, circuit in self._circuits.items() if circuit.until}
