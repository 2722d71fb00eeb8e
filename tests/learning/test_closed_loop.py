"""Items, the router, the models and the learning store together: what was done is what the store tells, what it tells
makes the router cheaper, and a model that gets worse is noticed.

WORLD_ITEMS=200 makes the stretches longer than in the suite; `-s` prints the table.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.__main__ import main
from appliance.learning.door import Door
from appliance.learning.policies import Policies
from appliance.learning.service import Learning
from appliance.learning.watching import watch
from appliance.settings import Settings
from tests.inference.engines_process import until
from tests.learning.closed_world import ANSWER_TOKENS, REPOSITORIES, STRENGTH, World, mends, running_world

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


def learn(world: World, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """What a command of a person answers."""
    capsys.readouterr()
    assert main(["--home", str(world.home.root), "--json", "learn", *words]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def first(world: World, repo: str) -> str:
    """Whom the router would ask first."""
    return world.gateway.route(task="repair", stage="build", language="python", repo=repo, severity=3).candidates[0]


def test_what_was_learned_makes_the_router_cheaper_and_a_model_that_gets_worse_is_noticed(
    world: World, learning: Learning, capsys: pytest.CaptureFixture[str]
) -> None:
    before = world.stretch("by the rules alone", ITEMS)
    with world.exploring(0.5):
        world.stretch("half of it exploring", 6 * ITEMS)  # enough outcomes of each model in each repository
    learning.catch_up()
    with Door(world.home, learning.answer):
        learn(world, capsys, "promote", str(learn(world, capsys, "train")["published"]))
    until(lambda: any(first(world, repo) != "large" for repo in REPOSITORIES), 30)  # the gateway looks now and then
    after = world.stretch("by what was learned", ITEMS)
    learning.catch_up()
    policies = Policies(world.home, world.ledger)
    assert watch(policies, world.ledger, learning._store.ask, 10.0) == ""
    for name in ("small", "middle"):
        world.models[name].strength[name] = {**STRENGTH[name], "shop": 0.1, "wms": 0.1}
    worse, why = world.stretch("the cheap ones got worse", ITEMS), ""
    for _ in range(5):  # how soon it shows hangs on which orders the gateway's dice let it learn
        learning.catch_up()
        if why := watch(policies, world.ledger, learning._store.ask, 10.0):
            break
        world.stretch("and it goes on", ITEMS)
    until(lambda: all(first(world, repo) == "large" for repo in REPOSITORIES), 30)
    world.stretch("rolled back", ITEMS)
    with capsys.disabled():
        print("\n" + world.table() + "\n" + why)
    assert after.cost < 0.7 * before.cost
    assert after.solved / after.items >= before.solved / before.items - 0.05
    assert worse.cost > after.cost and why and policies.current() == 0
