"""A medium for boxes that run already: models, repositories and advisories, signed as a release is."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from installer.bundle import extras, keys, seal
from installer.checkout import Checkout
from installer.errors import InstallError
from installer.target.media import IMPORTED
from installer.terminal import Terminal, elapsed
from installer.trust.manifest import Manifest


def make(checkout: Checkout, ring: Path, words: Sequence[str], out: Path, terminal: Terminal) -> Path:
    """Make the medium in the folder `out`; returns its folder. Its time is now, or SOURCE_DATE_EPOCH's.

    Raises:
        InstallError: nothing to bring, no keys, or one of that name is there.
    """
    started = time.monotonic()
    known = keys.fingerprint(ring)
    unknown = [word for word in words if word.partition("=")[0] not in IMPORTED]
    if not words or unknown:
        raise InstallError(
            f"a running box takes in no {', '.join(unknown) or 'nothing'}", "models=DIR mirrors=DIR osv=FILE"
        )
    built = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    version = time.strftime("%Y.%-m.%-d", time.gmtime(built))
    made = out / f"appliance-import-{version}-{built}.medium"
    if made.exists():
        raise InstallError(f"{made} is there already", "move it away, or name another folder: OUT=DIR")
    half = made.with_suffix(".part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    joined = extras.add(words, half, checkout, lambda lock: checkout.lock(lock), terminal)
    manifest = Manifest(version, built, "any", "any", (), seal.entries(half), "import", joined)
    whole = seal.seal(half, manifest, ring)
    half.replace(made)
    terminal.say(f"{made}: {manifest.size / 1e6:.0f} MB in {elapsed(time.monotonic() - started)}")
    if whole is None:
        terminal.say(f"more people must sign it: make sign MEDIUM={made} KEYS=DIR, each with an own folder of keys")
    terminal.say(f"boxes that trust the keys {known[:16]}… take it in: installer.pyz import --medium DIR")
    return made
