"""One project on a faithful server of each kind of forge, and the box's adapter to it.

Where the environment names a real forge (`make test-forge`), that one takes the place of all test servers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Home
from appliance.mirror.forges import adapter
from appliance.mirror.mirror import Mirror
from appliance.mirror.workspace import Clone
from appliance.ports import Forge
from appliance.settings import MirrorSettings
from appliance.work import TrackedRepository
from tests.contracts.forges.gitea import Forgejo, Gitea
from tests.contracts.forges.github import Github
from tests.contracts.forges.gitlab import Gitlab
from tests.contracts.forges.real import RealForge, real_forge
from tests.contracts.forges.server import Server, serving
from tests.e2e.world import remote

SERVERS: tuple[type[Any], ...] = (RealForge,) if os.environ.get("FORGE_URL") else (Gitea, Forgejo, Gitlab, Github)
SETTINGS = MirrorSettings(timeout_seconds=30)
LONG = {
    "shop.py": "PRICE = 1\nTAX = 1\n" + "".join(f"TAX_{number} = 1\n" for number in range(30)),
    "till.py": "OPEN = 1\n",
}
"""Files of a project in which a line may lie far from a change, or in another file."""

DIFF = "--- a/shop.py\n+++ b/shop.py\n@@ -1,2 +1,2 @@\n-PRICE = 1\n+PRICE = 2\n TAX = 1\n"


@pytest.fixture(params=SERVERS, ids=[getattr(server, "kind", "real") for server in SERVERS])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server | RealForge]:
    bare = remote(tmp_path, "shop", {"shop.py": "PRICE = 1\nTAX = 1\n"})
    with real_forge(bare) if request.param is RealForge else serving(request.param(bare)) as running:
        yield running


@pytest.fixture
def tracked(home: Home, server: Server | RealForge) -> TrackedRepository:
    token = server.token if isinstance(server, RealForge) else "t0ken"
    (home.secrets / "forge-shop.token").write_text(f"{token}\n")
    if "FORGE_CA" in os.environ:
        (home.secrets / "ca-shop.pem").write_bytes(Path(os.environ["FORGE_CA"]).read_bytes())
    return TrackedRepository(
        name="shop", url=server.git_url(), branch="main", forge=server.kind, api=server.url, project=server.path
    )


@pytest.fixture
def forge(home: Home, tracked: TrackedRepository) -> Forge:
    return adapter(home, tracked, SETTINGS)


@pytest.fixture
def clone(home: Home, tracked: TrackedRepository) -> Iterator[Clone]:
    """A clone of the project in which the price is 2."""
    mirror = Mirror(home, "shop", tracked.url, "", SETTINGS)
    made = mirror.workspace(mirror.create())
    made.apply(DIFF)
    yield made
    made.close()
