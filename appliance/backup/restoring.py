"""Brings a home back: whole, or marked as not whole, and then it does not start.

Each file appears by a rename once its content is proved, so a restore that was cut short goes on where it was.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyrage

from appliance.backup import binding, books
from appliance.backup.binding import RESTORING
from appliance.backup.manifest import Inventory, Manifest, Part
from appliance.backup.sources import Source, whole
from appliance.backup.vault import Vault, in_words, sync
from appliance.backup.verifying import bring_back
from appliance.config import Home
from appliance.errors import Conflict
from appliance.events import Event, Fact
from appliance.ledger import Ledger, open_ledger
from appliance.ports import Progress
from appliance.work import Noun

HALF = ".half"


class Restored(Noun):
    """What came back."""

    name: str
    home: str
    events: int
    files: int
    repositories: int
    lacking: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def restore(vault: Vault, manifest: Manifest, identity: pyrage.x25519.Identity, home: Home, say: Progress) -> Restored:
    """Restore into an empty folder, or go on with the same restore.

    Raises:
        Conflict: the folder is not empty, or another restore was begun there.
        VerificationFailed: a newer program made it, the key does not open it, or something in it is not what it was.
        LimitExceeded, Unavailable: as disks do. What was restored until then stays, marked.
    """
    books.check_known(manifest.revision, manifest.version)
    source = Source(vault, manifest, identity)
    inventory = source.inventory()
    with in_words(home.root):
        _begin(home, manifest)
        for folder in home.folders:
            folder.mkdir(mode=0o700, exist_ok=True)
        _files(source, inventory, home, say)
        _repositories(source, inventory, home, say)
        _ledger(source, inventory, home, say)
        _own(home.root)
        os.sync()
        notes = _finish(home, manifest, inventory)
    return Restored(
        name=manifest.name, home=str(home.root), events=inventory.books.events, files=len(inventory.files),
        repositories=len(inventory.repositories), lacking=inventory.lacking, notes=tuple(notes),
    )  # fmt: skip


def _begin(home: Home, manifest: Manifest) -> None:
    mark = home.root / RESTORING
    home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = sorted(one.name for one in home.root.iterdir() if one.name != "lost+found")
    if mark.exists():
        begun = mark.read_text("utf-8").strip()
        if begun and begun != manifest.name:
            raise Conflict(
                f"{begun} is being restored into {home.root}", f"restore {begun} to the end, or empty the folder first"
            )
    elif there:
        raise Conflict(
            f"{home.root} is not empty ({', '.join(there[:5])}{' …' if len(there) > 5 else ''})",
            "stop the box and move its home away first, or name an empty folder with --into",
        )
    mark.write_text(manifest.name + "\n", encoding="utf-8")


def _files(source: Source, inventory: Inventory, home: Home, say: Progress) -> None:
    of_git = tuple(f"{one.path}/" for one in inventory.repositories)
    for number, file in enumerate(inventory.files, 1):
        if not file.path.startswith(of_git):
            target = _inside(home, file.path)
            if not whole(target, file.content):
                _put(source, file.content, target)
            target.chmod(file.mode)
        say(f"{number} of {len(inventory.files)} files, now {file.path}")


def _repositories(source: Source, inventory: Inventory, home: Home, say: Progress) -> None:
    """Each is made in a folder beside its place, and gets there when it is whole."""
    beside = home.root / HALF
    for repository in inventory.repositories:
        target = _inside(home, repository.path)
        if target.exists():
            continue
        say(f"restoring {repository.path}")
        bring_back(source, inventory, repository, beside).check(repository.refs)
        target.parent.mkdir(parents=True, exist_ok=True)
        (beside / repository.path).rename(target)
    shutil.rmtree(beside, ignore_errors=True)


def _ledger(source: Source, inventory: Inventory, home: Home, say: Progress) -> None:
    if home.ledger.exists():
        return  # it gets its name when it is whole; what came into it since is from here
    say("restoring the ledger")
    half = home.root / f"ledger{HALF}"
    with half.open("wb") as out:
        source.write(inventory.ledger, out)
    books.hold(half, inventory.books)
    half.replace(home.ledger)


def _finish(home: Home, manifest: Manifest, inventory: Inventory) -> list[str]:
    """Migrate, note it in the audit chain, and take the mark away: from here on the home starts."""
    mark = home.root / RESTORING
    ledger = open_ledger(home)
    try:
        done = {"name": manifest.name, "from": inventory.home, "events": inventory.books.events}
        ledger.append(Event(kind=Fact.BACKUP_RESTORED, subject="backup", payload=done))
        moved = _move_media(ledger, Path(inventory.home), home)
    finally:
        ledger.close()
    binding.fits(home)
    mark.unlink()
    sync(home.root)
    return [f"{name}: its address is in the new home now" for name in moved]


def _move_media(ledger: Ledger, before: Path, home: Home) -> list[str]:
    """Repositories that came on media lie in the home, and their addresses name it."""
    old, moved = f"{(before / 'media').as_uri()}/", []
    for tracked in ledger.repositories():
        if before != home.root and tracked.url.startswith(old):
            ledger.change_repository(tracked.name, url=f"{home.media.as_uri()}/{tracked.url.removeprefix(old)}")
            moved.append(tracked.name)
    return moved


def _own(root: Path) -> None:
    """Restored by root into a folder of the box's user: everything in it is that user's."""
    owner = root.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for folder, inner, names in os.walk(root):
            for name in (*inner, *names):
                os.chown(Path(folder, name), owner.st_uid, owner.st_gid, follow_symlinks=False)


def _put(source: Source, part: Part, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = target.with_name(f".{target.name}{HALF}")
    try:
        handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as out:
            source.write(part, out)
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)


def _inside(home: Home, path: str) -> Path:
    """Raises Conflict for a path that would leave the home: an inventory is sealed, but anybody can seal one."""
    target, root = home.root / path, home.root.resolve()
    if path.startswith("/") or ".." in Path(path).parts or not target.parent.resolve().is_relative_to(root):
        raise Conflict(f"the backup names a file outside the home: {path!r}", "do not use it; ask who made it")
    return target
