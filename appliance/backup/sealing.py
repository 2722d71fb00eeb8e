"""Sealing with age (age-encryption.org/v1, through pyrage): for recipients whose private keys are not on the box.

Streams in blocks of a few KiB, whatever the size. What went through is hashed on both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyrage

from appliance.errors import ConfigError, UsageError, VerificationFailed

PUBLIC, PRIVATE = "age1", "AGE-SECRET-KEY-1"
"""How the two keys begin, as the age tool writes them."""

TELL_BYTES = 32 << 20


class Readable(Protocol):
    """Something bytes come from."""

    def read(self, size: int = -1, /) -> bytes: ...


class Writable(Protocol):
    """Something bytes go to."""

    def write(self, piece: bytes, /) -> int: ...


@dataclass(frozen=True)
class Passed:
    """What went through: bytes and their SHA-256."""

    size: int
    sha256: str


class Reading:
    """Hashes what is read, at most `limit` bytes: a file that others append to is read as far as it was."""

    def __init__(self, source: Readable, limit: int = -1, tell: Callable[[int], None] | None = None) -> None:
        """`tell` hears now and then how many bytes it were."""
        self._source, self._left, self._tell, self._told = source, limit, tell, 0
        self._hash = hashlib.sha256()
        self.size = 0
        self.problem: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        if self._left >= 0:
            size = self._left if size < 0 else min(size, self._left)
        try:
            piece = self._source.read(size)
        except OSError as error:
            self.problem = error  # the library tells of it in words alone
            raise
        self._left -= len(piece) if self._left >= 0 else 0
        self._hash.update(piece)
        self.size += len(piece)
        if self._tell and self.size - self._told >= TELL_BYTES:
            self._told = self.size
            self._tell(self.size)
        return piece

    @property
    def passed(self) -> Passed:
        return Passed(self.size, self._hash.hexdigest())


class Writing:
    """Hashes what is written."""

    def __init__(self, sink: Writable) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self.size = 0
        self.problem: OSError | None = None

    def write(self, piece: bytes) -> int:
        try:
            self._sink.write(piece)
        except OSError as error:
            self.problem = error
            raise
        self._hash.update(piece)
        self.size += len(piece)
        return len(piece)

    def flush(self) -> None:
        """Whoever opened the sink flushes it."""

    @property
    def passed(self) -> Passed:
        return Passed(self.size, self._hash.hexdigest())


class Nowhere:
    """Keeps nothing."""

    def write(self, piece: bytes, /) -> int:
        return len(piece)


def seal(source: Reading, sink: Writing, recipients: Sequence[pyrage.x25519.Recipient]) -> None:
    """Encrypt everything there is to read. Raises OSError as source and sink do."""
    try:
        pyrage.encrypt_io(source, sink, list(recipients))
    except pyrage.EncryptError as error:
        raise source.problem or sink.problem or error from error


def unseal(source: Reading, sink: Writing, identity: pyrage.x25519.Identity, what: str) -> None:
    """Decrypt everything there is to read.

    Raises:
        VerificationFailed: another key is needed, or the bytes are not what was sealed.
        OSError: as source and sink do.
    """
    try:
        pyrage.decrypt_io(source, sink, [identity])
    except (pyrage.DecryptError, OSError) as error:
        if problem := source.problem or sink.problem:
            raise problem from error
        if "matching key" in str(error):
            raise VerificationFailed(
                f"this private key does not open {what}", "take the key of the recipient that the manifest names"
            ) from error
        raise VerificationFailed(f"{what} is damaged: {error}", "take another copy, or an older backup") from error


def recipients_of(texts: Sequence[str]) -> list[pyrage.x25519.Recipient]:
    """The public keys that a setting names. Raises ConfigError when there is none, or one is none."""
    if not texts:
        raise ConfigError(
            "there is nobody to seal a backup for", "`appliance backup keys FILE` makes a key; carry FILE away"
        )
    try:
        return [pyrage.x25519.Recipient.from_str(text) for text in texts]
    except pyrage.RecipientError as error:
        raise ConfigError(
            f"backup.recipients names what is no public key of age: {error}", "it looks like age1… and has 62 letters"
        ) from error


def new_identity() -> tuple[str, str]:
    """A new private key and its public one, as the age tool writes them."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def identity_in(file: Path) -> pyrage.x25519.Identity:
    """The private key in a file as `backup keys` or age-keygen write it: one line, with comments around it.

    Raises:
        UsageError: it cannot be read, or holds no private key.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the private key {file} cannot be read: {error}", "name the file of `backup keys`") from error
    found = [line.strip() for line in lines if line.strip().upper().startswith(PRIVATE)]
    try:
        return pyrage.x25519.Identity.from_str(found[0])
    except (IndexError, pyrage.IdentityError):
        # the text itself is a secret, and a broken one may be nearly one: it is not shown
        raise UsageError(f"{file} holds no private key of age", f"it needs a line that begins with {PRIVATE}") from None
