"""A repository's own tasks, tried by search and by models, with real git and the real sandbox."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.computers.sandbox import BoxedSandbox
from appliance.config import Home
from appliance.errors import Unavailable, UsageError
from appliance.ledger import Ledger, open_ledger
from appliance.line.diffs import diff_of
from appliance.line.replay import book
from appliance.line.replay.ground import Ground
from appliance.line.replay.making import make
from appliance.line.replay.run import EARLIER, replay, tasks_of
from appliance.line.replay.tasks import Task
from appliance.line.replay.trial import AUTO, standing
from appliance.mirror.mirror import Mirror
from appliance.settings import Settings
from appliance.work import Change, NewTest, Plan, State, TrackedRepository, WorkItem
from tests.contracts.model import ScriptedModel
from tests.e2e.world import git, remote

pytestmark = pytest.mark.integration

PRICE = '''def shipping(total):
    """Free from 50 on."""
    if total >= 50:
        return 0
    return 5


def discounted(price, percent):
    return price - price * percent / 100


def label(name, count):
    text = name.strip().title()
    return text + " x" + str(count)
'''
TESTS = """import pytest

from shop.price import discounted, label, shipping


@pytest.mark.parametrize(("total", "cost"), [(0, 5), (10, 5), (49, 5), (50, 0), (51, 0), (90, 0)])
def test_shipping(total, cost):
    assert shipping(total) == cost


@pytest.mark.parametrize(("price", "percent", "cost"), [(100, 10, 90), (50, 50, 25), (20, 0, 20), (10, 100, 0)])
def test_discounted(price, percent, cost):
    assert discounted(price, percent) == cost


@pytest.mark.parametrize(("name", "count", "text"), [(" tea ", 2, "Tea x2"), ("red cup", 1, "Red Cup x1"), ("a", 0, "A x0")])
def test_label(name, count, text):
    assert label(name, count) == text
"""  # noqa: E501 - a repository's file
WHOLE = f"The file as it was.\n\nshop/price.py\n```python\n{PRICE}```\n"
REPORTED = "from shop.price import shipping\n\n\ndef test_report():\n    assert shipping(50) == 0\n"


class Shop:
    """A repository the box looks after, and its ledger."""

    def __init__(self, home: Home, sandbox: BoxedSandbox, folder: Path) -> None:
        files = {"shop/__init__.py": "", "shop/price.py": PRICE, "tests/test_price.py": TESTS}
        self.bare, self.tree = remote(folder, "shop", files), folder / "shop-tree"
        self.home, self.sandbox = home, sandbox
        self.ledger: Ledger = open_ledger(home)
        self.tracked = TrackedRepository(name="shop", url=f"file://{self.bare}", branch="main")
        self.ledger.add_repository(self.tracked)
        repair = Settings().repair.model_copy(update={"cpu_seconds": 3.0, "pair_seconds": 0.0, "processes": 1})
        droid = Settings().droid.model_copy(update={"samples": 2, "turns": 1})
        self.settings = Settings().model_copy(update={"repair": repair, "droid": droid})
        self.said: list[str] = []

    def ground(self, model: ScriptedModel | None = None) -> Ground:
        model = model or ScriptedModel()
        mirror = Mirror.of(self.home, self.tracked, self.settings.mirror)
        return Ground(
            self.home, self.settings, self.tracked, mirror, self.sandbox, model, model, self.home.root / "replay", print
        )

    def tasks(self) -> tuple[Task, ...]:
        return tasks_of(self.ledger, self.ground(), 2, seed=4).tasks

    def replay(self, model: ScriptedModel, *contenders: str) -> dict[str, Any]:
        return replay(self.ledger, self.ground(model), self.tasks(), contenders, self.said.append)

    def commit(self, why: str, **files: str) -> str:
        """Push the repository's two files as they are to be; the commit."""
        for name, content in files.items():
            (self.tree / {"price": "shop/price.py", "tests": "tests/test_price.py"}[name]).write_text(content)
        git(self.tree, "commit", "-aqm", why)
        git(self.tree, "push", "-q", "origin", "main")
        return git(self.tree, "rev-parse", "HEAD")

    def shipped(self, id: str, base: str) -> WorkItem:
        """An item that mended the price, with the test it wrote."""
        test = NewTest(path="tests/test_report.py", origin="the report", content=REPORTED)
        diff = diff_of(self.tree, {"shop/price.py": PRICE, test.path: test.content})
        return WorkItem(
            id=id, repo="shop", title="shipping at 50 costs 5", state=State.CLOSED,
            plan=Plan(acceptance=("tests/test_report.py::test_report",), tests=(test,), base=base),
            change=Change(branch=f"factory/{id}", base=base, diff=diff),
        )  # fmt: skip


@pytest.fixture(scope="module")
def shop(sandbox: BoxedSandbox, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("replay")
    home = Home(folder / "home")
    for inner in (home.root, *home.folders):
        inner.mkdir()
    return Shop(home, sandbox, folder)


def test_the_set_is_fixed_and_each_slip_is_one_the_tests_notice(shop: Shop) -> None:
    tasks = shop.tasks()
    assert [task.kind for task in tasks] == ["slip"] * 2
    assert tasks == shop.tasks() and tasks[:1] == make(shop.ground(), [], 1, seed=4).tasks[:1]
    for task in tasks:
        assert task.broken.startswith("diff --git a/shop/price.py") and "a slip (" in task.why
    with standing(shop.ground(), tasks[0], 1) as stand:
        assert stand.item.plan is not None and set(tasks[0].acceptance) <= stand.item.plan.baseline.keys()
        assert len(stand.good) == 13 and len(stand.item.plan.baseline) < 13
        assert stand.item.plan.suspects[0].path == "shop/price.py"


def test_a_model_is_judged_and_every_result_is_kept_and_nothing_shipped(shop: Shop) -> None:
    right = shop.replay(ScriptedModel(WHOLE, name="good"), "good")
    [figures] = right["contenders"]
    assert (figures["selected"]["right"], figures["first"]["right"], figures["false_accepts"]["right"]) == (2, 2, 0)
    assert figures["tokens"] > 0 and figures["models"][0].startswith("good")
    assert [row["restored"] for row in right["rows"]] == [True, True]
    assert [row["found"] for row in right["rows"]] == [0, 0], "a model's changes are not counted so"
    worse = shop.ground(ScriptedModel("I cannot.", name="good"))
    again = replay(shop.ledger, worse, shop.tasks()[:1], ["good", EARLIER], shop.said.append)
    assert again["contenders"][0]["selected"]["right"] == 0
    assert "earlier alone 1" in again["comparison"]["words"]
    last, before = book.read(shop.ledger, "shop").runs[:-3:-1]
    assert (last.ended, len(last.rows), before.ended, len(before.rows)) == (True, 1, True, 2)
    assert git(shop.bare, "log", "--all", "--format=%s") == "start"


def test_what_the_router_chooses_is_a_contender_and_its_candidates_are_tried_in_turn(shop: Shop) -> None:
    model = ScriptedModel("I cannot.", "I cannot.", WHOLE, name="weak", routes={"repair": ("weak", "weak")})
    [row] = replay(shop.ledger, shop.ground(model), shop.tasks()[:1], [AUTO], shop.said.append)["rows"]
    assert (row["contender"], row["calls"], row["selected"], row["first"]) == (AUTO, 3, True, False)


def test_a_run_cut_off_goes_on_where_it_stopped_and_tries_nothing_twice(shop: Shop) -> None:
    with pytest.raises(Unavailable):
        shop.replay(ScriptedModel(WHOLE, Unavailable("the gateway is gone", "start it"), name="m"), "m")
    begun = book.read(shop.ledger, "shop").runs[-1].number
    model = ScriptedModel(WHOLE, name="m")
    assert shop.replay(model, "m")["run"] == begun and len(model.calls) == 1
    assert any("1 of 2 results are there already" in line for line in shop.said)


def test_the_command_survives_a_kill_and_its_next_call_ends_the_run(shop: Shop) -> None:
    shop.home.settings_file.write_text("[repair]\ncpu_seconds = 2.0\npair_seconds = 0.0\n[gateway]\nport = 1\n")
    (shop.home.secrets / "line.key").write_text("sk-none")
    shop.tasks()
    argv = [sys.executable, "-m", "appliance", "learn", "replay", "--model", "search", "--home", str(shop.home.root)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("1 of 2"):
                process.send_signal(signal.SIGKILL)
                break
    done = subprocess.run([*argv, "--json"], capture_output=True, text=True, timeout=200, check=True)
    [figures] = json.loads(done.stdout)
    search = figures["contenders"][0]
    assert (search["tasks"], search["tokens"]) == (2, 0) and search["candidates"] > 0
    assert search["first"]["right"] >= 1, "search finds a slip back"
    assert all(0 < row["found"] <= row["tried"] for row in figures["rows"] if row["first"])
    assert "1 of 2 results are there already" in done.stderr
    assert not (shop.home.root / "replay").exists()


def test_a_past_item_is_replayed_from_its_base_and_judged_by_tests_that_came_later(shop: Shop) -> None:
    far = "from shop.price import shipping\n\n\ndef test_far():\n    assert shipping(9) == 5\n"
    base = shop.commit("a fault", price=PRICE.replace("total >= 50", "total > 50"), tests=far)
    items = [shop.shipped("W-2", "f" * 40), shop.shipped("W-1", base)]
    shop.commit("mended, and tests", price=PRICE, tests=TESTS)
    made = make(shop.ground(), items, 2, seed=1)
    assert made.left[0].what == "W-2" and "cannot be had" in made.left[0].why
    [task] = [task for task in made.tasks if task.kind == "past"]
    for condition, (selected, wrong) in {">= 50": (True, False), "== 50": (False, True)}.items():
        model = ScriptedModel(WHOLE.replace(">= 50", condition), name="droid")
        [row] = replay(shop.ledger, shop.ground(model), [task], ["droid"], shop.said.append)["rows"]
        assert (row["selected"], row["wrong"], row["held"]) == (selected, wrong, 13)


def test_tests_that_cannot_judge_make_no_set(shop: Shop) -> None:
    shop.commit("broken", tests="raise SystemExit(3)\n")
    with pytest.raises(UsageError, match="shop can have no tasks"):
        tasks_of(shop.ledger, shop.ground(), 1, seed=1, renew=True)
