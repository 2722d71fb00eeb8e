"""What a replay of one repository stands on: its mirror, the sandbox, the models, and room for disposable trees."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from appliance.computers.sandbox import BoxedSandbox
from appliance.config import Home
from appliance.line.parts import fresh_folder
from appliance.line.strategies import suite_in
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
        return suite_in(self.sandbox, self.tracked, self.settings, self.progress)(tree, only)

    def suite_of(self, commit: str, tree: Path) -> TestReport:
        """The same for the tree of a commit."""
        if commit not in self.sound:
            self.sound[commit] = self.suite(tree)
        return self.sound[commit]

    def place(self, name: str) -> AbstractContextManager[Path]:
        """See fresh_folder."""
        return fresh_folder(self.folder, name)

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
