"""How long `appliance up` takes: on a new home (models converted, language model built), then again.


Whole processes, wall clock, from the call to "the box is up". Run: python tests/benchmarks/bench_start.py
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.e2e.world import RunningBox

RUNS = 3


def once(home: Path) -> float:
    """Start the box, wait until it says that it is up, stop it; seconds until it was up."""
    box = RunningBox(home)
    started = time.monotonic()
    process = subprocess.Popen(box.argv("up"), env=box.environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    seconds = 0.0
    for line in process.stderr:
        if re.search(r"the box is up after", line):
            seconds = time.monotonic() - started
            process.send_signal(signal.SIGINT)
    if process.wait(60) or not seconds:
        raise SystemExit("the box did not start; see its output above")
    return seconds


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="bench-start-") as folder:
        home = Path(folder, "home")
        cold = once(home)
        warm = [once(home) for _ in range(RUNS)]
    print("start of `appliance up`, five processes, until all are ready (seconds)")
    print(f"  new home       {cold:6.1f}")
    print(f"  known home     {min(warm):6.1f}  (best of {RUNS}; worst {max(warm):.1f})")


if __name__ == "__main__":
    main()
