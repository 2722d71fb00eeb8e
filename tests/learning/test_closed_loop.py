"""Items, the router, the models and the learning store together: what was done is what the store tells, what it tells
makes the router cheaper, and a model that gets worse is noticed.

`make test-learning` plays the same world at full size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from appliance.learning.service import Learning
from appliance.settings import Settings
from tests.learning.closed_world import ANSWER_TOKENS, REPOSITORIES, World, mends, played, running_world

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
SEED = 7
ITEMS = int(os.environ.get("WORLD_ITEMS", "40"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("world") / "home", SEED) as made:
        yield made


@pytest.fixture(scope="module")
def learning(world: World) -> Iterator[Learning]:
    made = Learning(world.home, Settings())
    yield made
    made.close()


def test_every_item_and_every_call_is_in_the_store_as_it_was(world: World, learning: Learning) -> None:
    before = world.stretch("by the rules alone", ITEMS)
    print("\n" + world.table())
    reports = [signal for signal, _ in world.ledger.signals(limit=ITEMS)]
    right = [one for one in reports if any(mends(SEED, model, one.repo, one.title) for model in world.models)]
    assert (before.items, before.solved) == (ITEMS, len(right))
    assert before.calls["large"] == ITEMS, "the rule's first candidate is tried first while nothing was learned"
    learning.catch_up()
    told = {row["group"]: row for row in learning.answer({"ask": "autonomy", "with": {}})["rows"]}
    for repo in REPOSITORIES:
        assert told[repo]["shipped"] == told[repo]["alone"] == len([one for one in right if one.repo == repo])
    rows = learning._store.ask(
        "SELECT model, count(*) AS calls, sum(prompt_tokens)::BIGINT AS prompt, sum(completion_tokens)::BIGINT AS said,"
        " count(DISTINCT item) AS items FROM model_calls WHERE task = 'repair' GROUP BY model", {}, 10.0
    )  # fmt: skip
    assert {row["model"]: (row["calls"], row["prompt"], row["said"]) for row in rows} == {
        name: (server.calls, server.prompt_tokens, ANSWER_TOKENS * server.calls)
        for name, server in world.models.items()
        if server.calls
    }
    by_model = {
        row["group"]: row["shipped"] for row in learning.answer({"ask": "autonomy", "with": {"by": "model"}})["rows"]
    }
    assert sum(by_model.values()) == len(right) and by_model["large"] == max(by_model.values())


def test_what_was_learned_makes_the_router_cheaper_and_a_model_that_gets_worse_is_noticed(
    world: World, learning: Learning, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = played(world, learning, ITEMS)
    with capsys.disabled():
        print("\n" + world.table() + "\n" + loop.why)
    assert loop.after.cost < 0.7 * loop.before.cost
    assert loop.after.share >= loop.before.share - 0.05
    assert loop.after.solved / loop.after.items >= loop.before.solved / loop.before.items - 0.05
    assert loop.worse.cost > loop.after.cost and loop.why and loop.policy == 0
