"""What a mirror knows of itself: a small file in its own folder, lost with it and missed by nobody."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path
from typing import Self

from pydantic import Field

from appliance.work import Noun, utcnow

FILE, TOLD = "appliance.json", "appliance.told"
KEPT = 10
"""Newest entries of the diary that are kept."""


class Record(Noun):
    """`diary` is what happened to the mirror, each line with its day; the rest is looked up only now and then."""

    default: str = Field("", description="the server's own default branch, as it was last asked")
    checked: datetime = Field(default_factory=utcnow, description="when every object was last looked at")
    depth: int = Field(0, description="commits of each branch that it was made with; 0: all there were")
    diary: tuple[str, ...] = ()
    looked: str = Field("", description="the commit that was looked into, and how")
    lacking: int = Field(0, description="its files of Git LFS that are wanted and not here")
    lasting: tuple[str, ...] = Field((), description="what holds for the branch's commit: submodules, LFS pointers")

    @classmethod
    def of(cls, bare: Path) -> Self:
        """The record of a mirror; an empty one where there is none that can be read."""
        try:
            return cls.model_validate_json((bare / FILE).read_bytes())
        except (OSError, ValueError):
            return cls()

    def notes(self) -> tuple[str, ...]:
        """All of it that people should know: what holds now, then what happened, the newest first."""
        return (*self.lasting, *reversed(self.diary))

    def noting(self, what: str) -> Self:
        """With one more entry of today."""
        return self.with_(diary=(*self.diary, f"{utcnow():%Y-%m-%d %H:%M} {what}")[-KEPT:])

    def keep(self, bare: Path) -> None:
        """Write it, for readers whole or not at all. A mirror that is gone meanwhile has none."""
        draft = bare / f"{FILE}.new"
        with contextlib.suppress(FileNotFoundError):
            draft.write_text(self.model_dump_json(), encoding="utf-8")
            draft.replace(bare / FILE)


def tell(bare: Path, commit: str, what: str) -> None:
    """Leave a line about a commit for the diary, without the mirror's lock, which a fetch may hold for long: the next
    fetch takes it up."""
    with contextlib.suppress(OSError), (bare / TOLD).open("a", encoding="utf-8") as lines:
        lines.write(f"{commit} {what}\n")


def take_up(bare: Path) -> None:
    """Write what was told since into the diary, each once; what is about the branch's newest commit is in `lasting`
    already. Needs the mirror's lock."""
    try:
        lines = (bare / TOLD).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    record = Record.of(bare)
    for commit, _, what in (line.partition(" ") for line in dict.fromkeys(lines)):
        if commit != record.looked.partition(" ")[0] and not any(what in entry for entry in record.diary):
            record = record.noting(what)
    record.keep(bare)
    (bare / TOLD).unlink()
