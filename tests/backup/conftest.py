from __future__ import annotations

from pathlib import Path

import pytest

from tests.backup.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One with a backup, for those who only read it."""
    world = World(tmp_path_factory.mktemp("made"))
    world.create()
    return world
