from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.computers.probe import open_sandbox
from appliance.computers.sandbox import BoxedSandbox
from appliance.config import Home
from appliance.settings import ComputersSettings


@pytest.fixture(scope="session", params=["A", "B"])
def box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BoxedSandbox:
    """Each tier for real: both have to keep every promise."""
    return open_sandbox(ComputersSettings(tier=request.param), Home(tmp_path_factory.mktemp("home")))


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder with files."""

    def make(**files: str) -> Path:
        folder = tmp_path / "tree"
        for name, content in files.items():
            path = folder / name.replace("__", "/").replace("_py", ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        folder.mkdir(exist_ok=True)
        return folder

    return make
