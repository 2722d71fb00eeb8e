"""Reads sealed parts, each held to its hashes on the way: what is given out is what was backed up, or an error."""

from __future__ import annotations

import io
from pathlib import Path

import pyrage
from pydantic import ValidationError

from appliance.backup.manifest import FORMAT, Inventory, Manifest, Part, Stored
from appliance.backup.sealing import Nowhere, Passed, Reading, Writable, Writing, unseal
from appliance.backup.vault import PIECE, Vault
from appliance.errors import VerificationFailed

AGAIN = "remove that file and make a new backup, which writes it anew; or take another copy of the folder"


class Source:
    """One backup's parts, opened with a private key; without one their hashes can be looked at alone."""

    def __init__(self, vault: Vault, manifest: Manifest, identity: pyrage.x25519.Identity | None = None) -> None:
        self._vault, self.manifest, self._identity = vault, manifest, identity
        self._stored = {part.name: part for part in manifest.parts}
        for later in reversed(vault.manifests()):  # a part that was damaged and written anew has other bytes since
            if later.name > manifest.name:
                self._stored |= {part.name: part for part in later.parts if part.name in self._stored}

    def stored(self) -> list[Stored]:
        """The parts as they must lie in the folder."""
        return list(self._stored.values())

    def look(self, part: Stored) -> None:
        """Raises VerificationFailed when a part is missing, or not the bytes that were written."""
        sink = Writing(Nowhere())
        with self._opened(part.name) as file:
            while piece := file.read(PIECE):
                sink.write(piece)
        self._hold(part, sink.passed)

    def write(self, part: Part, sink: Writable) -> None:
        """Unseal a part. Raises VerificationFailed when it is not, byte for byte, what was backed up."""
        if self._identity is None:
            raise VerificationFailed("without the private key nothing can be opened", "give it with --identity FILE")
        stored = self._stored.get(part.name)
        if stored is None:
            raise VerificationFailed(f"the manifest does not name the part {part.name}", "take another backup")
        path = self._vault.path(part.name)
        out = Writing(sink)
        with self._opened(part.name) as file:
            source = Reading(file)
            unseal(source, out, self._identity, str(path))
            while source.read(PIECE):  # what is behind the end counts for the hash, too
                pass
        self._hold(stored, source.passed)
        if out.passed != Passed(part.size, part.sha256):
            raise VerificationFailed(f"{path} holds other content than the inventory says", AGAIN)

    def inventory(self) -> Inventory:
        """What the parts are. Raises VerificationFailed, also when this program is too old to read it."""
        stored = self._stored.get(self.manifest.inventory)
        if stored is None or self._identity is None:
            raise VerificationFailed("the inventory is not in the backup", "take another backup")
        content = io.BytesIO()
        path = self._vault.path(stored.name)
        with self._opened(stored.name) as file:
            source = Reading(file)
            unseal(source, Writing(content), self._identity, str(path))
        self._hold(stored, source.passed)
        try:
            read = Inventory.model_validate_json(content.getvalue())
        except ValidationError as error:
            raise VerificationFailed(f"the inventory cannot be read: {error.errors()[0]['msg']}",
                                     "take the program of the version that the manifest names") from error  # fmt: skip
        if read.format > FORMAT:
            raise VerificationFailed(f"the inventory has format {read.format}, this program reads {FORMAT}",
                                     f"take version {self.manifest.version} or later")  # fmt: skip
        return read

    def _opened(self, name: str) -> io.BufferedReader:
        path = self._vault.path(name)
        try:
            return path.open("rb")
        except FileNotFoundError:
            raise VerificationFailed(f"the part {path} is missing", AGAIN.partition("; or ")[2]) from None

    def _hold(self, part: Stored, found: Passed) -> None:
        if found != Passed(part.size, part.sha256):
            raise VerificationFailed(f"{self._vault.path(part.name)} is damaged", AGAIN)


def whole(path: Path, part: Part) -> bool:
    """Is a file already what a part holds?"""
    if not path.is_file() or path.stat().st_size != part.size:
        return False
    with path.open("rb") as file:
        reading = Reading(file)
        while reading.read(PIECE):
            pass
    return reading.passed.sha256 == part.sha256
