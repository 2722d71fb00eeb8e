"""What attempts and verdicts rest on, kept as files beside the ledger: a droid's trajectory, a scanner's findings.

A file is named by its content, so that none is ever written over and a run that is taken up again keeps the same one;
what names it (an item's attempts and verdicts, its events) carries the digest that it is held to when it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from appliance.errors import NotFound, VerificationFailed
from appliance.private import replace_private
from appliance.work import Finding, Kept, WorkItem

DIGITS = 16
"""Of the digest in a file's name; the whole digest decides."""
FIELDS = {"file", "sha256"}


def keep(folder: Path, stem: str, suffix: str, content: bytes) -> Kept:
    """Write `STEM-DIGEST.SUFFIX` into an item's folder (0600, durable before this returns)."""
    digest = hashlib.sha256(content).hexdigest()
    kept = Kept(file=f"{stem}-{digest[:DIGITS]}.{suffix}", sha256=digest)
    if not (folder / kept.file).exists():
        replace_private(folder / kept.file, content)
    return kept


def read(folder: Path, kept: Kept) -> bytes:
    """The content of a file that something names.

    Raises:
        NotFound: it is gone.
        VerificationFailed: it is not what was kept.
    """
    try:
        content = (folder / kept.file).read_bytes()
    except OSError as error:
        raise NotFound(
            f"the evidence {kept.file} cannot be read: {error.strerror}", "a backup of the home's evidence/ may have it"
        ) from error
    if hashlib.sha256(content).hexdigest() != kept.sha256:
        raise VerificationFailed(
            f"the evidence {kept.file} is not what was kept", "somebody changed it; a backup may have it as it was"
        )
    return content


def named(item: WorkItem, told: Iterator[Mapping[str, Any]]) -> dict[str, Kept]:
    """Every file that the item's attempts, its verdicts or the payloads of its events (`told`) name, by its name."""
    found: dict[str, Kept] = {}
    for payload in told:
        found.update({kept.file: kept for kept in _within(payload)})
    for verdict in item.verdicts:
        found.update({kept.file: kept for kept in _within(verdict.evidence)})
    found.update({one.trajectory.file: one.trajectory for one in item.attempts if one.trajectory})
    return found


def findings(item: WorkItem) -> tuple[Finding, ...]:
    """What the scanners hold against the change as it is now."""
    newest = [one for one in item.verdicts if one.gate == "secure"][-1:]
    return tuple(Finding.model_validate(row) for one in newest for row in one.evidence.get("new", ()))


def _within(value: object) -> Iterator[Kept]:
    """Files named anywhere in a JSON value. A name that leads elsewhere is none of ours."""
    if isinstance(value, Mapping):
        if set(value) == FIELDS and str(value["file"]) == Path(str(value["file"])).name:
            yield Kept(file=str(value["file"]), sha256=str(value["sha256"]))
        else:
            for inner in value.values():
                yield from _within(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _within(inner)
