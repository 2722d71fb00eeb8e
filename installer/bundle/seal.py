"""Lists what a medium holds and signs it: timestamp, snapshot, targets, and install.sh for the check by hand."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from installer.bundle import keys
from installer.errors import InstallError
from installer.trust import metadata
from installer.trust.chain import Trusted, fingerprint
from installer.trust.manifest import CHUNK, GOOD_FOR, PART, Entry, Joined, Manifest, targets_of
from installer.trust.medium import FOLDER, trusted
from installer.trust.metadata import SPECIFICATION, Root, stamp

FIRST = "first"
"""The folder with what a person checks install.sh with, by commands of the own system."""
STARTER = "install.sh"


def bring(source: Path, folder: Path, name: str) -> Joined | None:
    """Copy a file onto a medium under that name (`a/b`); in parts, which are returned, where FAT32 cannot hold it."""
    size, whole, names = source.stat().st_size, hashlib.sha256(), []
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as stream:
        for number in range(1, max(1, -(-size // PART)) + 1):
            names.append(name if size <= PART else f"{name}.part-{number:03d}")
            with (folder / names[-1]).open("xb") as copy:
                for _ in range(PART // CHUNK):
                    block = stream.read(CHUNK)
                    whole.update(block)
                    copy.write(block)
    return Joined(name, whole.hexdigest(), size, tuple(names)) if size > PART else None


def entries(folder: Path) -> tuple[Entry, ...]:
    """Every file of a medium that metadata list, in order of their names."""
    found = []
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and name.split("/")[0] not in {FOLDER, FIRST}:
            found.append(_entry(file, name))
    return tuple(sorted(found, key=lambda entry: entry.path))


def seal(folder: Path, manifest: Manifest, ring: Path) -> Trusted | None:
    """Write the metadata of a medium whose files lie there, signed with the keys in `ring`; fix modes and times.

    Returns what a box makes of it, or None where more holders must sign (`sign`).

    Raises:
        InstallError: no keys, or none of them may sign.
    """
    root = keys.newest_root(ring)
    (folder / FOLDER).mkdir(exist_ok=True)
    for file in keys.roots(ring):
        shutil.copyfile(file, folder / FOLDER / file.name)
    expires = stamp(manifest.built + GOOD_FOR)
    dated: dict[str, Any] = {"spec_version": SPECIFICATION, "version": manifest.built, "expires": expires}
    meta = {"targets.json": {"version": manifest.built}}
    raw = _write(folder, {"_type": "snapshot", **dated, "meta": meta}, root, ring)
    hashes = {"sha256": fingerprint(raw)}
    exact = {"snapshot.json": {"version": manifest.built, "length": len(raw), "hashes": hashes}}
    _write(folder, {"_type": "timestamp", **dated, "meta": exact}, root, ring)
    (folder / FOLDER / "targets.json").write_bytes(metadata.sealed(targets_of(manifest), {}))
    return sign(folder, ring)


def sign(folder: Path, ring: Path) -> Trusted | None:
    """Add the signatures of the holders whose keys are in `ring`; what a box makes of it, None where more must sign.

    Raises:
        InstallError: none of the keys may sign, or the medium is not what these keys' roots say.
    """
    root = keys.newest_root(ring)
    role, file = root.roles["targets"], folder / FOLDER / "targets.json"
    envelope = metadata.opened(file.read_bytes(), "targets")
    marks = keys.signatures(ring, role, envelope.content)
    if not marks:
        raise InstallError(f"{ring} has no key that may sign releases", "name the folder of a holder's keys")
    together = {**envelope.signatures, **marks}
    file.write_bytes(metadata.sealed(envelope.signed, together))
    if (folder / STARTER).exists():
        for name, mark in keys.signatures(ring, role, (folder / STARTER).read_bytes()).items():
            (folder / FIRST).mkdir(exist_ok=True)
            (folder / FIRST / f"{name}.pem").write_text(metadata.pem(root.keys[name]), "ascii")
            (folder / FIRST / f"{name}.sig").write_bytes(mark)
    _settle(folder, envelope.signed["version"])
    if len(set(together) & set(role.keyids)) < role.threshold:
        return None
    return trusted(folder, keys.fingerprint(ring), None, envelope.signed["version"])


def _entry(file: Path, name: str) -> Entry:
    size = file.stat().st_size
    if size > PART:
        raise InstallError(f"{name} is larger than {PART} bytes", "split it: FAT32 cannot hold it")
    whole, chunks = hashlib.sha256(), []
    with file.open("rb") as stream:
        while block := stream.read(CHUNK):
            whole.update(block)
            chunks.append(hashlib.sha256(block).hexdigest())
    return Entry(name, whole.hexdigest(), size, tuple(chunks) if size > CHUNK else ())


def _write(folder: Path, signed: Mapping[str, Any], root: Root, ring: Path) -> bytes:
    marks = keys.signatures(ring, root.roles[signed["_type"]], metadata.spelled(signed))
    if not marks:
        raise InstallError(f"{ring} has no {keys.RELEASE} that counts", "bring the folder `make keys` filled")
    raw = metadata.sealed(signed, marks)
    (folder / FOLDER / f"{signed['_type']}.json").write_bytes(raw)
    return raw


def _settle(folder: Path, built: int) -> None:
    for place in [*folder.rglob("*"), folder]:
        place.chmod(0o755 if place.is_dir() or place.name == STARTER else 0o644)
        os.utime(place, (built, built))
