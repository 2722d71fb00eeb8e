"""Mails and files that people put into folders: each is kept in the ledger first and moved out of the way then.

A file is claimed by a rename into `.taken/`, so that one of the same name that comes meanwhile is another file; then it
is read, kept, and moved to `done/` or, with a `.why` beside it, to `failed/`. A process killed at any instant loses
nothing: what it had claimed is taken up by the next look, and the ledger knows what it has seen.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from appliance.config import Home
from appliance.errors import FactoryError, LimitExceeded, NotFound, UsageError
from appliance.intake import files, mail, rows
from appliance.intake.reading import read
from appliance.ledger import Ledger
from appliance.news import Delivery, DeliveryState
from appliance.settings import IntakeSettings

log = logging.getLogger("appliance.line")

DONE, FAILED, TAKEN = "done", "failed", ".taken"
MOST_FILES = 100
"""Taken at one look, so that a full folder holds up nothing else for long."""
CLOCK_SLACK = 3600.0
"""Seconds. A change further ahead than this was made under another clock and says nothing."""
MIB = 1024 * 1024


@dataclass(frozen=True)
class Place:
    """A folder that is watched."""

    folder: Path
    source: str
    repo: str
    """Whose it is; "" for nobody's."""
    receive: Callable[[str, bytes, int], Delivery]
    """File's name, its first bytes and its size → delivery. Raises FactoryError for what makes no sense."""


class Drops:
    """The folders of one box that are watched. One process at a time may look (the line's lock sees to that)."""

    def __init__(self, ledger: Ledger, settings: IntakeSettings, mails: Path, folder: Path) -> None:
        self._ledger = ledger
        self._settings = settings
        self._mails = mails
        self._folder = folder
        self._told: set[str] = set()

    def look(self) -> int:
        """Take what is complete; how many. What cannot be used now stays where it is."""
        known = [tracked.name for tracked in self._ledger.repositories()]
        self._make_folders(known)
        if self._ledger.deliveries.weight() > 2 * self._settings.raw_mb * MIB:
            self._tell("as much is kept as may be: dropped mails and files wait (`intake.raw_mb`)")
            return 0
        taken = self._take_new_mails(known)
        return taken + sum(self._take_files(place) for place in self._places(known))

    def _places(self, known: list[str]) -> Iterator[Place]:
        yield Place(self._mails, "mail", "", lambda name, raw, size: self._of_mail(name, raw, size, known))
        yield Place(self._folder, "folder", "", _homeless)
        for folder in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            if folder.name not in (DONE, FAILED, TAKEN) and folder.is_dir() and not folder.is_symlink():
                yield Place(
                    folder, "folder", folder.name if folder.name in known else "", self._for(folder.name, known)
                )

    def _make_folders(self, known: list[str]) -> None:
        for folder in (self._mails / "new", self._mails / "cur", *(self._folder / name for name in known)):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                self._tell(f"cannot make {folder}: {error.strerror}")

    # --- a maildir: what is in new/ is complete, and nobody writes to it any more

    def _take_new_mails(self, known: list[str]) -> int:
        taken = 0
        for file in list(_regular(self._mails / "new"))[:MOST_FILES]:
            try:
                raw, size = _begin(file, self._settings.max_mb * MIB)
                self._keep(self._received(raw, size, known), raw)
                flagged = file.name if ":2," in file.name else f"{file.name}:2,S"
                file.rename(self._mails / "cur" / flagged)
                taken += 1
            except OSError as error:
                self._tell(f"cannot take the mail {file}: {error.strerror}")
        return taken

    def _received(self, raw: bytes, size: int, known: list[str]) -> Delivery:
        return mail.receive(raw, size, self._settings.mail_senders, known)

    def _of_mail(self, name: str, raw: bytes, size: int, known: list[str]) -> Delivery:
        if not name.lower().endswith(".eml"):
            raise UsageError("it is no .eml file", "save the mail as .eml, or deliver it into new/")
        return self._received(raw, size, known)

    # --- files

    def _for(self, repo: str, known: list[str]) -> Callable[[str, bytes, int], Delivery]:
        def received(name: str, raw: bytes, size: int) -> Delivery:
            if repo not in known:
                raise NotFound(f"there is no repository {repo!r}", f"known: {', '.join(known)}")
            if size > len(raw):
                limit = self._settings.max_mb
                raise LimitExceeded(f"it is larger than {limit} MiB", "split it, or raise `intake.max_mb`")
            delivery = files.receive(repo, name, raw)
            try:
                self._try(delivery, raw)
            except (UsageError, LimitExceeded) as error:
                return delivery.with_(state=DeliveryState.REFUSED, why=error.message)
            return delivery

        return received

    def _try(self, delivery: Delivery, raw: bytes) -> None:
        """Raises UsageError, LimitExceeded for a file that makes no sense: then nothing of it is filed."""
        mapping = self._ledger.deliveries.mapping(delivery)
        if delivery.event != files.TABLE:
            read(delivery, raw, mapping)
            return
        sheet = files.table(raw, mapping)
        keys = [row.report.key for row in sheet.rows]
        rows.compared(sheet, self._ledger.signals_of_keys(delivery.repo, keys)).checked(skip_bad=False)

    def _take_files(self, place: Place) -> int:
        """Claim, keep and move what is complete in one folder."""
        folder = place.folder
        try:
            for file in self._complete(folder):
                claim = folder / TAKEN / secrets.token_hex(8)
                claim.mkdir(parents=True)
                file.rename(claim / file.name)
            claims = sorted((folder / TAKEN).iterdir()) if (folder / TAKEN).is_dir() else []
            for claim in claims:
                for file in list(claim.iterdir()):
                    self._settle(place, file)
                claim.rmdir()
        except OSError as error:
            self._tell(f"cannot take files of {folder}: {error.strerror}")
            return 0
        return len(claims)

    def _complete(self, folder: Path) -> list[Path]:
        now = time.time()
        return [file for file in _regular(folder, links=True) if self._is_quiet(file, now)][:MOST_FILES]

    def _is_quiet(self, file: Path, now: float) -> bool:
        """Has nobody written to it or renamed it for a while?"""
        if file.name.startswith(".") or file.name.endswith(("~", ".tmp", ".part", ".why")):
            return False
        age = now - file.lstat().st_ctime  # unlike mtime it moves with every write and rename, and nobody can set it
        return age >= self._settings.quiet_seconds or age < -CLOCK_SLACK

    def _settle(self, place: Place, file: Path) -> None:
        """Keep a claimed file in the ledger, then move it; the reason why it makes no sense first."""
        raw, size = b"", 0
        try:
            raw, size = _begin(file, self._settings.max_mb * MIB)
            delivery = place.receive(file.name, raw, size)
        except FactoryError as error:
            delivery, raw = _refused(place, file, size, error.message), b""
        except OSError as error:
            delivery, raw = _refused(place, file, size, f"it cannot be read: {error.strerror}"), b""
        number = self._keep(delivery, raw)
        refused = delivery.state is DeliveryState.REFUSED
        target = _free(place.folder / (FAILED if refused else DONE), file.name)
        if refused:
            reason = f"{delivery.why}\n(delivery {number})\n"
            target.with_name(f"{target.name[:200]}.why").write_text(reason, encoding="utf-8")
        file.rename(target)

    def _keep(self, delivery: Delivery, raw: bytes) -> int:
        """Keep a delivery; one that was refused before and makes sense now is worked on. Returns its number."""
        kept, new = self._ledger.deliveries.take(delivery, raw)
        if not new and kept.state is DeliveryState.REFUSED and delivery.state is DeliveryState.WAITING:
            self._ledger.deliveries.again(kept.number)
        return kept.number

    def _tell(self, words: str) -> None:
        """Log something once, not at every look."""
        if words not in self._told:
            self._told.add(words)
            log.warning("%s", words)


def watched(home: Home, ledger: Ledger, settings: IntakeSettings) -> Drops:
    """The folders of a home as its settings name them."""
    mails = Path(settings.mail_folder) if settings.mail_folder else home.spool / "mail"
    folder = Path(settings.drop_folder) if settings.drop_folder else home.spool / "drop"
    return Drops(ledger, settings, mails, folder)


def forget_old(ledger: Ledger, settings: IntakeSettings, now: datetime) -> None:
    """Let go of messages that are kept longer, or take more room, than the settings say."""
    raw_before, before = now - timedelta(days=settings.raw_days), now - timedelta(days=settings.known_days)
    emptied, deleted = ledger.deliveries.forget(raw_before, before, settings.raw_mb * MIB)
    if emptied or deleted:
        log.info("messages from outside: the bytes of %d were let go, %d were deleted", emptied, deleted)


def _homeless(_name: str, _raw: bytes, _size: int) -> Delivery:
    raise UsageError("it lies in no repository's folder", "put it into the folder named as the repository")


def _refused(place: Place, file: Path, size: int, why: str) -> Delivery:
    """The note of a file whose content is not kept. It is the same for the same file, however often it is looked at."""
    name = file.name.encode("utf-8", "replace").decode()
    told = f"{place.folder.name}/{name}/{size}/{file.lstat().st_mtime_ns}"
    return Delivery(
        source=place.source, repo=place.repo, id=hashlib.sha256(told.encode("utf-8", "replace")).hexdigest(), size=size,
        headers={"file": name[:200]}, state=DeliveryState.REFUSED, why=why,
    )  # fmt: skip


def _regular(folder: Path, links: bool = False) -> Iterator[Path]:
    """Files of a folder, those that came first in front; with the links, which are refused by name later."""
    found: list[tuple[float, Path]] = []
    try:
        for entry in os.scandir(folder):
            if entry.is_file(follow_symlinks=False) or (links and entry.is_symlink()):
                found.append((entry.stat(follow_symlinks=False).st_ctime, Path(entry.path)))
    except (FileNotFoundError, NotADirectoryError):  # the folder, or a file that went: the next look sees
        pass
    return iter([file for _, file in sorted(found)])


def _begin(file: Path, most: int) -> tuple[bytes, int]:
    """The first bytes of a file, and how many it has. Raises OSError for what is no plain file."""
    if file.is_symlink():
        raise OSError(errno.ELOOP, "it is a link")
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as opened:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        raw = opened.read(most)
        return raw, max(status.st_size, len(raw))


def _free(folder: Path, name: str) -> Path:
    """A path in a folder that nothing has yet."""
    folder.mkdir(exist_ok=True)
    target, stem, ending = folder / name, Path(name).stem[:150], Path(name).suffix[:20]
    number = 1
    while os.path.lexists(target):
        number += 1
        target = folder / f"{stem}.{number}{ending}"
    return target
