"""What a replay of one repository stands on: its mirror, the sandbox, the models, and room for disposable trees."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from appliance.computers.sandbox import BoxedSandbox
from appliance.computers.suite import run_suite
from appliance.config import Home
from appliance.line.strategies import limits_of
from appliance.ports import Model, Progress, Repository
from appliance.settings import Settings
from appliance.work import TestReport, TrackedRepository


@dataclass(frozen=True)
class Ground:
    """One repository to replay in."""

    home: Home
    settings: Settings
    tracked: TrackedRepository
    repository: Repository
    sandbox: BoxedSandbox
    model: Model
    embedder: Model
    """The same models, asked without patience: likeness only orders what is tried."""
    folder: Path
    """Where its trees lie. Not the line's folder, which the line empties when it starts."""
    progress: Progress
    sound: dict[str, TestReport] = field(default_factory=dict)
    """What the tests of a commit show as it is; each is run once."""

    def suite(self, tree: Path, only: Sequence[str] = ()) -> TestReport:
        """Run the repository's tests in the sandbox."""
        return run_suite(
            self.sandbox, tree, self.tracked.test, limits_of(self.settings), self.sandbox.python, only, self.progress,
            plugins=self.settings.computers.pytest_plugins,
        )  # fmt: skip

    def suite_of(self, commit: str, tree: Path) -> TestReport:
        """The same for the tree of a commit."""
        if commit not in self.sound:
            self.sound[commit] = self.suite(tree)
        return self.sound[commit]

    @contextmanager
    def place(self, name: str) -> Iterator[Path]:
        """A path that does not exist yet, in a fresh folder that is gone afterwards."""
        self.folder.mkdir(parents=True, exist_ok=True)
        outer = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        try:
            yield outer / "tree"
        finally:
            shutil.rmtree(outer, ignore_errors=True)

    def lay(self, base: str, diff: str, into: Path) -> Path:
        """The tree of a commit with a diff applied, in the new folder `into`.

        Raises:
            NotFound: the mirror does not hold the commit.
            VerificationFailed: the diff does not fit.
        """
        if not diff:
            return self.repository.checkout(base, into)
        workspace = self.repository.workspace(base)
        try:
            workspace.apply(diff)
            shutil.copytree(workspace.tree, into, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        finally:
            workspace.close()
        return into
