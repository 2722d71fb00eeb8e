"""A medium with only what is new since an earlier one; a box takes the rest from the release it has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from installer.bundle import keys
from installer.errors import InstallError
from installer.target.media import INSTALLER, installed
from installer.trust.chain import Trusted, fingerprint
from installer.trust.manifest import Base, Manifest
from installer.trust.medium import trusted

ALWAYS = frozenset({"install.sh", INSTALLER})
"""What a medium cannot do without: it is what judges and puts together the rest."""


def base_of(bundle: Path, ring: Path) -> Trusted:
    """An earlier bundle that these keys, or those before them, signed; its files need not be there.

    Raises:
        InstallError: it is none.
    """
    found = trusted(bundle, fingerprint(keys.roots(ring)[0].read_bytes()), None, 0)
    if found.manifest.kind != "release":
        raise InstallError(f"{bundle} brings no release", "name the bundle that the boxes have: SINCE=DIR")
    return found


def lightened(folder: Path, manifest: Manifest, base: Trusted) -> Manifest:
    """Remove from a medium what a box keeps of the base, and say so in its manifest. The list stays whole."""
    if manifest.built <= base.manifest.built:
        raise InstallError("the earlier bundle is not earlier than this commit", "name an older one: SINCE=DIR")
    kept = {entry.path: entry.sha256 for entry in installed(base.manifest)}
    same = {
        entry.path for entry in installed(manifest)
        if kept.get(entry.path) == entry.sha256 and entry.path not in ALWAYS
    }  # fmt: skip
    for path in same:
        (folder / path).unlink()
    return replace(manifest, base=Base(base.manifest.release, base.digest), absent=frozenset(same))
