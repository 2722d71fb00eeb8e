"""What the steps of a change work with, and what a finished folder looks like."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from installer.errors import Refused
from installer.target.journal import Change
from installer.target.naming import Naming
from installer.target.places import Places
from installer.target.site import Site
from installer.terminal import Terminal
from installer.trust.manifest import Manifest

WHOLE = "whole"
"""The file a release or snapshot gets last: a folder without it was interrupted."""


@dataclass(frozen=True)
class Work:
    """What the steps work with; `medium`, `manifest` and `lock` are None where a run only takes back;
    `site` None is what was decided before.

    `lock` is the open file that holds the installation: what unpacks keeps it, so that a run after a kill waits for it.
    """

    places: Places
    change: Change
    terminal: Terminal
    medium: Path | None = None
    manifest: Manifest | None = None
    lock: int | None = None
    site: Site | None = None
    naming: Naming | None = None

    @property
    def release(self) -> Path:
        """The release that comes."""
        return self.places.release(self.change.release)

    @property
    def old(self) -> Path:
        """The release that was there."""
        return self.places.release(self.change.previous)

    @property
    def snapshot(self) -> Path:
        """What the home held before the release came; of a way back, before the release that goes."""
        return self.places.snapshots / (self.change.previous if self.change.back else self.change.release)

    @property
    def held(self) -> tuple[int, ...]:
        """The open files that what is started keeps."""
        return () if self.lock is None else (self.lock,)

    def carried(self) -> tuple[Path, Manifest]:
        """The medium and its manifest. Raises Refused where this run has none."""
        if self.medium is None or self.manifest is None:
            raise Refused("this step needs the medium", "run install.sh from the medium again")
        return self.medium, self.manifest


def whole(folder: Path) -> bool:
    """Whether a release or snapshot was finished."""
    return (folder / WHOLE).is_file()


def remove(folder: Path) -> None:
    """Remove a folder with all in it; one that is not there is no error."""
    shutil.rmtree(folder, ignore_errors=True)
