"""pytest inside this process: collect once, then run chosen items with pytest's own protocol."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

MESSAGE_LIMIT = 2000


class Reports:
    """A plugin that keeps the outcome of the item being run."""

    def __init__(self) -> None:
        self.outcome = ""
        self.message = ""
        self.places: list[tuple[str, int]] = []

    def begin(self) -> None:
        self.outcome, self.message, self.places = "", "", []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed:
            if report.when == "call":
                self.outcome = self.outcome or ("xpassed" if hasattr(report, "wasxfail") else "passed")
            return
        if report.skipped:
            self.outcome = self.outcome or ("xfailed" if hasattr(report, "wasxfail") else "skipped")
            return
        self.outcome = "failed" if report.when == "call" and self.outcome != "error" else "error"
        if not self.message:
            self.message, self.places = _text(report), _places(report)


class Suite:
    """The collected tests of the working folder."""

    def __init__(self, args: Sequence[str]) -> None:
        from _pytest.config import _prepareconfig
        from _pytest.main import Session

        self.reports = Reports()
        self.errors: dict[str, str] = {}
        for folder in (os.path.join(os.getcwd(), "src"), os.getcwd()):  # as the gates' test runs have it
            if os.path.isdir(folder) and folder not in sys.path:
                sys.path.insert(0, folder)
        self.config = _prepareconfig([*_options(), *args], plugins=[self.reports, self])
        self.config._do_configure()
        self.session = Session.from_config(self.config)
        self.config.hook.pytest_sessionstart(session=self.session)
        self.config.hook.pytest_collection(session=self.session)
        self.items = {item.nodeid: item for item in self.session.items}
        for name in ("terminalreporter", "lfplugin", "nfplugin", "stepwiseplugin"):
            self.config.pluginmanager.unregister(name=name)  # their accounts of each test are read by nobody here

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember what could not be collected."""
        if report.failed:
            self.errors[report.nodeid] = str(getattr(report, "longreprtext", ""))[-MESSAGE_LIMIT:] or _text(report)

    def brief(self) -> None:
        """From now on, in this process, failures are not put into words: that takes longer than most tests."""
        from _pytest.nodes import Node

        Node._repr_failure_py = _unsaid  # type: ignore[method-assign]

    def run(self, wanted: Sequence[str], told: Callable[[int, str, float, str], bool]) -> None:
        """Run the items in order; `told(index, outcome, cpu seconds, message)` may end the run by returning False."""
        for index, nodeid in enumerate(wanted):
            items = self._items(nodeid)
            outcome, message, spent = "" if items else "missing", "", 0.0
            for item, after in zip(items, [*items[1:], self.items.get(_following(wanted, index))], strict=True):
                one, message, more = self._one(item, after)
                outcome, spent = (one if outcome in ("", "passed") else outcome), spent + more
                if outcome != "passed":
                    break
            if not told(index, outcome, spent, message):
                return

    def _items(self, nodeid: str) -> list[pytest.Item]:
        """The item of this id, or all of a file that could not be imported when its id was written down."""
        if nodeid in self.items or "::" in nodeid:
            return [self.items[nodeid]] if nodeid in self.items else []
        return [item for name, item in self.items.items() if name.startswith(f"{nodeid}::")]

    def _one(self, item: pytest.Item, following: pytest.Item | None) -> tuple[str, str, float]:
        self.reports.begin()
        start = time.process_time()
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        return self.reports.outcome or "error", self.reports.message, time.process_time() - start


def _unsaid(node: Any, excinfo: Any, style: Any = None) -> str:
    """Stands in for pytest's account of a failure."""
    return str(excinfo.typename)


def _following(wanted: Sequence[str], index: int) -> str:
    return wanted[index + 1] if index + 1 < len(wanted) else ""


def _options() -> list[str]:
    """Options that keep ids as an ordinary run names them and switch off what fights with forking."""
    options = [
        f"--rootdir={os.getcwd()}",
        "--capture=sys",
        "-o",
        f"cache_dir={_scratch()}",
        "-p",
        "no:randomly",
        "--tb=short",
    ]
    if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        return options
    if _present("xdist"):
        options += ["-n0"]
    if _present("pytest_cov"):
        options += ["--no-cov"]
    if _present("hypothesis"):
        options += ["--hypothesis-seed=0"]
    return options


def _scratch() -> str:
    return os.path.join(os.environ.get("TMPDIR", "/tmp"), f"pytest-cache-{os.getpid()}")


def _present(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _text(report: Any) -> str:
    """The last lines of a failure, where the message is."""
    crash = getattr(getattr(report, "longrepr", None), "reprcrash", None)
    text = str(getattr(crash, "message", "")) if crash else ""
    try:
        text = text or report.longreprtext
    except Exception as error:
        text = f"{type(error).__name__} while showing the failure"
    return text[-MESSAGE_LIMIT:]


def _places(report: Any) -> list[tuple[str, int]]:
    """(file, line) of each step of the traceback, outermost first."""
    entries = getattr(getattr(getattr(report, "longrepr", None), "reprtraceback", None), "reprentries", [])
    found = [getattr(entry, "reprfileloc", None) for entry in entries]
    return [(os.path.abspath(place.path), int(place.lineno)) for place in found if place is not None]
