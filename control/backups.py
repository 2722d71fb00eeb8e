"""Backups for pages and API: what there is, how it stands, and making one now, as a task."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import Field

from appliance.backup.manifest import Manifest
from appliance.backup.vault import Vault
from appliance.config import load
from appliance.errors import FactoryError, Unavailable
from appliance.ledger.backups import Standing, standing, warning
from appliance.settings import BackupSettings
from appliance.work import Noun, utcnow
from control.desk import Desk
from control.tasks import Task

COMMAND = ("backup", "create")


class Backup(Noun):
    """One backup, as its manifest tells without a key."""

    name: str
    created: datetime
    version: str
    events: int
    content_bytes: int = Field(description="of everything it holds, unsealed")
    written_bytes: int = Field(description="of the parts that were new with it")
    stored_bytes: int = Field(description="of all its parts, those shared with others included")
    seconds: float
    recipients: tuple[str, ...]
    lacking: int = Field(description="repositories that could not be read when it was made")

    @classmethod
    def of(cls, one: Manifest) -> Backup:
        """What people are shown of a manifest."""
        return cls(stored_bytes=one.size, **one.model_dump(include=set(cls.model_fields) - {"stored_bytes"}))


class Backups(Noun):
    """All of it."""

    folder: str
    recipients: tuple[str, ...]
    every_hours: float
    keep: int
    standing: Standing
    warning: str = Field("", description="what people should know; empty when all is well")
    fix: str = ""
    problem: str = Field("", description="why the folder cannot be read")
    broken: tuple[str, ...] = Field((), description="manifests that cannot be read, and why")
    backups: tuple[Backup, ...] = ()


def settings_of(desk: Desk) -> BackupSettings:
    """As the file has them now: the next backup goes by them. As this process read them where the file is broken."""
    try:
        return load(desk.home.settings_file).backup
    except FactoryError:
        return desk.settings.backup


def read(desk: Desk) -> Backups:
    """How backups stand. A folder that is away is said, and the ledger still tells when the last one was made."""
    settings, seen = settings_of(desk), standing(desk.ledger)
    folder = Path(settings.folder) if settings.folder else desk.home.backups
    found, fix = warning(utcnow(), settings, seen)
    problem, manifests, broken = "", [], []
    try:
        vault = Vault(folder.absolute())
        if seen.made and not folder.is_dir():
            raise Unavailable(f"there is no folder {folder}", "is its disk mounted?")
        manifests, broken = vault.manifests(), vault.problems()
    except FactoryError as error:
        problem = f"{error.message}: {error.hint}"
    return Backups(
        folder=str(folder), recipients=tuple(settings.recipients), every_hours=settings.every_hours, keep=settings.keep,
        standing=seen, warning=found, fix=fix, problem=problem, broken=tuple(broken),
        backups=tuple(Backup.of(one) for one in manifests),
    )  # fmt: skip


def concern(desk: Desk) -> tuple[str, str]:
    """What the floor warns of: backups that were wanted and are not there. Without a recipient the doctor does."""
    settings, seen = settings_of(desk), standing(desk.ledger)
    return warning(utcnow(), settings, seen) if settings.recipients or seen.made else ("", "")


def make(desk: Desk, by: str) -> Task:
    """Back up now, as a task. Raises LimitExceeded when too many wait."""
    return desk.tasks.begin("Back up the box", COMMAND, by)
