"""What a decision costs: the router alone, without gateway or engine.

Prints the median and the 99th percentile in microseconds, for files of 3, 30 and 300 rules when the first or the last
rule decides, with and without a learned policy; for one by what a text means, when its vector is there and when the
embedding model of the box has to make it first; for an explained decision; for reading a call's facts; and what
`route check` needs for the whole file, in milliseconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from appliance.learning.prototypes import fit
from appliance.policy import CHARACTERS, Meaning, Predictor
from inference.asked import RouteRequest
from inference.catalogue import Catalogue, Entry
from inference.policy import RULES_ALONE, Learned, Policy, Standing
from inference.reach import review
from inference.router import decide, explain
from inference.rules import Rule, Rules
from models.minilm import convert, find_weights
from tests.benchmarks.router_outcomes import serving

MODELS = [Entry(id=f"model-{n}", tasks=("chat", "repair"), context_tokens=8192, size_bytes=n) for n in range(8)]
ASKED = {
    "task": "repair", "language": "python", "repo": "team-core", "key": "line", "team": "core", "severity": 2,
    "attempt": 1, "prompt_tokens": 3000, "load": 4, "at": datetime(2026, 11, 26, 12, tzinfo=UTC), "needs": ("tools",),
    "sensitivity": "internal", "answering": True,
}  # fmt: skip
NAMES = tuple(entry.id for entry in MODELS)


def file_of(size: int, deciding: int) -> Rules:
    """Rules with all kinds of conditions, of which one holds for the call: all others fail late."""
    rules = []
    for n in range(size):
        when = {
            "task": ["repair"], "language": ["python"], "repo": ["team-*"], "severity": {"max": 2},
            "time": {"from": "08:00", "to": "18:00"}, "sensitivity": {"max": "confidential"},
            "needs": ["tools"], "team": ["core"], "prompt_tokens": {"max": 4000 if n == deciding else 10 + n},
        }  # fmt: skip
        made = {"name": f"rule {n}", "when": when, "candidates": [*NAMES[:4]], "fallback": ["*"], "learning": "apply"}
        rules.append(Rule.model_validate(made))
    return Rules(rule=tuple(rules))


def timed(what: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median and 99th percentile in microseconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        what()
        times.append(time.perf_counter() - began)
    times.sort()
    return times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6


def show(name: str, figures: tuple[float, float]) -> None:
    print(f"{name:52} p50 {figures[0]:8.1f} µs   p99 {figures[1]:8.1f} µs")


def by_meaning(rounds: int, catalogue: Catalogue, request: RouteRequest) -> None:
    """Decisions by a policy fitted to 1,500 prompts, with the real embedding model on the real server."""
    random = np.random.default_rng(1)
    vectors, held = random.normal(size=(1500, 384)), random.random((1500, 4)).round()
    quality = fit(vectors, held, NAMES[:4], embedder="mini", digest="", characters=CHARACTERS)
    predictor = Predictor(rule="rule 2", quality=quality, seconds=dict.fromkeys(NAMES[:4], 1.0))
    policy = Policy(format=2, version=1, made=datetime.now(UTC), predictors=(predictor,))
    learned, rules = Learned(policy=policy, standing=Standing.IN_USE, why=""), file_of(3, 2)
    told = Meaning.of(random.normal(size=384), "mini", "").model_dump()

    def decided(said: object) -> None:
        assert decide(request, rules, catalogue, learned, Meaning.model_validate(said)).policy_version == 1

    show("3 rules, by what a text means", timed(lambda: decided(told), rounds))
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.gguf"
        convert(find_weights(), model)
        with serving(model) as client:
            text = ("slug keeps blanks: slug('A b') gives 'a b' instead of 'a-b'. " * 20)[:CHARACTERS]

            def embedded() -> None:
                number = str(next(counter))  # no two alike: the server remembers beginnings
                answer = client.post("/v1/embeddings", json={"input": [(number + text)[:CHARACTERS]]})
                decided(Meaning.of(answer.json()["data"][0]["embedding"], "mini", "").model_dump())

            counter = count(10_000)
            for _ in range(20):
                embedded()
            show(f"the same, {CHARACTERS} characters embedded first", timed(embedded, max(200, rounds // 10)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3000)
    rounds = parser.parse_args().rounds
    catalogue, request = Catalogue(MODELS), RouteRequest.model_validate(ASKED)
    by_meaning(rounds, catalogue, request)
    show("reading a call's facts", timed(lambda: RouteRequest.model_validate(ASKED), rounds))
    for size in (3, 30, 300):
        for place, deciding in (("first", 0), ("last", size - 1)):
            rules = file_of(size, deciding)
            assert decide(request, rules, catalogue).rule == f"rule {deciding}"
            show(
                f"{size} rules, the {place} one decides",
                timed(lambda rules=rules: decide(request, rules, catalogue), rounds),
            )
        preferences = [{"rule": rule.name, "order": NAMES[::-1]} for rule in rules.rule]
        policy = Policy.model_validate(
            {"format": 1, "version": 1, "made": datetime.now(UTC), "preferences": preferences}
        )
        learned = Learned(policy=policy, standing=Standing.IN_USE, why="")
        show(
            f"{size} rules, the last one decides, with a policy",
            timed(lambda rules=rules, learned=learned: decide(request, rules, catalogue, learned), rounds),
        )
        show(
            f"{size} rules, explained",
            timed(lambda rules=rules: explain(request, rules, catalogue, RULES_ALONE), max(20, rounds // 30)),
        )
        began = time.perf_counter()
        findings = review(rules, catalogue, {})
        passed = (time.perf_counter() - began) * 1000
        print(f"{size} rules, checked: {passed:.1f} ms, {len(findings)} findings")


if __name__ == "__main__":
    main()
