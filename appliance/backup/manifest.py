"""What a backup says of itself: the manifest in clear, without a name of anything, and the sealed inventory."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from appliance.work import Noun

FORMAT = 1
"""Raised when older programs could not read what newer ones write."""


class Stored(Noun):
    """A sealed part in the backup folder: its name, bytes, and the SHA-256 of the sealed bytes."""

    name: str = Field(pattern="^[0-9a-f]{64}$")
    size: int
    sha256: str


class Manifest(Noun):
    """One backup, readable by whoever can read the folder: it names no file, repository or person."""

    format: int = FORMAT
    name: str = Field(pattern=r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$")
    created: datetime
    version: str = Field(description="of the program that made it")
    revision: str = Field(description="of the ledger's tables")
    recipients: tuple[str, ...] = Field(description="public keys; the private key of any opens it")
    events: int = Field(description="in the ledger's audit chain")
    content_bytes: int = Field(description="of everything it holds, unsealed")
    written_bytes: int = Field(description="of the parts that were new with it, sealed")
    seconds: float
    models: bool = Field(description="whether the models are in it")
    lacking: int = Field(0, description="repositories that could not be read; the inventory names them")
    inventory: str = Field(description="name of the part that tells what the others are")
    parts: tuple[Stored, ...]

    def part(self, name: str) -> Stored | None:
        """The stored part of a name."""
        return next((one for one in self.parts if one.name == name), None)

    @property
    def size(self) -> int:
        """Bytes of all its parts, those shared with other backups included."""
        return sum(one.size for one in self.parts)


class Part(Noun):
    """What a stored part holds: its name, and bytes and SHA-256 unsealed."""

    name: str
    size: int
    sha256: str


class File(Noun):
    """A file: its path in the home, permissions, and content."""

    path: str
    mode: int
    content: Part


class Repository(Noun):
    """A bare git repository: its packs in the order they came, and every reference. Its other files are files."""

    path: str
    packs: tuple[Part, ...]
    refs: dict[str, str] = Field(description="name → object id")


class Rows(Noun):
    """A table's rows: how many, and a SHA-256 over them."""

    count: int
    sha256: str


class Books(Noun):
    """What the ledger held, to be found again in what is restored."""

    revision: str
    events: int
    tip: str
    tables: dict[str, Rows]


class Inventory(Noun):
    """Everything a backup holds."""

    format: int = FORMAT
    home: str = Field(description="where the home lay")
    ledger: Part
    books: Books
    files: tuple[File, ...]
    repositories: tuple[Repository, ...]
    lacking: tuple[str, ...] = Field((), description="repositories that could not be read, and why")
    outside: tuple[str, ...] = Field((), description="files that settings name outside the home: not in it")
