"""What every room's tests may use: a home of their own and the machine's real sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from appliance.computers.probe import open_sandbox
from appliance.computers.sandbox import BoxedSandbox
from appliance.config import Home
from appliance.settings import ComputersSettings

# No test is timed: a slow or busy machine must not fail one that is right.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with its folders, and nothing in them."""
    made = Home(tmp_path / "home")
    for folder in (made.root, *made.folders):
        folder.mkdir()
    return made


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> BoxedSandbox:
    """The best sandbox this machine offers."""
    return open_sandbox(ComputersSettings(), Home(tmp_path_factory.mktemp("sandbox-home")))
