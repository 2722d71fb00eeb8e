"""A home with something of everything, and a key for its backups."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyrage

from appliance.backup.creating import Made, create, scratch_in
from appliance.backup.restoring import Restored, restore
from appliance.backup.sealing import new_identity
from appliance.backup.vault import Vault
from appliance.backup.verifying import Verified, verify
from appliance.cli.init import make_home
from appliance.config import Home
from appliance.events import Event, Fact
from appliance.ledger import open_ledger
from appliance.ledger.audit import write_anchor
from appliance.settings import Settings
from appliance.work import Signal, TrackedRepository

SILENT: Callable[[str], None] = lambda line: None  # noqa: E731
GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"],
       "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.test", "GIT_COMMITTER_NAME": "a",
       "GIT_COMMITTER_EMAIL": "a@example.test"}  # fmt: skip
CANARY = "canary-6f1d2b"


class World:
    """One box with its backup folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = Home(root / "home")
        make_home(self.home)
        private, public = new_identity()
        self.identity = pyrage.x25519.Identity.from_str(private)
        self.private, self.public = private, public
        self.vault = Vault(root / "backups")
        given = {"folder": str(self.vault.folder), "recipients": [public]}
        self.settings = Settings.model_validate({"backup": given})
        (self.home.secrets / "forge-shop.token").write_text(CANARY)
        _file(self.home.evidence / "W-1" / "trajectory.json", b"steps " * 400)
        _file(self.home.spool / "calls-20261126.jsonl", b'{"model": "coder"}\n' * 100)
        _file(self.home.models / "coder-7b" / "model.gguf", os.urandom(3 << 20))
        _file(self.home.logs / "line.log", b"left out\n")
        _file(self.home.root / "something-new" / "kept.txt", b"nobody thought of it\n")
        ledger = open_ledger(self.home)
        ledger.add_repository(TrackedRepository(name="shop", url="file:///srv/shop.git", branch="main"))
        for n in range(20):
            ledger.receive(Signal(id="", repo="shop", title=f"report {n}", source="cli"))
        write_anchor(self.home.secrets / "ledger.anchor", *ledger.tip(), (self.home.secrets / "audit.key").read_bytes())
        ledger.close()
        self.source = root / "source"
        git(root, "init", "-q", "-b", "main", str(self.source))
        self.commit("one")
        self.mirror = self.home.mirrors / "shop.git"
        git(root, "clone", "-q", "--bare", str(self.source), str(self.mirror))

    def commit(self, name: str) -> str:
        """Its id."""
        (self.source / f"{name}.py").write_text(name * 50)
        git(self.source, "add", ".")
        git(self.source, "commit", "-q", "-m", name)
        return git(self.source, "rev-parse", "HEAD")

    def fetch(self) -> None:
        git(self.mirror, "fetch", "-q", str(self.source), "+refs/heads/*:refs/heads/*")

    def note(self) -> None:
        """Let the ledger grow."""
        ledger = open_ledger(self.home)
        ledger.append(Event(kind=Fact.BOX_STARTED, subject="box"))
        ledger.close()

    def create(self, **changes: object) -> Made:
        return create(self.home, self.with_(**changes), SILENT)

    def with_(self, **changes: object) -> Settings:
        given = {**self.settings.backup.model_dump(), **changes}
        return Settings.model_validate({"backup": given})

    def restore(self, name: str = "", into: str = "back") -> Restored:
        target = Home(self.root / into)
        return restore(self.vault, self.vault.get(name), self.identity, target, SILENT)

    def verify(self, name: str = "", key: bool = True) -> Verified:
        with scratch_in(self.home) as folder:
            return verify(self.vault, self.vault.get(name), self.identity if key else None, folder, SILENT)

    def parts(self) -> list[Path]:
        return sorted((self.vault.folder / "parts").glob("*/*.age"))


def _file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, env=GIT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextmanager
def unreadable(file: Path) -> Iterator[None]:
    """A file with its first byte turned over."""
    content = file.read_bytes()
    file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    yield
    file.write_bytes(content)
