"""Does the box get better by learning? The router's cost and the candidates of search, before and after, in one table.

    python tests/benchmarks/closed_loop.py [--items 200] [--seed 7] [--train 10] [--test 6] [--cpu 8]

The router: a scripted world of three repositories and three models of known strengths behind a real gateway and
engines process; success is of the items that a model mends. Search: three repositories whose faults repeat by class.
Ends with status 1 where an aim of the table is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from closed_loop_search import HABITS, Spared, spared

from appliance.learning.service import Learning
from appliance.settings import Settings
from tests.learning.closed_world import played, running_world

AIM = 0.7
"""What is left, at most, of the router's cost and of the candidates."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=200, help="items of each stretch of the router's world")
    parser.add_argument("--train", type=int, default=10, help="faults of each repository that search learns from")
    parser.add_argument("--test", type=int, default=6, help="unseen faults of each, searched before and after")
    parser.add_argument("--cpu", type=float, default=8.0, help="CPU seconds of one search")
    parser.add_argument("--seed", type=int, default=7, help="decides items, answers, draws and faults")
    parser.add_argument("--only", choices=("router", "search"), default="", help="one part alone")
    parser.add_argument("--sites", default=",".join(HABITS), help="whose faults are searched, separated by commas")
    options = parser.parse_args()
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="closed-loop-") as folder:
        if options.only != "search":
            missed += router(Path(folder) / "router", options.seed, options.items)
        if options.only != "router":
            (Path(folder) / "search").mkdir()
            sizes = options.seed, options.train, options.test, options.cpu
            missed += searched(spared(Path(folder) / "search", options.sites.split(","), *sizes, progress))
    print("\n".join(f"MISSED: {one}" for one in missed) or "all aims are held")
    return 1 if missed else 0


def router(home: Path, seed: int, items: int) -> list[str]:
    """Play the router's world and print its stretches; the aims it missed."""
    with running_world(home, seed) as world:
        learning = Learning(world.home, Settings())
        loop = played(world, learning, items)
        learning.close()
        cost = loop.after.cost / loop.before.cost
        print(f"The router, seed {seed}; cost is in model-seconds\n{world.table()}")
        success = 100 * (loop.after.share - loop.before.share)
        print(f"cost {100 * (cost - 1):+.0f} %, success {success:+.1f} points; {loop.why}\n")
    aims = {
        "the router's cost falls by 30 % at least": cost <= AIM,
        "as many items are solved as before": loop.after.share >= loop.before.share,
        "a model that gets worse is noticed, and the policy is rolled back": bool(loop.why) and loop.policy == 0,
    }
    return [aim for aim, held in aims.items() if not held]


def searched(rows: list[Spared]) -> list[str]:
    """Print what search took; the aims it missed."""
    before, after = (sum(row.candidates[n] for row in rows) for n in (0, 1))
    right = [sum(row.right[n] for row in rows) for n in (0, 1)]
    heads = f"{'right':>7}{'then':>6}{'candidates':>12}{'then':>7}{'change':>9}"
    print(f"{'Search':<8}{'learned from':>14}{'unseen':>8}{heads}")
    for row in rows:
        print(line(row.name, row.learned_from, row.faults, row.right, row.candidates))
    print(line("all", sum(row.learned_from for row in rows), sum(row.faults for row in rows), right, (before, after)))
    aims = {
        "search tries 30 % fewer candidates at least": after <= AIM * before,
        "search is right as often as before": right[1] >= right[0],
    }
    return [aim for aim, held in aims.items() if not held]


def line(name: str, learned: int, faults: int, right: Sequence[int], tried: Sequence[int]) -> str:
    """One line of the table."""
    change = f"{100 * (tried[1] / tried[0] - 1):+.0f} %" if tried[0] else "-"
    return f"{name:<8}{learned:>14}{faults:>8}{right[0]:>7}{right[1]:>6}{tried[0]:>12}{tried[1]:>7}{change:>9}"


def progress(text: str) -> None:
    """Tell people that it goes on."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
