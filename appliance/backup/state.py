"""What the box remembers of its last backup so that the next one is quick. Lost, everything is read and packed anew."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from appliance.backup.repositories import Known
from appliance.private import replace_private
from appliance.work import Noun

LARGE = 1 << 20
"""Bytes. Hashes of smaller files are not kept: they are quick to make, and a short secret's hash could be tried out."""


class Seen(Noun):
    """A large file as it was when it was hashed."""

    size: int
    changed_ns: int
    inode: int
    sha256: str


class State(Noun):
    """Of one backup folder and its recipients."""

    folder: str = ""
    recipients: tuple[str, ...] = ()
    files: dict[str, Seen] = Field(default_factory=dict)
    repositories: dict[str, Known] = Field(default_factory=dict)


def load(file: Path, folder: Path, recipients: tuple[str, ...]) -> State:
    """What is remembered of this folder; nothing when it is of another, or cannot be read."""
    try:
        read = State.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        read = State()
    if (read.folder, read.recipients) != (str(folder), recipients):
        return State(folder=str(folder), recipients=recipients)
    return read


def save(file: Path, state: State) -> None:
    """Keep it, for this user alone."""
    replace_private(file, state.model_dump_json().encode())
