"""Bringing a model into the registry: format gate, copy with hashing, format gate on the copy, one rename."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from appliance.errors import Conflict, LimitExceeded, UsageError
from models import source
from models.card import Card, CardFile, card_from, checked_name, checked_tasks, digest_of, name_from_file
from models.copying import JOURNAL, Item, copy, fingerprint, unfinished
from models.facts import ADAPTER, Facts
from models.gate import examined
from models.registry import PARTIAL, BytesDone, Registry, after, quiet, sha256_of

SPARE = 256 * 1024 * 1024
"""Bytes of disk that must stay free after an import, so that the ledger can still be written."""


@dataclass(frozen=True)
class Imported:
    """What an import came to."""

    card: Card
    outcome: Literal["added", "updated", "unchanged"]
    left_out: tuple[str, ...] = ()
    """Files and folders beside the model that it does not need."""
    resumed_bytes: int = 0
    """Bytes that an interrupted import had copied already."""
    unconfined: tuple[str, ...] = ()
    """Means of confining the format gate that this machine lacks; see models.confined.MEANS."""


def import_model(
    path: Path,
    registry: Registry,
    id: str = "",
    licence: str = "",
    tasks: Sequence[str] = (),
    aliases: Sequence[str] = (),
    progress: BytesDone | None = None,
    base: str = "",
) -> Imported:
    """Copy the model at `path` (a file, a part of a split one, or a folder) into the registry and write its card.

    The same content again changes nothing, or only the card when licence, tasks or aliases are given anew. An import
    that was interrupted goes on where it stopped. `base` names the model that an adapter belongs to.

    Raises:
        NotFound: there is no such file.
        VerificationFailed: not a sound model, or one that must not come in.
        UsageError: a name or task cannot be accepted, or the path is no model or several.
        Conflict: the id or an alias belongs to other content, or the same import runs now.
        LimitExceeded: not enough disk space.
        Unavailable: the registry cannot be written to, or the source cannot be read.
    """
    found = source.find(path)
    passed = examined(found.folder.absolute(), found.names)
    name = checked_name(id or name_from_file(found.stem))
    checked_tasks(tasks)
    whole = _base_of(registry, passed.facts, found.folder.name, base)
    items = items_of(found.folder, passed.facts)
    report: BytesDone = progress or quiet
    beside = (*passed.facts.left_out, *found.skipped)
    known = _same_content(items, registry, name, report)
    if known is not None:
        done = _again(registry, known, id, licence, tasks, aliases)
        return replace(done, left_out=beside, unconfined=passed.missing)
    registry.check_free([name, *map(checked_name, aliases)])  # now, and not after hours of copying
    key = fingerprint(items)
    _check_space(registry, sum(item.source.stat().st_size for item in items), registry.folder / f"{PARTIAL}{key}")
    with registry.staging(key) as folder:
        copied = copy(items, folder, report)
        # The source may have changed since the first look; the card describes the copy.
        facts = examined(folder.absolute(), [item.name for item in items]).facts
        card = card_from(facts, name, copied.files, licence or passed.facts.licence, tasks, aliases)
        card = card.adapting(whole) if whole else card
        (folder / JOURNAL).unlink(missing_ok=True)
        return Imported(registry.add(card, folder), "added", beside, copied.resumed_bytes, passed.missing)


def items_of(folder: Path, facts: Facts) -> list[Item]:
    """What to copy under which names. Engines find the parts of a split file by their numbers, so these stay."""
    if facts.format != "gguf":
        return [Item(folder / name, name) for name in facts.files]
    count = len(facts.files)
    names = ["model.gguf"] if count == 1 else [f"model-{n:05}-of-{count:05}.gguf" for n in range(1, count + 1)]
    return [Item(folder / old, new) for old, new in zip(facts.files, names, strict=True)]


def _base_of(registry: Registry, facts: Facts, name: str, base: str) -> Card | None:
    """The model an adapter is for; None for what is no adapter. Raises UsageError when the two do not go together."""
    if facts.format != ADAPTER:
        if base:
            raise UsageError(f"{name} is a model of its own and no adapter", "leave out --base")
        return None
    if not base:
        raise UsageError(f"{name} is an adapter", "name the model it belongs to with --base")
    card = registry.find(base)
    if card.format != "safetensors":
        raise UsageError(f"{card.id} is a {card.format} model, which takes no adapters here", "import its safetensors")
    return card


def _same_content(items: Sequence[Item], registry: Registry, name: str, progress: BytesDone) -> Card | None:
    """The registered model with the same bytes; Conflict when `name` holds other ones. Hashes only when sizes agree."""
    size = sum(item.source.stat().st_size for item in items)
    alike = [card for card in registry.list() if card.size_bytes == size]
    if alike:
        sha256 = _digest(items, size, progress)
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


def _digest(items: Sequence[Item], size: int, progress: BytesDone) -> str:
    files, done = [], 0
    for item in items:
        hashed = sha256_of(item.source, after(done, size, progress))
        files.append(CardFile(name=item.name, size_bytes=item.source.stat().st_size, sha256=hashed))
        done += files[-1].size_bytes
    return digest_of(files)


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


def _check_space(registry: Registry, size: int, partial: Path) -> None:
    existing = next(folder for folder in (registry.folder, *registry.folder.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    needed = max(0, size - unfinished(partial))
    if free < needed + SPARE:
        raise LimitExceeded(
            f"it needs {needed >> 20} MiB and {SPARE >> 20} MiB must stay free; {existing} has {free >> 20} MiB",
            "make room, or remove models that are not needed",
        )
