"""The keys that media are signed with: made once, kept offline, rotated without a new first trust.

A folder `holder-N` belongs to one person: `root.key` says which keys count, `targets.key` signs releases. `release.key`
dates them (snapshot and timestamp) and is worth nothing without the holders'. `roots/` is public and goes with every
medium: all versions of which keys counted, each signed by enough of the holders before and of its own.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from installer.errors import InstallError
from installer.trust import chain, metadata, signature
from installer.trust.medium import ROOT
from installer.trust.metadata import SPECIFICATION, Role, Root, keyid, stamp

ROOTS, RELEASE, HOLDER = "roots", "release.key", "holder-"
RETIRED, ROTATION = "retired", "rotation"
ROOT_GOOD_FOR = 20 * 365 * 86_400
"""Seconds. Nothing refuses an expired root; it is the time after which a person is reminded to rotate."""
MOST_HOLDERS = 9


def create(folder: Path, threshold: int, holders: int) -> Path:
    """Make all keys and the first root, whose file is returned.

    Args:
        threshold: how many of the holders must sign.

    Raises:
        InstallError: there are keys, or the numbers make no sense.
    """
    _numbers(threshold, holders)
    if (folder / ROOTS).exists() or (folder / RELEASE).exists():
        raise InstallError(f"{folder} has keys already", "name another folder, or `make rotate-keys` for newer ones")
    names = [f"{HOLDER}{number}" for number in range(1, holders + 1)]
    for name in names:
        _make_holder(folder, name)
    signature.make_key(folder / RELEASE)
    root = _root([folder / name for name in names], folder / RELEASE, threshold, 1)
    return _write(folder, root, _marks(root, _private(folder)))


def rotate(folder: Path, replaced: Sequence[str], threshold: int | None = None, holders: int | None = None) -> Path:
    """Make the next root: new keys for `replaced` (`holder-2`, `release`), perhaps another number of people.

    The folders of all holders who stay, and the root keys of enough of before, must be in the folder. Old keys are
    moved to `retired/`, never deleted. Cut short, it changed nothing or is finished by the next command on the keys.

    Raises:
        InstallError: keys are missing, or the numbers make no sense; nothing was changed.
    """
    old = newest_root(folder)
    count = holders or len(old.roles["root"].keyids)
    threshold = threshold or old.roles["root"].threshold
    _numbers(threshold, count)
    wanted = [f"{HOLDER}{number}" for number in range(1, count + 1)]
    unknown = set(replaced) - set(wanted) - {"release"}
    if unknown:
        raise InstallError(f"there is no {', '.join(sorted(unknown))}", f"name some of {', '.join(wanted)}, release")
    there = {name: one for one, key in _private(folder).items() if (name := key.parent.name)}
    signers = {one: key for one, key in _private(folder).items() if one in old.roles["root"].keyids}
    if len(signers) < old.roles["root"].threshold:
        message = f"{len(signers)} of the {old.roles['root'].threshold} root keys it takes are in {folder}"
        raise InstallError(message, "bring the holders' folders together, then run this again")
    first_new = len(old.roles["root"].keyids) + 1
    new = {name for number, name in enumerate(wanted, 1) if name in replaced or number >= first_new}
    away = [name for name in wanted if name not in new and there.get(name) not in signers]
    if away:
        raise InstallError(f"the folder of {', '.join(away)} is missing", f"bring it to {folder}, or replace its keys")
    work = folder / (ROTATION + ".part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    for name in sorted(new):
        _make_holder(work, name)
    if "release" in replaced:
        signature.make_key(work / RELEASE)
    places = {name: (work if name in new else folder) / name for name in wanted}
    release = (work if "release" in replaced else folder) / RELEASE
    root = _root(list(places.values()), release, threshold, old.version + 1)
    own = {keyid(signature.public(place / "root.key")): place / "root.key" for place in places.values()}
    _write(work, root, _marks(root, {**signers, **own}))
    work.rename(folder / ROTATION)
    return settled(folder)


def settled(folder: Path) -> Path:
    """Finish a rotation that was cut short, where there is one; returns the newest root's file.

    Raises:
        InstallError: there are no keys.
    """
    work = folder / ROTATION
    if work.is_dir():
        made = next((work / ROOTS).glob("*.root.json"), None)
        for place in sorted(work.iterdir()):
            if place.name != ROOTS and made is not None:
                aside = folder / RETIRED / f"until-{made.name.partition('.')[0]}"
                aside.mkdir(parents=True, exist_ok=True, mode=0o700)
                if (folder / place.name).exists():
                    (folder / place.name).rename(aside / place.name)
                place.rename(folder / place.name)
        if made is not None:
            made.rename(folder / ROOTS / made.name)
        shutil.rmtree(work)
    return roots(folder)[-1]


def fingerprint(folder: Path) -> str:
    """What people are told by another way than the medium: the digest of the newest root."""
    return chain.fingerprint(settled(folder).read_bytes())


def roots(folder: Path) -> list[Path]:
    """Every root, the oldest first. Raises InstallError when there is none."""
    found = {int(said[1]): file for file in (folder / ROOTS).glob("*.json") if (said := ROOT.fullmatch(file.name))}
    if not found or sorted(found) != list(range(1, max(found) + 1)):
        raise InstallError(f"{folder} has no {ROOTS}/1.root.json and following", "make keys KEYS=DIR, once")
    return [found[number] for number in sorted(found)]


def newest_root(folder: Path) -> Root:
    """The roles in force."""
    return metadata.root_of(metadata.opened(settled(folder).read_bytes(), "root"))


def signatures(folder: Path, role: Role, content: bytes) -> dict[str, bytes]:
    """Sign with every key of the role that lies below the folder, retired ones left out."""
    found = {name: key for name, key in _all(folder).items() if name in role.keyids}
    return {name: signature.signed(content, key) for name, key in found.items()}


def _numbers(threshold: int, holders: int) -> None:
    if not 1 <= threshold <= holders <= MOST_HOLDERS:
        raise InstallError(f"{threshold} of {holders} is no threshold", f"1 to {MOST_HOLDERS} holders, THRESHOLD of OF")


def _make_holder(folder: Path, name: str) -> None:
    for kind in ("root", "targets"):
        signature.make_key(folder / name / f"{kind}.key")


def _private(folder: Path) -> dict[str, Path]:
    """The holders' private root keys by their key id; holders whose folder is elsewhere are left out."""
    return {keyid(signature.public(key)): key for key in sorted(folder.glob(f"{HOLDER}[1-9]/root.key"))}


def _all(folder: Path) -> dict[str, Path]:
    keys = [key for key in sorted(folder.rglob("*.key")) if RETIRED not in key.relative_to(folder).parts]
    return {keyid(signature.public(key)): key for key in keys}


def _root(holders: Sequence[Path], release: Path, threshold: int, version: int) -> dict[str, Any]:
    public = {
        "root": [signature.public(holder / "root.key") for holder in holders],
        "targets": [signature.public(holder / "targets.key") for holder in holders],
    }
    public["snapshot"] = public["timestamp"] = [signature.public(release)]
    return {
        "_type": "root",
        "spec_version": SPECIFICATION,
        "version": version,
        "expires": stamp(time.time() + ROOT_GOOD_FOR),
        "consistent_snapshot": False,
        "keys": {
            keyid(one): {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": one}}
            for several in public.values()
            for one in several
        },
        "roles": {
            role: {"keyids": sorted(map(keyid, keys)), "threshold": threshold if role in {"root", "targets"} else 1}
            for role, keys in public.items()
        },
    }


def _marks(root: Mapping[str, Any], keys: Mapping[str, Path]) -> dict[str, bytes]:
    content = metadata.spelled(root)
    return {name: signature.signed(content, key) for name, key in keys.items()}


def _write(folder: Path, root: Mapping[str, Any], marks: Mapping[str, bytes]) -> Path:
    file = folder / ROOTS / f"{root['version']}.root.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_suffix(".part")
    half.write_bytes(metadata.sealed(root, marks))
    half.rename(file)
    return file
