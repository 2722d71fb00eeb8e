"""Bringing a file into the registry: header gate, copy with hashing, header gate on the copy, one rename."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from appliance.errors import Conflict, LimitExceeded, NotFound, UsageError, VerificationFailed
from models.card import Card, card_from, checked_name, checked_tasks, name_from_file
from models.gguf import read_header
from models.registry import CHUNK, BytesDone, Registry, quiet, sha256_of

SPARE = 256 * 1024 * 1024
"""Bytes of disk that must stay free after an import, so that the ledger can still be written."""


@dataclass(frozen=True)
class Imported:
    """What an import came to."""

    card: Card
    outcome: Literal["added", "updated", "unchanged"]


def import_model(
    path: Path,
    registry: Registry,
    id: str = "",
    licence: str = "",
    tasks: Sequence[str] = (),
    aliases: Sequence[str] = (),
    progress: BytesDone | None = None,
) -> Imported:
    """Copy the GGUF file at `path` into the registry and describe it with a card.

    The same content again changes nothing, or only the card when licence, tasks or aliases are given anew.

    Raises:
        NotFound: no such file.
        VerificationFailed: not a sound GGUF file.
        UsageError: a name or task cannot be accepted.
        Conflict: the id or an alias belongs to other content.
        LimitExceeded: not enough disk space.
        Unavailable: the registry cannot be written to.
    """
    if not _is_file(path):
        raise NotFound(f"there is no file {path}", "give the path of one .gguf file")
    header = read_header(path)
    if not header.architecture or not header.tensors:
        raise VerificationFailed(
            f"{path.name} holds no model (no architecture or no weights)", "import a model's main file"
        )
    if header.number("split.count") > 1:
        raise UsageError(f"{path.name} is one part of a split model", "merge it first: `llama-gguf-split --merge`")
    name = checked_name(id or name_from_file(path.stem))
    checked_tasks(tasks)
    report: BytesDone = progress or quiet
    known = _same_content(path, registry, name, report)
    if known is not None:
        return _again(registry, known, id, licence, tasks, aliases)
    _check_space(registry, header.file_size)
    with registry.staging() as folder:
        copy = folder / "model.gguf"
        sha256 = _copy(path, copy, report)
        # The source may have changed since the first look; the card describes the copy.
        card = card_from(read_header(copy), name, sha256, licence, tasks, aliases)
        return Imported(registry.add(card, folder), "added")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, or a folder we may not look into
        return False


def _same_content(path: Path, registry: Registry, name: str, progress: BytesDone) -> Card | None:
    """The registered model with the same bytes; Conflict when `name` holds other ones. Hashes only when sizes agree."""
    size = path.stat().st_size
    alike = [card for card in registry.list() if card.size_bytes == size]
    if alike:
        sha256 = sha256_of(path, progress)
        for card in alike:
            if card.sha256 == sha256:
                return card
    for card in registry.list():
        if name == card.id or name in card.aliases:
            raise Conflict(
                f"the model {card.id} is there with other content (SHA-256 {card.digest}…)",
                f"give this one another name with --id, or `appliance model remove {card.id}` first",
            )
    return None


def _again(
    registry: Registry, known: Card, id: str, licence: str, tasks: Sequence[str], aliases: Sequence[str]
) -> Imported:
    if id and id not in (known.id, *known.aliases):
        raise Conflict(
            f"these weights are in the registry as {known.id}", f"give that model another name with --alias {id}"
        )
    changed = (known.given(tasks) if tasks else known).with_(
        licence=licence or known.licence,
        aliases=tuple(dict.fromkeys([*known.aliases, *(checked_name(alias) for alias in aliases)])),
    )
    if changed == known:
        return Imported(known, "unchanged")
    return Imported(registry.update(changed), "updated")


def _check_space(registry: Registry, size: int) -> None:
    existing = next(folder for folder in (registry.folder, *registry.folder.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < size + SPARE:
        raise LimitExceeded(
            f"it needs {size >> 20} MiB and {SPARE >> 20} MiB must stay free; {existing} has {free >> 20} MiB",
            "make room, or remove models that are not needed",
        )


def _copy(source: Path, target: Path, progress: BytesDone) -> str:
    """Copy and hash in one pass; the copy is on the disk when this returns."""
    digest = hashlib.sha256()
    total, done = source.stat().st_size, 0
    try:
        with source.open("rb") as reader, target.open("xb") as writer:
            while chunk := reader.read(CHUNK):
                digest.update(chunk)
                writer.write(chunk)
                done += len(chunk)
                progress(done, total)
            writer.flush()
            os.fsync(writer.fileno())
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise LimitExceeded("the disk is full; nothing was imported", "make room and import again") from error
        raise VerificationFailed(
            f"cannot copy {source}: {error.strerror}", "check the medium and import again"
        ) from error
    return digest.hexdigest()
