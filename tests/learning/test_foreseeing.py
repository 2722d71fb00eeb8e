"""What a report means decides only where that is proved to choose better than the order does without it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from appliance.config import Home
from appliance.errors import LimitExceeded
from appliance.learning.foreseeing import LEAST, Prospect, prospects
from appliance.learning.policies import Policies
from appliance.learning.routing import Inside, Place, Try
from appliance.learning.watching import expected
from appliance.ledger import open_ledger
from appliance.policy import Meaning, Weights
from inference.policy import Standing, read_policy

INSIDE = Inside(rule="repairs", order=("big", "small"), quality=1.0, cost=0.5, speed=0.0)


def tries(count: int, seed: int = 1, chance: float | None = 0.5, tell: float = 1.0, maker: str = "mini") -> list[Try]:
    """First tries of two kinds of reports: `small` holds on the one, `big` on both; `tell` is how far vectors tell the
    kinds apart."""
    random = np.random.default_rng(seed)
    made = []
    for n in range(count):
        easy = bool(random.integers(2))
        vector = tell * (np.array([1.0, 0, 0]) if easy else np.array([0, 1.0, 0])) + random.normal(0, 0.2, 3)
        who = "small" if random.random() < 0.5 else "big"
        held = bool(random.random() < (0.9 if who == "big" or easy else 0.1))
        seconds = 10.0 if who == "big" else 1.0
        made.append(Try(float(n), "repairs", "shop", who, held, seconds, chance, Meaning.of(vector, maker, "ab")))
    return made


def found(known: Sequence[Try]) -> Prospect:
    [one] = prospects(known, [INSIDE], {Place("repairs"): INSIDE.order})
    return one


def test_where_meaning_tells_who_suffices_it_decides() -> None:
    one = found(tries(600))
    assert one.predictor is not None, one.why
    easy, hard = (Meaning.of(vector, "mini", "ab") for vector in ([1.0, 0, 0], [0, 1.0, 0]))
    weights = INSIDE.weights
    assert [one.predictor.foresee(text, weights)[0].candidate for text in (easy, hard)] == ["small", "big"]
    assert one.quality == pytest.approx(0.9, abs=0.07)
    assert one == found(tries(600)), "the same for the same"


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (tries(LEAST - 1), "are needed"),
        (tries(600, tell=0.0), "were needed"),
        (tries(600, chance=1.0), "INCONCLUSIVE"),
        (tries(600, chance=None), "INCONCLUSIVE"),
        ([one._replace(meaning=None) for one in tries(600)], "are needed"),
        ([one._replace(candidate="big") for one in tries(600)], "are needed"),
    ],
    ids=["few", "nothing to tell", "no chance", "chances not told", "no vectors", "one candidate"],
)
def test_without_proof_the_order_stays(known: list[Try], why: str) -> None:
    one = found(known)
    assert one.predictor is None and why in one.why


def test_vectors_of_an_earlier_embedding_model_count_for_nothing() -> None:
    later = [one._replace(at=one.at + 1000) for one in tries(50, maker="maxi")]
    assert found([*tries(600), *later]).tries == 50


def test_it_is_published_read_by_the_router_and_watched_by_what_it_promised(home: Home) -> None:
    one = found(tries(600))
    ledger = open_ledger(home)
    kept = Policies(home, ledger)
    assert one.predictor is not None
    told = [{**one.model_dump(mode="json", exclude={"predictor"}), "foresees": True}]
    number = kept.publish([], [], datetime.now(UTC), [one.predictor], told)
    kept.promote(number, "ada")
    ledger.close()
    learned = read_policy(home.policy_file)
    assert learned.standing is Standing.IN_USE, learned.why
    assert learned.policy is not None and learned.policy.predictors == (one.predictor,)
    order = [{"rule": "repairs", "repo": "shop", "order": ["big"],
              "candidates": [{"candidate": "big", "quality": 0.99, "unsure": 0.0}]}]  # fmt: skip
    assert set(expected(order, told)) == {Place("repairs")}
    assert expected(order, told)[Place("repairs")] < (one.quality or 0)


def test_a_policy_too_large_for_the_router_is_not_published(home: Home) -> None:
    ledger = open_ledger(home)
    kept = Policies(home, ledger)
    many = [{"rule": "r" * 1000, "order": ["a"]} for _ in range(5000)]
    with pytest.raises(LimitExceeded, match="the router reads"):
        kept.publish(many, [], datetime.now(UTC))
    assert kept.versions() == [] and ledger.history("routing policy") == []
    ledger.close()


def test_format_1_has_no_predictors(home: Home) -> None:
    one = found(tries(600)).predictor
    assert one is not None
    for format, standing in ((1, Standing.BROKEN), (2, Standing.IN_USE), (3, Standing.BROKEN)):
        policy = {"format": format, "version": 1, "made": datetime.now(UTC).isoformat(), "preferences": [],
                  "predictors": [one.model_dump(mode="json")]}  # fmt: skip
        home.policy_file.write_text(json.dumps(policy))
        assert read_policy(home.policy_file).standing is standing


def test_quality_counts_against_cost_as_the_rule_says() -> None:
    one = found(tries(600)).predictor
    assert one is not None
    hard = Meaning.of([0, 1.0, 0], "mini", "ab")
    assert one.foresee(hard, Weights(1.0, 0.0, 0.0))[0].candidate == "big"
    assert one.foresee(hard, Weights(0.1, 1.0, 0.0))[0].candidate == "small"
