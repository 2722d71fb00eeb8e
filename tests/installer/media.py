"""Small signed media made by the build's own code, for tests of what may be installed."""

from __future__ import annotations

from pathlib import Path

from installer.bundle import keys, seal
from installer.trust.chain import Trusted
from installer.trust.manifest import Base, Joined, Manifest

CONTENT = {"installer.pyz": b"a program", "wheels/one.whl": bytes(range(256)) * 40, "wheels/two.whl": b"two", "z": b""}
BUILT = 1_760_000_000


def ring(folder: Path, threshold: int = 1, holders: int = 1) -> Path:
    """A folder of keys."""
    keys.create(folder, threshold, holders)
    return folder


def manifest_of(
    folder: Path,
    built: int = BUILT,
    kind: str = "release",
    joined: tuple[Joined, ...] = (),
    base: Base | None = None,
    absent: frozenset[str] = frozenset(),
) -> Manifest:
    """The manifest of what lies in a folder."""
    files = seal.entries(folder)
    return Manifest("1.2.3", built, "x86_64", "3.11", ("avx2",), files, kind, joined, base, absent)


def fill(folder: Path, content: dict[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def medium(
    folder: Path, signers: Path, content: dict[str, bytes] = CONTENT, built: int = BUILT, kind: str = "release"
) -> Trusted | None:
    """Write the content and its metadata; what a box makes of it, or None where more people must sign."""
    fill(folder, content)
    return seal.seal(folder, manifest_of(folder, built, kind), signers)
