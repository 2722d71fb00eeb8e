"""A real sandbox, and repositories small enough to be read in a test."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from appliance.computers.probe import open_sandbox
from appliance.computers.sandbox import BoxedSandbox
from appliance.computers.suite import run_suite
from appliance.config import Home
from appliance.ports import Limits
from appliance.repair.problem import Found, Problem
from appliance.repair.search import search
from appliance.settings import ComputersSettings, RepairSettings

LIMITS = Limits(seconds=120.0, cpu_seconds=120.0, memory_mb=1024)

Write = Callable[[Mapping[str, str]], Path]
Repair = Callable[..., Found]


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> BoxedSandbox:
    home = Home(tmp_path_factory.mktemp("home"))
    for folder in home.folders:
        folder.mkdir(parents=True, exist_ok=True)
    return open_sandbox(ComputersSettings(), home)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a repository's files and return its folder."""

    def do(files: Mapping[str, str]) -> Path:
        tree = tmp_path / "tree"
        for name, text in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return tree

    return do


@pytest.fixture
def problem(sandbox: BoxedSandbox, write: Write) -> Callable[..., Problem]:
    """A repository whose failing tests are the acceptance tests."""

    def do(files: Mapping[str, str], report: str = "", limits: Limits = LIMITS, **more: object) -> Problem:
        tree = write(files)
        base = run_suite(sandbox, tree, str(more.pop("command", "")), limits, sandbox.python)
        assert base.failed, base.output_tail
        return Problem(tree, base.failed, base.outcomes, report, **more)  # type: ignore[arg-type]

    return do


@pytest.fixture
def repair(sandbox: BoxedSandbox, problem: Callable[..., Problem]) -> Repair:
    """Search a repair of a repository's failing tests."""

    def do(files: Mapping[str, str], *, settings: RepairSettings | None = None, **more: object) -> Found:
        made = problem(files, **more)
        settings = settings or RepairSettings(cpu_seconds=15.0, pair_seconds=0.0)
        return search(made, sandbox, LIMITS, settings, sandbox.python, lambda _: None, None)

    return do
