"""Media to install from: commits made in a clone of this checkout, built and signed by the project's own build.

The clone borrows the checkout's environment: its stamps say that everything is there, so nothing is installed anew.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from installer.checkout import Checkout
from installer.setup import digest

HEAD = re.compile(r'^revision\b.*?"([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Medium:
    """A signed medium below the folder of all media, by its name there."""

    name: str
    release: str
    version: str
    seconds: float
    bytes: int

    @property
    def inside(self) -> str:
        """Where a machine sees it."""
        return f"/media/{self.name}"


class Press:
    """Makes media: `make` commits what `change` did to the clone and builds it."""

    def __init__(self, checkout: Checkout, folder: Path) -> None:
        self.clone, self.keys, self.media = folder / "clone", folder / "keys", folder / "media"
        self.cache, self.made = checkout.cache, 0
        self.known: dict[str, Medium] = {}
        self.media.mkdir(parents=True)
        _git(folder, "clone", "--quiet", "--local", str(checkout.root), str(self.clone))
        self._borrow(checkout)
        said = self._installer("keys", "--keys", str(self.keys))
        self.fingerprint = said.stdout.split()[-1]

    def _borrow(self, checkout: Checkout) -> None:
        venv, assets = self.clone / ".venv", Path("control") / "static" / "vendor"
        venv.mkdir()
        for name in ("bin", "lib", "pyvenv.cfg"):
            (venv / name).symlink_to(checkout.venv / name)
        stamps = json.loads((checkout.venv / "appliance-setup.json").read_text("utf-8"))
        own = f"{digest(self.clone / 'pyproject.toml')}:{self.clone}"
        locks = {name: digest(Checkout(self.clone, self.cache).lock(name)) for name in ("runtime", "models", "llama")}
        (venv / "appliance-setup.json").write_text(json.dumps(stamps | locks | {"appliance": own}), "utf-8")
        if (checkout.root / assets).is_dir() and not (self.clone / assets).exists():
            (self.clone / assets).symlink_to(checkout.root / assets)

    def version(self, version: str) -> None:
        """Say another version in the clone."""
        file = self.clone / "appliance" / "__init__.py"
        text = re.sub(r"(?m)^__version__ = .*$", f'__version__ = "{version}"', file.read_text("utf-8"))
        file.write_text(text, "utf-8")

    def migration(self) -> str:
        """Add a revision of the ledger's tables to the clone; its name."""
        folder = self.clone / "appliance" / "ledger" / "migrations" / "versions"
        newest = max(folder.glob("step_*.py"))
        head = HEAD.search(newest.read_text("utf-8"))
        assert head is not None
        number = int(re.sub(r"\D", "", newest.stem)) + 1
        name = re.sub(r"\d+$", lambda found: f"{int(found[0]) + 1:0{len(found[0])}d}", head[1])
        (folder / f"step_{number:04d}.py").write_text(
            f'"""A table more, for tests."""\n\nimport sqlalchemy as sa\nfrom alembic import op\n\n'
            f'revision = "{name}"\ndown_revision = "{head[1]}"\nbranch_labels = depends_on = None\n\n\n'
            f'def upgrade() -> None:\n    op.create_table("later", sa.Column("id", sa.Integer, primary_key=True))\n\n\n'
            f'def downgrade() -> None:\n    op.drop_table("later")\n',
            "utf-8",
        )
        return name

    @contextmanager
    def broken(self, file: str, text: str) -> Iterator[None]:
        """Add lines to a file of the clone for what is made inside."""
        place = self.clone / file
        whole = place.read_text("utf-8")
        place.write_text(whole + text, "utf-8")
        try:
            yield
        finally:
            place.write_text(whole, "utf-8")

    def medium(self, version: str) -> Medium:
        """The medium of that version, made from the clone as it is when none was made yet."""
        return self.known.get(version) or self.make(version)

    def make(self, version: str) -> Medium:
        """Commit the clone as it is under that version, and build its medium. Later ones are newer."""
        self.version(version)
        self.made += 1
        when = f"{int(time.time()) + self.made} +0000"
        who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
               for what, value in (("NAME", "Test"), ("EMAIL", "test@localhost"), ("DATE", when))}  # fmt: skip
        _git(self.clone, "add", "--update", "appliance", "control", "inference", env=who)
        _git(self.clone, "add", "appliance/ledger/migrations/versions", env=who)
        _git(self.clone, "commit", "--quiet", "--allow-empty", "-m", version, env=who)
        started = time.monotonic()
        self._installer("bundle", "--keys", str(self.keys), "--out", str(self.media))
        name = next(one.name for one in self.media.iterdir() if one.name.startswith(f"appliance-{version}-"))
        listed = json.loads((self.media / name / "metadata" / "targets.json").read_text("utf-8"))["signed"]
        size = sum(entry["length"] for entry in listed["targets"].values())
        release = f"{listed['appliance']['version']}-{listed['version']}"
        self.known[version] = Medium(name, release, version, time.monotonic() - started, size)
        return self.known[version]

    def _installer(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"APPLIANCE_CACHE": str(self.cache)}
        python = Checkout(self.clone, self.cache).python
        said = subprocess.run(
            [str(python) if python.exists() else sys.executable, "-m", "installer", *words],
            cwd=self.clone, env=env, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        assert said.returncode == 0, said.stdout + said.stderr
        return said


def _git(folder: Path, *words: str, env: dict[str, str] | None = None) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, env=os.environ | (env or {}), capture_output=True)
