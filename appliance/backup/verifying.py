"""Proves that a backup can be restored: every part's hash, and with the private key a test-restore beside the box."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyrage
from pydantic import Field

from appliance.backup import books
from appliance.backup.manifest import Inventory, Manifest, Part, Repository
from appliance.backup.repositories import Bare
from appliance.backup.sealing import Nowhere
from appliance.backup.sources import Source
from appliance.backup.vault import Vault
from appliance.errors import VerificationFailed
from appliance.ports import Progress
from appliance.work import Noun, Result


class Verified(Noun):
    """What was proved."""

    name: str
    parts: int
    stored: Result
    """Every part is there, byte for byte as it was written."""
    content: Result
    """It opens, and what is in it was restored in a scratch folder: INCONCLUSIVE without the private key."""
    why: str
    events: int = 0
    files: int = 0
    repositories: int = 0
    lacking: tuple[str, ...] = Field((), description="repositories that could not be read when it was made")


def verify(
    vault: Vault, manifest: Manifest, identity: pyrage.x25519.Identity | None, scratch: Path, say: Progress
) -> Verified:
    """Look at everything once. `scratch` is an empty folder with room for ledger and repositories, unsealed.

    Raises:
        VerificationFailed: something is missing, damaged, or not what was backed up; it is named.
        LimitExceeded, Unavailable: as disks do.
    """
    source = Source(vault, manifest, identity)
    if identity is None:
        for number, stored in enumerate(source.stored(), 1):
            source.look(stored)
            say(f"{number} of {len(manifest.parts)} parts")
        return Verified(
            name=manifest.name, parts=len(manifest.parts), stored=Result.PASS, content=Result.INCONCLUSIVE,
            why="every part is as it was written; whether they open and can be restored takes the private key",
        )  # fmt: skip
    inventory = source.inventory()
    _restore_beside(source, inventory, scratch, say)
    named = {part.name for part in parts_of(inventory)}
    for stored in source.stored():
        if stored.name not in named:
            source.look(stored)
    lacking = bool(inventory.lacking)
    return Verified(
        name=manifest.name, parts=len(manifest.parts), stored=Result.PASS,
        content=Result.INCONCLUSIVE if lacking else Result.PASS,
        why="some repositories could not be read when it was made" if lacking
        else "opened, and restored in a scratch folder: rows, audit chain, files and repositories as backed up",
        events=inventory.books.events, files=len(inventory.files), repositories=len(inventory.repositories),
        lacking=inventory.lacking,
    )  # fmt: skip


def parts_of(inventory: Inventory) -> list[Part]:
    """Every part that an inventory names."""
    packs = [pack for one in inventory.repositories for pack in one.packs]
    return [inventory.ledger, *(one.content for one in inventory.files), *packs]


def _restore_beside(source: Source, inventory: Inventory, folder: Path, say: Progress) -> None:
    say("restoring the ledger beside the box")
    copy = folder / "ledger.db"
    with copy.open("wb") as out:
        source.write(inventory.ledger, out)
    books.hold(copy, inventory.books)
    copy.unlink()
    of_git = {one.path: one for one in inventory.repositories}
    for number, file in enumerate(inventory.files, 1):
        within = next((path for path in of_git if file.path.startswith(f"{path}/")), None)
        if within is None:
            source.write(file.content, Nowhere())
        say(f"{number} of {len(inventory.files)} files")
    for repository in inventory.repositories:
        say(f"restoring {repository.path} beside the box")
        bare = bring_back(source, inventory, repository, folder)
        bare.check(repository.refs)


def bring_back(source: Source, inventory: Inventory, repository: Repository, root: Path) -> Bare:
    """Make a bare repository below `root` as it was, its own files included. Raises as `Source.write` and git do."""
    if repository.path.startswith("/") or ".." in Path(repository.path).parts:
        raise VerificationFailed(f"the backup names a folder outside the home: {repository.path!r}", "do not use it")
    bare = Bare(root / repository.path, root / "secrets")
    bare.begin()
    for pack in repository.packs:
        bare.take(_writer(source, pack))
    for file in inventory.files:
        if file.path.startswith(f"{repository.path}/"):
            target = root / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                source.write(file.content, out)
            target.chmod(file.mode)
    bare.set_refs(repository.refs)
    return bare


def _writer(source: Source, part: Part) -> Callable[..., None]:
    return lambda to: source.write(part, to)
