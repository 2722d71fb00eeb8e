"""Kills the processes of a real box for as long as you like, under load from clients at every door.

    python tests/soak/soak_gateway.py [--minutes 10] [--seed 1]

A llama-server, the engines process, the gateway's worker, its master, or the box's own supervisor dies by SIGKILL at
random moments, and a tenth of the calls is broken off by the clients themselves. Every call must end with an answer or
an error in time, streams with their last event or a broken connection; afterwards each key's counts must be what its
client saw, and every door must answer. Prints what happened; ends with status 1 when something did not hold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.e2e.world import RunningBox
from tests.inference.storm import VICTIMS, Storm, make_home

WEIGHTS = {"box": 1, "engines": 3, "gateway": 3, "gateway worker": 4, "llama-server": 4, "writer": 4}
LEAVES = 0.1
CALM_SECONDS = 6.0
"""Longest calm between two kills."""


def storm_for(seconds: float, storm: Storm) -> None:
    victims, weights = list(VICTIMS), [WEIGHTS[victim] for victim in VICTIMS]
    until = time.monotonic() + seconds
    storm.begin()
    while time.monotonic() < until:
        time.sleep(storm.chance.uniform(0.0, CALM_SECONDS))
        victim = storm.chance.choices(victims, weights)[0]
        storm.kill(victim)
        print(f"{until - time.monotonic():6.0f} s to go, killed: {victim}; {storm.answered()} answers", flush=True)
    storm.end()
    storm.settle()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = make_home(Path(folder) / "home")
        storm = Storm(RunningBox(home.root), home, asked.seed, LEAVES)
        storm.start_box()
        try:
            storm_for(60 * asked.minutes, storm)
        except AssertionError as error:
            print(f"IT DID NOT HOLD: {error}\n{storm.report()}")
            return 1
        finally:
            storm.end()
            storm.box.stop()
        logs = [(home.logs / f"{name}.log").read_text() for name in ("gateway", "engines")]
        print(storm.report())
        if failed := [log for log in logs if "Traceback" in log]:
            print(f"IT DID NOT HOLD: {failed[0][failed[0].index('Traceback') :][:3000]}")
            return 1
    print(f"all {sum(storm.killed.values())} kills were survived, and every count is right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
