"""A repository with a fault, its mirror, the real line with the real sandbox, and the console before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner, Result

from appliance.cli.main import root
from appliance.computers.sandbox import BoxedSandbox
from appliance.config import Home, render
from appliance.ledger.ids import item_of
from appliance.ledger.lease import Worker
from appliance.limits import Limits
from appliance.line.runner import Board, Runner
from appliance.line.service import Line
from appliance.mirror.mirror import Mirror
from appliance.settings import Settings
from appliance.work import Autonomy, Signal, State, TrackedRepository, WorkItem
from control.desk import Desk
from tests.contracts.model import ScriptedModel
from tests.control.world import Console
from tests.e2e.world import git, remote

PRICE = 'def total(prices):\n    """Sum of prices."""\n    return sum(prices)\n\n\ndef shipping(sum):\n    """Free from 50 on."""\n    return 0 if sum > 50 else 5\n'  # noqa: E501 - a repository's file
TESTS = "from shop.price import shipping, total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n\n\ndef test_free():\n    assert shipping(60) == 0\n"  # noqa: E501
LIMIT = "from shop.price import shipping\n\n\ndef test_limit():\n    assert (shipping(50), shipping(49)) == (0, 5)\n"
FILES = {"shop/__init__.py": "", "shop/price.py": PRICE, "tests/test_price.py": TESTS, "secret.key": "x\n"}
MENDED = PRICE.replace("> 50", ">= 50")


class Workshop:
    """One box without models but for search, whose line takes a step when it is told to."""

    def __init__(self, folder: Path, sandbox: BoxedSandbox) -> None:
        home = Home(folder / "home")
        for inner in (home.root, *home.folders):
            inner.mkdir()
        (home.secrets / "line.key").write_text("of no gateway")
        repair = Settings().repair.model_copy(update={"cpu_seconds": 3.0, "pair_seconds": 0.0, "processes": 1})
        autonomy = Settings().autonomy.model_copy(update={"protected_paths": ["*.key"]})
        self.settings = Settings().model_copy(update={"repair": repair, "autonomy": autonomy})
        home.settings_file.write_text(render(self.settings))
        self.bare, self.tree = remote(folder, "shop", FILES), folder / "shop-tree"
        self.console = Console(home)
        self.ledger = self.console.ledger
        tracked = TrackedRepository(
            name="shop", url=f"file://{self.bare}", branch="main", autonomy=Autonomy.HIGH
        )  # fmt: skip
        self.ledger.add_repository(tracked)
        self.mirror = Mirror.of(home, tracked, self.settings.mirror)
        self.mirror.create()
        desk: Desk = self.console.app.extensions["appliance.desk"]
        desk.limits = Limits(home.settings_file, self.settings)
        desk.settings, desk.repository = self.settings, lambda one: Mirror.of(home, one, self.settings.mirror)
        self.line = Line(home, self.settings)
        self.line.sandbox = sandbox
        self.line.model = ScriptedModel(routes={"repair": ("search",)})  # type: ignore[assignment]
        self.runner = Runner(self.ledger, self.line.parts_for, self.settings.line, Board(), lambda: None)

    def report(self, title: str = "Shipping is odd for some carts", body: str = "") -> str:
        """A report from which the box makes no test by itself; its item."""
        return item_of(self.ledger.receive(Signal(id="", repo="shop", title=title, body=body, source="cli")).id)

    def run(self, item: str, until: Sequence[State] = ()) -> WorkItem:
        """Let the line work until the item settles, or is in one of some states."""
        for _ in range(30):
            self.runner.take_in()
            now = self.ledger.item(item)
            if now.state in until or not self.runner.step(Worker.here()):
                break
        return self.ledger.item(item)

    def cli(self, *words: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(root, ["--home", str(self.console.home.root), *words], input=stdin)

    def patch(self, **files: str) -> str:
        """What `git diff` says of the tree with some files changed; a name's double underscore is a slash."""
        paths = {name.replace("__", "/") + ".py": text for name, text in files.items()}
        for path, text in paths.items():
            (self.tree / path).write_text(text)
        git(self.tree, "add", "-A")
        try:
            return git(self.tree, "diff", "--cached", "HEAD") + "\n"
        finally:
            git(self.tree, "reset", "-q", "--hard", "HEAD")

    def series(self, message: str, **files: str) -> str:
        """The same as `git format-patch` writes it, by Tester."""
        for name, text in files.items():
            (self.tree / (name.replace("__", "/") + ".py")).write_text(text)
        git(self.tree, "add", "-A")
        git(self.tree, "commit", "-q", "-m", message)
        try:
            return git(self.tree, "format-patch", "--stdout", "HEAD~1") + "\n"
        finally:
            git(self.tree, "reset", "-q", "--hard", "HEAD~1")

    def close(self) -> None:
        self.line.ledger.close()
        self.ledger.close()
