"""Assets of the console from the npm registry: by lock, each held to its integrity hash before it is opened.

They come from `offline-wheels/` where their archives are, else from the cache, else from the registry npm is configured
for. Of an archive only the files that the lock names are read, so that nothing in it can choose where it is written and
no script of it ever runs. They are not needed to work: without them the console shows its tables without drawings.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from installer.checkout import Checkout
from installer.errors import InstallError, Refused
from installer.terminal import Terminal, run

LARGEST_FILE = 4 * 1024 * 1024
"""Bytes of one file of an archive."""
VENDOR = Path("control/static/vendor")
HINT = (
    "npm must be installed and configured for a registry that has it, or offline-wheels/ filled by `make wheels`; then "
    "`make run` fetches it. The console works without"
)


@dataclass(frozen=True)
class Asset:
    """A package of the registry, and what is served of it."""

    name: str
    version: str
    integrity: str
    """`sha512-` and the hash of the archive in base64, as npm's own locks have it."""
    licence: str
    files: tuple[str, ...]
    """Paths in the package; its licence's text is one."""

    @property
    def archive(self) -> str:
        return f"{self.name}-{self.version}.tgz"


def locked(checkout: Checkout) -> list[Asset]:
    """What `offline-wheels/assets.lock` names; nothing where there is no such file. Raises InstallError."""
    file = checkout.lock("assets")
    if not file.exists():
        return []
    try:
        found = [Asset(**{**row, "files": tuple(row["files"])}) for row in json.loads(file.read_text("utf-8"))]
    except (ValueError, TypeError, KeyError) as error:
        raise InstallError(f"{file.name} is not readable: {error}", "take it from the repository again") from error
    for asset in found:
        names = [asset.name, asset.version, *(part for path in asset.files for part in path.split("/"))]
        if not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) for name in names):
            raise InstallError(f"{file.name}: {asset.name!r} has a name that cannot be", "mend it")
    return found


def lacking(checkout: Checkout) -> list[Asset]:
    """What is locked and not there in just that version and with all its files."""
    return [
        asset for asset in locked(checkout)
        if not all((_folder(checkout, asset) / Path(path).name).is_file() for path in asset.files)
        or _mark(checkout, asset) != asset.integrity
    ]  # fmt: skip


def at_hand(checkout: Checkout) -> bool:
    """Can all that is lacking be had without a registry?"""
    return all(any(place.is_file() for place in _places(checkout, asset)) for asset in lacking(checkout))


def bring(checkout: Checkout, terminal: Terminal, name: str) -> None:
    """Put what is lacking into the console's folder. Raises InstallError; Refused when an archive is not as locked."""
    for asset in lacking(checkout):
        _unpack(_opened(obtain(checkout, asset, terminal, name), asset), asset, _folder(checkout, asset))


def obtain(checkout: Checkout, asset: Asset, terminal: Terminal, name: str) -> Path:
    """The archive's file, fetched where it is nowhere. A filled wheelhouse stands for all there is: no registry is
    asked. Raises InstallError."""
    for place in _places(checkout, asset):
        if place.is_file():
            return place
    if checkout.has_packages:
        raise InstallError(f"{asset.archive} is not in offline-wheels/", HINT)
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError(f"{asset.archive} cannot be fetched: there is no npm", HINT)
    kept = _places(checkout, asset)[-1]
    arriving = kept.parent / "arriving"
    shutil.rmtree(arriving, ignore_errors=True)
    arriving.mkdir(parents=True)
    options = ["--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=20000", "--no-update-notifier"]
    run(
        [npm, "pack", f"{asset.name}@{asset.version}", "--pack-destination", arriving, *options],
        terminal, name, checkout.log, cwd=arriving, hint=HINT,
    )  # fmt: skip
    fetched = arriving / asset.archive
    if not fetched.is_file():
        raise InstallError(f"npm brought no {asset.archive}", HINT)
    _opened(fetched, asset)
    return fetched.replace(kept)


def put_into_wheelhouse(checkout: Checkout, terminal: Terminal, name: str) -> None:
    """Carry the archives of all assets in `offline-wheels/`. Raises InstallError."""
    for asset in locked(checkout):
        target = checkout.wheelhouse / asset.archive
        if target.is_file():
            _opened(target, asset)
        else:
            shutil.copyfile(obtain(checkout, asset, terminal, name), target)


def _opened(file: Path, asset: Asset) -> Path:
    """The file, if it is the one that is locked. Raises Refused."""
    found = "sha512-" + base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    if found != asset.integrity:
        raise Refused(f"{file} is not the {asset.archive} that assets.lock names", "delete it and run this again")
    return file


def _unpack(archive: Path, asset: Asset, folder: Path) -> None:
    """All files or none: they are written beside and moved in place at once. Raises Refused."""
    half = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    with tarfile.open(archive) as packed:
        for path in asset.files:
            (half / Path(path).name).write_bytes(_content(packed, f"package/{path}", archive))
    (half / "integrity").write_text(asset.integrity + "\n", "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    half.replace(folder)


def _content(packed: tarfile.TarFile, path: str, archive: Path) -> bytes:
    try:
        member = packed.getmember(path)
    except KeyError:
        raise Refused(f"{archive.name} has no {path}", "assets.lock names what is not there: mend it") from None
    source = packed.extractfile(member) if member.isreg() and member.size <= LARGEST_FILE else None
    if source is None:
        raise Refused(f"{path} in {archive.name} is no plain file of at most {LARGEST_FILE} bytes", "do not use it")
    return source.read()


def _folder(checkout: Checkout, asset: Asset) -> Path:
    return checkout.root / VENDOR / asset.name


def _mark(checkout: Checkout, asset: Asset) -> str:
    try:
        return (_folder(checkout, asset) / "integrity").read_text("utf-8").strip()
    except OSError:
        return ""


def _places(checkout: Checkout, asset: Asset) -> tuple[Path, Path]:
    return checkout.wheelhouse / asset.archive, checkout.cache / "assets" / asset.archive
