"""Steps that can be done, found done, and undone; and the journal that lets a killed run go on or go back.

A step's name is in the journal before the step begins, so whatever a kill left half done is known. A run that finds an
unfinished journal of the same change goes on; one that was going back goes on going back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from installer.errors import InstallError
from installer.target.places import read, write
from installer.terminal import Terminal, elapsed

Phase = Literal["doing", "undoing", "done", "undone"]


@dataclass(frozen=True)
class Step:
    """`done` finds out whether there is nothing to do; `undo` takes back what `apply` did, whole or half."""

    name: str
    done: Callable[[], bool]
    apply: Callable[[], None]
    undo: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Change:
    """What is going on: which release comes, which was there (or nothing), how far it is.

    `kept` says that the home holds data of before; `mend` that the release runs already and nothing may be taken away.
    """

    release: str
    previous: str
    started: float
    kept: bool = False
    mend: bool = False
    phase: Phase = "doing"
    begun: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


class Journal:
    """One file; every change of it is durable before the next step begins."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def unfinished(self) -> Change | None:
        """The change that was cut short, or None. Raises InstallError when the journal is damaged."""
        found = read(self.file)
        if found is None:
            return None
        try:
            change = Change(**{**found, "begun": tuple(found["begun"])})
        except (KeyError, TypeError) as error:
            raise InstallError(f"{self.file} is damaged", "restore it from a backup") from error
        return change if change.phase in {"doing", "undoing"} else None

    def keep(self, change: Change) -> Change:
        """Record how far a change is."""
        write(self.file, asdict(change))
        return change


def carry_out(change: Change, steps: Sequence[Step], journal: Journal, terminal: Terminal) -> Change:
    """Do what is not done; when a step fails, take back what was begun.

    Raises:
        InstallError: the step's, after everything was taken back.
    """
    change = journal.keep(change)
    for step in steps:
        if step.done():
            terminal.done(step.name, "there already")
            continue
        change = journal.keep(replace(change, begun=(*(one for one in change.begun if one != step.name), step.name)))
        started = time.monotonic()
        try:
            step.apply()
        except InstallError as error:
            terminal.done(step.name, f"failed: {error.message.splitlines()[0]}")
            take_back(change, steps, journal, terminal)
            raise
        took = time.monotonic() - started
        change = replace(change, seconds={**change.seconds, step.name: round(took, 2)})
        terminal.done(step.name, elapsed(took))
    return journal.keep(replace(change, phase="done"))


def take_back(change: Change, steps: Sequence[Step], journal: Journal, terminal: Terminal) -> Change:
    """Undo every step that was begun, the last one first. A kill in between: the next run does it again."""
    change = journal.keep(replace(change, phase="undoing"))
    for step in reversed([step for step in steps if step.name in change.begun]):
        step.undo()
        terminal.done(step.name, "taken back")
    return journal.keep(replace(change, phase="undone"))
