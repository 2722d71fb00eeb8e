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

    `kept` says that the home holds data of before; `mend` that the release runs already and nothing may be taken away;
    `back` that the release was there before, and that one which came after it goes.
    """

    release: str
    previous: str
    started: float
    kept: bool = False
    mend: bool = False
    back: bool = False
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


def carry_out(
    change: Change, steps: Sequence[Step], journal: Journal, terminal: Terminal,
    finish: Callable[[Change], None] = lambda _: None,
) -> Change:  # fmt: skip
    """Do what is not done; when a step fails, take back what was begun. `finish` keeps what holds only of a change
    that is whole, before the journal says that it is: killed between the two, the next run does it again.

    Raises:
        InstallError: the step's, after everything was taken back.
    """
    change = journal.keep(change)
    for step in steps:
        try:
            if step.done():
                terminal.done(step.name, "there already")
                continue
            begun = (*(one for one in change.begun if one != step.name), step.name)
            change = journal.keep(replace(change, begun=begun))
            started = time.monotonic()
            step.apply()
        except (InstallError, OSError) as error:
            failed = _of_system(error) if isinstance(error, OSError) else error
            terminal.done(step.name, f"failed: {failed.message.splitlines()[0]}")
            take_back(change, steps, journal, terminal)
            raise failed from error
        took = time.monotonic() - started
        change = replace(change, seconds={**change.seconds, step.name: round(took, 2)})
        terminal.done(step.name, elapsed(took))
    finish(change)
    return journal.keep(replace(change, phase="done"))


def take_back(change: Change, steps: Sequence[Step], journal: Journal, terminal: Terminal) -> Change:
    """Undo every step that was begun, the last one first. A kill in between: the next run does it again.

    A full disk keeps nobody from going back: what the journal then does not tell, the next run finds out.
    """
    change = _kept(journal, replace(change, phase="undoing"), terminal)
    for step in reversed([step for step in steps if step.name in change.begun]):
        step.undo()
        terminal.done(step.name, "taken back")
    return _kept(journal, replace(change, phase="undone"), terminal)


def _kept(journal: Journal, change: Change, terminal: Terminal) -> Change:
    try:
        return journal.keep(change)
    except InstallError as error:
        terminal.say(f"warning: {error.message}; going back all the same")
        return change


def _of_system(error: OSError) -> InstallError:
    what = f"{error.strerror or error}: {error.filename}" if error.filename else str(error.strerror or error)
    return InstallError(what, "mend that, then run the same command again: it goes on or goes back")
