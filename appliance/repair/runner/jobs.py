"""What a child does: put a candidate in force, run tests, trace lines, or probe functions with inputs."""

from __future__ import annotations

import os
import types
from collections.abc import Sequence
from typing import Any

from . import candidate, coverage, probe
from .children import Reply, Tell, limit_cpu
from .suite import Suite


class World:
    """What the parent knows when it forks."""

    def __init__(self, *, hot: bool) -> None:
        self.hot = hot
        self.root = os.getcwd() + os.sep
        self.args: list[str] = []
        self.plans: dict[str, list[str]] = {}
        self.suite: Suite | None = None
        self.live: candidate.LiveFunctions | None = None


def do(world: World, request: dict[str, Any], tell: Tell) -> Reply:
    """The whole life of a child, apart from its end."""
    limit_cpu(request.get("start_cpu", 20.0))
    tests = request["tests"] if "tests" in request else world.plans[request["plan"]]
    try:
        suite = _prepared(world, request, tests)
    except candidate.NeedsCold:
        return {"status": "cold"}
    except (SyntaxError, ValueError) as error:
        return {"status": "syntax", "message": str(error)[:200]}
    stale = world.live is not None and world.live.stale
    if request["op"] == "probe":
        return {"status": "cold"} if stale else probe.run(world.root, suite, tests, request, tell)
    return {**_run(world, suite, tests, request, tell), "stale": stale}


def _prepared(world: World, request: dict[str, Any], tests: Sequence[str]) -> Suite:
    edits: list[candidate.Edit] = [tuple(edit) for edit in request.get("edits", [])]  # type: ignore[misc]
    if world.suite is not None and world.live is not None:
        if edits:
            world.live.exchange(edits)
        return world.suite
    overlay = candidate.Overlay(edits)
    if request.get("copy"):
        _into_copy(world, overlay)
    else:
        overlay.install()
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
    return Suite([*world.args, *files])


def _into_copy(world: World, overlay: candidate.Overlay) -> None:
    """Work in a copy of the folder of this child's own, with the changed files on disk.

    For tests that start processes: those read files, not this process's memory.
    """
    import shutil
    import tempfile

    target = tempfile.mkdtemp(prefix="candidate-")
    shutil.copytree(
        world.root, target, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".git")
    )
    os.chdir(target)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    overlay.sources = {os.path.relpath(path, world.root): text for path, text in overlay.sources.items()}
    overlay.write()
    world.root = os.path.realpath(target) + os.sep


def _run(world: World, suite: Suite, tests: Sequence[str], request: dict[str, Any], tell: Tell) -> Reply:
    """Run the tests; the first `always` run whatever happens, after that the first failure ends it."""
    outcomes: list[list[Any]] = []
    messages: dict[int, str] = {}
    places: dict[int, list[Any]] = {}
    always, stop, stream, per_test = request["always"], request["stop"], request["stream"], request["cpu"]
    lines = coverage.Lines(world.root, skip=request.get("skip", [])) if request.get("trace") else None

    def late(signal: int, frame: types.FrameType | None) -> None:
        """A traced test that never ends still tells where it was."""
        assert lines
        tell(
            {
                "status": "timeout",
                "outcomes": outcomes,
                "messages": messages,
                "lines": lines.stop(),
                "places": {len(outcomes): within(world.root, stack(frame))},
            }
        )
        os._exit(0)

    def told(index: int, outcome: str, spent: float, message: str) -> bool:
        good = outcome in ("passed", "xfailed", "skipped", "xpassed")
        outcomes.append([index, outcome, round(spent, 4)])
        if message:
            messages[index] = message
            places[index] = within(world.root, suite.reports.places)
        if stream:
            tell({"outcome": outcomes[-1], "message": message})
        limit_cpu(_allowance(per_test, index + 1), late if lines else None)
        if good or not stop:
            return True
        return index + 1 < always

    limit_cpu(_allowance(per_test, 0), late if lines else None)
    if lines:
        lines.start()
    else:
        suite.brief()
    suite.run(tests, told)
    limit_cpu(20.0)
    reply: Reply = {"status": "done", "outcomes": outcomes, "messages": messages, "places": places}
    if lines:
        reply["lines"] = lines.stop()
    return reply


def _allowance(per_test: float | list[float], index: int) -> float:
    """CPU seconds for the test with this index."""
    if isinstance(per_test, list):
        return float(per_test[min(index, len(per_test) - 1)])
    return float(per_test)


def within(root: str, steps: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """The steps inside the working folder, with relative paths."""
    return [(path.removeprefix(root), line) for path, line in steps if path.startswith(root)]


def stack(frame: types.FrameType | None) -> list[tuple[str, int]]:
    """(file, line) of each step that led to this frame, outermost first."""
    steps: list[tuple[str, int]] = []
    while frame is not None:
        steps.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return steps[::-1]
