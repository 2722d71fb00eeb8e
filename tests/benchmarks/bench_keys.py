"""What counting costs a call: check-in, headers and settlement at the gateway's desk, without gateway or engine.

Prints the median and the 99th percentile in microseconds, for a key without limits and for one with all of them, and
what one reading of the file costs a command. The records go to a real file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from appliance.settings import GatewaySettings
from inference.gateway.calls import Call
from inference.gateway.chat import prepare_chat
from inference.gateway.desk import Desk
from inference.gateway.metrics import Metrics
from inference.gateway.watch import Trip
from inference.journal import Alive, Journal, read_counts
from inference.keys import Key, Terms
from inference.limits import Limits
from inference.router import Decision

ALL = Limits(
    requests_per_minute=10**7, tokens_per_minute=10**9, parallel=500, tokens_per_day=10**12, tokens_per_month=10**12,
    seconds_per_day=1e9, seconds_per_month=1e9,
)  # fmt: skip
USAGE = {"prompt_tokens": 7, "completion_tokens": 3}


def measure(folder: Path, limits: Limits, calls: int) -> list[float]:
    """Seconds of each call, in order of size."""
    desk = Desk(Journal(folder), Alive(folder / "run"), GatewaySettings(), Metrics())
    key = Key(id="k", name="k", sha256="a" * 64, terms=Terms(limits=limits))
    prepared = prepare_chat({"model": "m", "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 5})
    decision = Decision(task="chat", candidates=("m",))
    times = []
    for n in range(calls):
        call = Call(str(n), "/v1/chat/completions", prepared, decision, Trip(-1, 1e12))
        began = call.engine_since = time.perf_counter()
        desk.check_in(key, call, lambda model: 4, 4096)
        desk.settle(call, USAGE, None)
        desk.headers(key)
        times.append(time.perf_counter() - began)
    return sorted(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    calls = parser.parse_args().calls
    for name, limits in (("no limits", Limits()), ("all limits", ALL)):
        with tempfile.TemporaryDirectory() as folder:
            times = measure(Path(folder), limits, calls)
            began = time.perf_counter()
            read_counts(Path(folder))
            read = time.perf_counter() - began
        p50, p99 = (times[int(part * (calls - 1))] * 1e6 for part in (0.5, 0.99))
        print(f"{name:10}  p50 {p50:6.1f} us  p99 {p99:6.1f} us  reading all {read * 1000:.0f} ms", flush=True)


if __name__ == "__main__":
    main()
