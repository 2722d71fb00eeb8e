"""A small signed medium made by the build's own code, for tests of what may be installed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from installer.trust import signature
from installer.trust.manifest import Entry, Manifest, encoded

CONTENT = {"installer.pyz": b"a program", "wheels/one.whl": bytes(range(256)) * 40, "wheels/two.whl": b"two", "z": b""}


def manifest_of(content: dict[str, bytes], built: int = 1_700_000_000, version: str = "1.2.3") -> Manifest:
    entries = (Entry(name, hashlib.sha256(content[name]).hexdigest(), len(content[name])) for name in sorted(content))
    return Manifest(version, built, "x86_64", "3.11", ("avx2",), tuple(entries))


def medium(folder: Path, private: Path, public: Path, content: dict[str, bytes] = CONTENT) -> Manifest:
    """Write the content with its manifest and signature."""
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    made = manifest_of(content)
    (folder / "manifest.json").write_bytes(encoded(made))
    (folder / "manifest.sig").write_bytes(signature.sign(folder / "manifest.json", private))
    (folder / "key.pem").write_bytes(public.read_bytes())
    return made
