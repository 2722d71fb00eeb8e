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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from closed_loop_search import HABITS, Spared, interval, left, spared

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
    every = Spared("all", sum(row.learned_from for row in rows), tuple(pair for row in rows for pair in row.pairs))
    print("Search: unseen faults before and after learning; what is left of a count has its 95 % interval by bootstrap")
    print(f"{'':<8}{'learned':>8}{'unseen':>7}{'right':>7}{'then':>5}{'wrong':>6}{'then':>5}", end="")
    print(f"{'until right':>13}{'then':>7}{'left':>21}{'all tried':>11}{'then':>7}{'left':>21}")
    for row in (*rows, every):
        print(line(row))
    right, wrong = every.count("first"), every.count("wrong")
    aims = {
        "search finds the right change after 30 % fewer candidates at least": left(every.found) <= AIM,
        "search is right as often as before": right[1] >= right[0],
        "search ships no more wrong changes than before": wrong[1] <= wrong[0],
    }
    return [aim for aim, held in aims.items() if not held]


def line(row: Spared) -> str:
    """One line of the table."""
    said = f"{row.name:<8}{row.learned_from:>8}{len(row.pairs):>7}"
    for what, width in (("first", 7), ("wrong", 6)):
        counts = row.count(what)
        said += f"{counts[0]:>{width}}{counts[1]:>5}"
    for pairs, width in ((row.found, 13), (row.tried, 11)):
        low, high = interval(pairs)
        share = f"{100 * left(pairs):.0f} % ({100 * low:.0f} to {100 * high:.0f})" if pairs else "-"
        said += f"{sum(one for one, _ in pairs):>{width}}{sum(other for _, other in pairs):>7}{share:>21}"
    return said


def progress(text: str) -> None:
    """Tell people that it goes on."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
