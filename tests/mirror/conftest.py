from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.config import Home
from appliance.mirror.mirror import Mirror
from appliance.settings import MirrorSettings
from tests.e2e.world import git, remote

FILES = {"shop.py": "PRICE = 1\n", "README.md": "# shop\n", "tests/test_shop.py": "def test_it():\n    assert True\n"}
SETTINGS = MirrorSettings(timeout_seconds=30)


@dataclass(frozen=True)
class Server:
    """A bare repository on the internal git server, and a developer's clone of it."""

    bare: Path
    tree: Path

    def push(self, path: str, content: str, message: str = "by a developer", branch: str = "main") -> str:
        (self.tree / path).parent.mkdir(parents=True, exist_ok=True)
        (self.tree / path).write_text(content)
        git(self.tree, "add", "-A")
        git(self.tree, "commit", "-q", "-m", message)
        git(self.tree, "push", "-q", "-f", "origin", f"HEAD:{branch}")
        return git(self.tree, "rev-parse", "HEAD")

    def hook(self, name: str, script: str) -> None:
        hook = self.bare / "hooks" / name
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(0o755)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    bare = remote(tmp_path, "shop", FILES)
    return Server(bare, tmp_path / "shop-tree")


@pytest.fixture
def mirror(home: Home, server: Server) -> Mirror:
    made = Mirror(home, "shop", server.bare.as_uri(), "", SETTINGS)
    made.create()
    return made


@pytest.fixture
def box(home: Home) -> Path:
    """A home with which the command line works."""
    home.settings_file.touch()
    return home.root
