"""Gitolite 3 behind a real sshd: each key is a person, and rules say what that person may do."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mirror.ssh_server import SshServer, ssh_serving

GITOLITE = shutil.which("gitolite")


class Gitolite:
    """`home` is that of its user."""

    def __init__(self, home: Path, sshd: SshServer) -> None:
        self.home, self.sshd = home, sshd

    @property
    def bare(self) -> Path:
        """Its repository `shop`."""
        return self.home / "repositories" / "shop.git"

    def url(self, name: str) -> str:
        return self.sshd.url(Path(f"/{name}"))

    def let_in(self, people: dict[str, str], rules: str = "repo shop\n    RW+ = admin\n") -> None:
        """Let these people in, by their public keys, and nobody else but the administrator; with these rules."""
        inside = self.home / ".gitolite"
        for file in (inside / "keydir").glob("*.pub"):
            if file.stem != "admin":
                file.unlink()
        for name, line in people.items():
            (inside / "keydir" / f"{name}.pub").write_text(f"{line}\n")
        (inside / "conf" / "gitolite.conf").write_text(f"repo gitolite-admin\n    RW+ = admin\n{rules}")
        self.run("setup")

    def run(self, *words: str) -> None:
        env = {"HOME": str(self.home), "PATH": os.environ["PATH"], "USER": "git", "LOGNAME": "git"}
        subprocess.run([str(GITOLITE), *words], env=env, cwd=self.home, check=True, capture_output=True)


@contextmanager
def gitolite_serving(folder: Path) -> Iterator[Gitolite]:
    """A running server; the test is skipped where its programs are missing."""
    if GITOLITE is None:
        pytest.skip("no gitolite here (apt-get install gitolite3)")
    home = folder / "git"
    (home / ".ssh").mkdir(parents=True)
    with ssh_serving(folder / "sshd", home) as sshd:
        made = Gitolite(home, sshd)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "admin", "-f", str(folder / "admin")], check=True
        )
        made.run("setup", "-pk", str(folder / "admin.pub"))
        made.let_in({})
        yield made
