"""`make test-forge`, against a Gitea of ours in a process of its own that takes new projects as a real one does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request

from tests.contracts.forges.gitea import API, REPO, Gitea
from tests.contracts.forges.server import serving
from tests.e2e.world import remote

ROOT = Path(__file__).parents[2]
ASKED = (
    "proposed_twice or after_a_closed or free_branch or withdrawn or issue_is_closed or push_of_somebody_else "
    "or restarts or asks_to_wait"
)


class Renewable(Gitea):
    """Its one project is new each time that one is made."""

    made = removed = 0

    def routes(self, app: Flask) -> None:
        super().routes(app)

        @app.post(f"{API}/user/repos")
        def make() -> Any:
            self.made += 1
            for name in self.refs():
                self.git("update-ref", "-d", f"refs/heads/{name}")
            self.notice("factory")
            for kept in (self.issues, self.changes, self.comments, self.reviews, self.statuses):
                kept.clear()
            return self.as_repository(self.login), 201

        @app.delete(REPO)
        def remove() -> Any:
            self.removed += 1
            return "", 204

        @app.post(f"{REPO}/issues")
        def open_issue() -> Any:
            return self.as_issue(self.issues[self.open_issue(self.login, request.get_json()["title"])]), 201


@pytest.mark.integration
def test_the_contract_runs_over_a_forge_that_is_given_by_its_address_and_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    with serving(Renewable(remote(tmp_path, "any", {"any.py": "X = 1\n"}))) as forge:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "FORGE_"))}
        env = {**kept, "FORGE_URL": forge.url, "FORGE_TOKEN_FILE": str(tmp_path / "token")}
        words = ["-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "tests"), "-k", ASKED]
        command = [sys.executable, "-m", "pytest", *words, "tests/contracts/test_forges.py"]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        said = done.stdout + done.stderr
    assert done.returncode == 0, said
    passed, skipped = (int(re.search(rf"(\d+) {word}", said)[1]) for word in ("passed", "skipped"))  # type: ignore[index]
    assert (passed, skipped) == (6, 2), said
    assert "it needs another person, or the inside of a test server (limited)" in said and "t0ken" not in said
    assert forge.made == forge.removed == 8
