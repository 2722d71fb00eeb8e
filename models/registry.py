"""The registry: one folder per model, `<id>/card.json` beside its weights.

A model appears by one rename of a finished folder and disappears by one rename, so a killed process leaves either the
whole model or none. What is being made or removed lies in folders with a dot in front, is never listed, and is cleaned
up by the next import once its maker is gone (each maker holds a lock on its own folder). A copy that stopped half-way
(`.partial-KEY`) stays for some days, so that the next import of the same files goes on with it.
"""

from __future__ import annotations

import difflib
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from appliance.errors import Conflict, FactoryError, NotFound, Unavailable, UsageError, VerificationFailed
from models.card import Card, checked_name, digest_of
from models.examine import CARD
from models.gate import examined

CHUNK = 64 * 1024 * 1024
"""Bytes read at a time: large enough for the disk, small enough for progress."""

PARTIAL = ".partial-"
PARTIAL_DAYS = 7
"""How long a copy that stopped half-way is kept."""

BytesDone = Callable[[int, int], None]
"""Told (bytes done, bytes in all) after every chunk."""


def after(before: int, total: int, progress: BytesDone) -> BytesDone:
    """Progress of one of several files, told as that of all: `before` bytes lie in front of it."""
    return lambda done, _: progress(before + done, total)


def quiet(done: int, total: int) -> None:
    """Progress nobody asked for."""


class Registry:
    """The models of one box. Reading creates nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def list(self) -> tuple[Card, ...]:
        """All whole models, by id. Folders whose card is broken are left out; see `problems`."""
        return tuple(card for _, card in self._cards() if isinstance(card, Card))

    def problems(self) -> tuple[str, ...]:
        """What is wrong with folders that cannot be listed, one line each."""
        return tuple(f"{name}: {card}" for name, card in self._cards() if not isinstance(card, Card))

    def get(self, id: str) -> Card:
        """The model with exactly this id. Raises NotFound, or VerificationFailed when its card is broken."""
        if id.startswith(".") or "/" in id:
            raise self._unknown(id)
        return self._read(self.folder / id)

    def find(self, name: str) -> Card:
        """The model with this id or alias. Raises NotFound, naming near ones."""
        for card in self.list():
            if name == card.id or name in card.aliases:
                return card
        raise self._unknown(name)

    def path(self, card: Card) -> Path:
        """What an engine opens: a file, or the folder for formats of many files."""
        return self.folder / card.id / card.file

    def whole(self, card: Card) -> bool:
        """Whether every file is there with its size: a look that is cheap enough before each start."""
        folder = self.folder / card.id
        try:
            return all((folder / part.name).stat().st_size == part.size_bytes for part in card.parts)
        except OSError:
            return False

    def generation(self) -> str:
        """Changes whenever a card was added, changed or removed; a stat per model: cheap enough for each request."""
        parts = []
        for folder in self._folders():
            try:
                stat = (folder / CARD).stat()
            except OSError:
                continue
            parts.append(f"{folder.name}:{stat.st_ino}:{stat.st_mtime_ns}")
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]

    def add(self, card: Card, staged: Path) -> Card:
        """Take over the finished folder `staged` (made by `staging`) as this model.

        Raises:
            Conflict: its id or one of its aliases is taken.
        """
        _write_card(staged / CARD, card)
        with self._locked():
            self.check_free((card.id, *card.aliases))
            _sync_folder(staged)
            staged.rename(self.folder / card.id)
            _sync_folder(self.folder)
        return card

    def update(self, card: Card) -> Card:
        """Replace the card of a model that is there. Raises NotFound, or Conflict when an alias is taken."""
        self.get(card.id)
        with self._locked():
            self.get(card.id)
            self.check_free((card.id, *card.aliases), but=card.id)
            _write_card(self.folder / card.id / CARD, card)
            _sync_folder(self.folder / card.id)
        return card

    def remove(self, id: str) -> None:
        """Remove a model and its weights. Raises NotFound."""
        if not (self.folder / checked_name(id)).is_dir():
            raise self._unknown(id)
        doomed = self.folder / f".removing-{secrets.token_hex(4)}"
        with self._locked():
            if not (self.folder / id).is_dir():
                raise self._unknown(id)  # somebody else was quicker
            (self.folder / id).rename(doomed)
            _sync_folder(self.folder)
        shutil.rmtree(doomed, ignore_errors=True)

    def verify(self, id: str, progress: BytesDone = quiet) -> Card:
        """Check that every file is the bytes the card names and that their formats are sound.

        Raises:
            NotFound: no such model.
            VerificationFailed: missing, other or unsound bytes.
        """
        card = self.get(id)
        folder, done = self.folder / id, 0
        for part in card.parts:
            file = folder / part.name
            if not file.is_file():
                raise VerificationFailed(f"{id}: its file {file} is missing", _again(id))
            if (size := file.stat().st_size) != part.size_bytes:
                raise VerificationFailed(
                    f"{id}: {part.name} has {size} bytes, the card says {part.size_bytes}", _again(id)
                )
        for part in card.parts:
            found = sha256_of(folder / part.name, after(done, card.size_bytes, progress))
            if found != part.sha256:
                raise VerificationFailed(
                    f"{id}: {part.name} has SHA-256 {found}, the card says {part.sha256}", _again(id)
                )
            done += part.size_bytes
        if not card.parts:
            return card  # its weights are on another machine
        if digest_of(card.parts) != card.sha256:
            raise VerificationFailed(f"{id}: the card's SHA-256 is not that of its files", _again(id))
        examined(folder.absolute(), [part.name for part in card.parts])
        return card

    @contextmanager
    def staging(self, key: str = "") -> Iterator[Path]:
        """A private folder in which a model is put together; gone afterwards unless `add` took it over.

        With a `key` it is the folder an earlier try with this key left, and it is left again when the try fails for a
        reason that may pass: killed, disk full, medium away.

        Raises:
            Conflict: somebody works with this key now.
            Unavailable: the registry cannot be written to, or what was done in the folder failed with an OSError.
        """
        try:
            with self._folder_of_ours(key) as folder:
                yield folder
        except OSError as error:
            raise Unavailable(
                f"cannot write to {self.folder}: {error.strerror}", "make it writable and see that the disk has room"
            ) from error

    def partials(self) -> tuple[Path, ...]:
        """Folders of copies that stopped half-way or go on now."""
        return tuple(sorted(self.folder.glob(f"{PARTIAL}*")))

    @contextmanager
    def _folder_of_ours(self, key: str) -> Iterator[Path]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            self._clean_up()
            folder = self.folder / (f"{PARTIAL}{key}" if key else f".importing-{secrets.token_hex(4)}")
            folder.mkdir(exist_ok=bool(key))
            holder = _held(folder)
        if holder is None:
            raise Conflict("the same files are being imported at this moment", "wait until that import has ended")
        keep = bool(key)
        try:
            yield folder
        except FactoryError as error:
            keep = keep and not isinstance(error, VerificationFailed | Conflict | UsageError)
            raise
        finally:
            # Once added, the folder has another name and this one is no longer there.
            if not keep:
                self._discard(folder)
            os.close(holder)

    def _discard(self, folder: Path) -> None:
        """Remove a folder; under another name first, so that nobody finds it half-removed."""
        doomed = self.folder / f".removing-{secrets.token_hex(4)}"
        with self._locked():
            if not folder.is_dir():
                return
            folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _clean_up(self) -> None:
        """Remove what killed processes left behind, and copies that nobody went on with for days."""
        old = time.time() - PARTIAL_DAYS * 86_400
        stale = [left for left in self.partials() if left.stat().st_mtime < old]
        for left in [*self.folder.glob(".importing-*"), *self.folder.glob(".removing-*"), *stale]:
            handle = _held(left)
            if handle is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(handle)

    def _folders(self) -> tuple[Path, ...]:
        try:
            entries = sorted(self.folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise Unavailable(f"cannot read {self.folder}: {error.strerror}", "make it readable") from error
        return tuple(entry for entry in entries if not entry.name.startswith(".") and entry.is_dir())

    def _cards(self) -> Iterator[tuple[str, Card | str]]:
        for folder in self._folders():
            try:
                yield folder.name, self._read(folder)
            except NotFound:
                continue  # removed between the look at the folder and the look into it
            except VerificationFailed as error:
                yield folder.name, error.message

    def _read(self, folder: Path) -> Card:
        hint = f"move {folder} away and import the model again"
        try:
            card = Card.model_validate_json((folder / CARD).read_bytes())
        except ValidationError as error:
            raise VerificationFailed(
                f"the card {folder / CARD} cannot be read: {error.errors()[0]['msg']}", hint
            ) from error
        except FileNotFoundError as error:
            if folder.is_dir():
                raise VerificationFailed(f"{folder} has no {CARD}", hint) from error
            raise self._unknown(folder.name) from error
        except OSError as error:
            raise VerificationFailed(f"the card {folder / CARD} cannot be read: {error.strerror}", hint) from error
        if card.id != folder.name or not all(map(_inside, (card.file, *(part.name for part in card.files)))):
            raise VerificationFailed(
                f"the card {folder / CARD} names another model or place ({card.id}, {card.file})", hint
            )
        return card

    def check_free(self, names: Sequence[str], but: str = "") -> None:
        """See that no other model than `but` has one of these names. Raises Conflict."""
        taken: dict[str, str] = {}
        for other in self.list():
            if other.id != but:
                taken.update(dict.fromkeys((other.id, *other.aliases), other.id))
        for name in names:
            if name != but and (self.folder / name).exists():
                taken.setdefault(name, name)  # its card is broken
            if name in taken:
                raise Conflict(
                    f"the name {name!r} belongs to the model {taken[name]}", "choose another with --id or --alias"
                )

    def _unknown(self, name: str) -> NotFound:
        known = [n for card in self.list() for n in (card.id, *card.aliases)]
        near = difflib.get_close_matches(name, known, n=3)
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        else:
            hint = "`appliance model list` shows all; `appliance model import` adds one"
        return NotFound(f"there is no model {name!r}", hint)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time; held only for renames and cards, never while weights are copied."""
        handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def sha256_of(path: Path, progress: BytesDone = quiet) -> str:
    """SHA-256 of a file, in chunks."""
    digest = hashlib.sha256()
    total, done = path.stat().st_size, 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(done, total)
    return digest.hexdigest()


def _inside(name: str) -> bool:
    """Whether a file's name leads nowhere out of its folder."""
    return bool(name) and not name.startswith("/") and ".." not in name.split("/")


def _held(folder: Path) -> int | None:
    """An open handle that holds the folder's lock; None when somebody else holds it."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _write_card(file: Path, card: Card) -> None:
    new = file.with_name(f".{file.name}.new")
    with new.open("w", encoding="utf-8") as stream:
        stream.write(card.model_dump_json(indent=2) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


def _sync_folder(folder: Path) -> None:
    """Make renames in it survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _again(id: str) -> str:
    return f"`appliance model remove {id}`, then import it again from its source"
