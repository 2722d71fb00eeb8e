"""A real forge beside the test servers: one new private project for each test, made and deleted with the box's token.

What a test needs of the inside of a test server, or of other people, skips it by name.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

import pytest

from appliance.errors import UsageError
from appliance.mirror.forges import ADAPTERS
from appliance.mirror.forges.client import Client

KINDS = {
    "gitea": ("/user/repos", "full_name", "/repos", "pulls", "number", "body"),
    "forgejo": ("/user/repos", "full_name", "/repos", "pulls", "number", "body"),
    "github": ("/user/repos", "full_name", "/repos", "pulls", "number", "body"),
    "gitlab": ("/projects", "path_with_namespace", "/projects", "merge_requests", "iid", "description"),
}
"""Where a project is made, what its path is called, where projects are, and what requests, numbers and texts are."""


class RealForge:
    """The part of a test server that a token alone can do."""

    offers = ()
    scopes = frozenset[str]()

    def __init__(self, kind: str, url: str, token: str, bare: Path) -> None:
        if kind not in KINDS:
            raise UsageError(f"there is no forge {kind!r}", f"FORGE_KIND is one of {', '.join(KINDS)}")
        self.kind, self.url, self.token = kind, url.rstrip("/"), token
        adapter = ADAPTERS[kind]
        no_ca = Path(os.environ.get("FORGE_CA", "/nonexistent"))
        self._api = Client(adapter.base_of(self.url), adapter.headers_of(token), no_ca, 30)
        make, called, projects, self._changes, self._number, self._body = KINDS[kind]
        name = f"factory-test-{uuid.uuid4().hex[:12]}"
        visible = {"visibility": "private"} if kind == "gitlab" else {"private": True}
        made = self._api.call("POST", make, {"name": name, **visible, "default_branch": "main"})
        self.path = str(made[called])
        self._place = f"{projects}/{quote(self.path, safe='' if kind == 'gitlab' else '/')}"
        self._run("push", "-q", self.git_url(), "main:main", folder=bare)

    def remove(self) -> None:
        self._api.call("DELETE", self._place)

    def git_url(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://git:{self.token}@{parts.netloc}{parts.path}/{self.path}.git"

    # -- what tests look at -------------------------------------------------------------------------------------------

    @property
    def changes(self) -> dict[int, Any]:
        return self._threads(self._changes)

    @property
    def issues(self) -> dict[int, Any]:
        return self._threads("issues")

    @property
    def comments(self) -> list[Any]:
        of_changes = self._changes if self.kind == "gitlab" else "issues"
        places = [*(f"issues/{number}" for number in self.issues), *(f"{of_changes}/{one}" for one in self.changes)]
        what = "notes" if self.kind == "gitlab" else "comments"
        rows = [row for place in places for row in self._api.pages(f"{self._place}/{place}/{what}")]
        return [SimpleNamespace(text=row["body"]) for row in rows if not row.get("system")]

    def head(self, branch: str) -> str:
        return self._run("ls-remote", self.git_url(), f"refs/heads/{branch}").partition("\t")[0]

    def git(self, *words: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            self._run("clone", "-q", "--bare", self.git_url(), folder)
            return self._run(*words, folder=Path(folder))

    # -- what somebody does -------------------------------------------------------------------------------------------

    def open_issue(self, by: str, title: str, labels: tuple[str, ...] = (), body: str = "") -> int:
        made = self._api.call("POST", f"{self._place}/issues", {"title": title, self._body: body})
        return int(made[self._number])

    def edit(self, by: str, kind: str, number: int, *, open: bool) -> None:
        place = f"{self._place}/{self._changes if kind == 'change' else 'issues'}/{number}"
        if self.kind == "gitlab":
            self._api.call("PUT", place, {"state_event": "reopen" if open else "close"})
        else:
            self._api.call("PATCH", place, {"state": "open" if open else "closed"})

    def commit(self, by: str, branch: str, message: str, files: dict[str, str] | None = None) -> str:
        with tempfile.TemporaryDirectory() as folder:
            self._run("clone", "-q", self.git_url(), folder)
            tree = Path(folder)
            self._run("checkout", "-q", "-B", branch, f"origin/{branch if self.head(branch) else 'main'}", folder=tree)
            for name, content in (files or {}).items():
                (tree / name).write_text(content)
            self._run("add", "-A", folder=tree)
            self._run("commit", "-q", "--allow-empty", "-m", message, folder=tree)
            self._run("push", "-q", "origin", branch, folder=tree)
            return self._run("rev-parse", "HEAD", folder=tree)

    # -- the rest -----------------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> NoReturn:
        pytest.skip(f"it needs another person, or the inside of a test server ({name}), which a real forge has not")

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("limited", "calls", "tokens", "people", "styles", "spoiled", "version"):
            self.__getattr__(name)
        super().__setattr__(name, value)

    def _threads(self, what: str) -> dict[int, Any]:
        rows = self._api.pages(f"{self._place}/{what}", state="all")
        return {
            row[self._number]: SimpleNamespace(
                title=row["title"], body=row[self._body] or "", open=row["state"] in ("open", "opened")
            )
            for row in rows
            if what != "issues" or not row.get("pull_request")
        }

    def _run(self, *words: str, folder: Path = Path("/")) -> str:
        identity = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost")
        env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_TERMINAL_PROMPT": "0"}
        env |= {"GIT_SSL_CAINFO": os.environ["FORGE_CA"]} if "FORGE_CA" in os.environ else {}
        done = subprocess.run(["git", *identity, *words], cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr.replace(self.token, "***")
        return done.stdout.strip()


def token_of_environment() -> str:
    """From FORGE_TOKEN_FILE, or FORGE_TOKEN."""
    file = os.environ.get("FORGE_TOKEN_FILE")
    return Path(file).read_text().strip() if file else os.environ.get("FORGE_TOKEN", "")


@contextmanager
def real_forge(bare: Path) -> Iterator[RealForge]:
    """A new project on the forge that the environment names, with the branch main of a bare repository."""
    made = RealForge(os.environ.get("FORGE_KIND") or "gitea", os.environ["FORGE_URL"], token_of_environment(), bare)
    try:
        yield made
    finally:
        made.remove()
