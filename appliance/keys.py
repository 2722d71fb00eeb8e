"""The box's keys as any of its doors knows them: what one opens, and whether it still does.

Who makes them and what else they say (terms, limits) is for `inference/keys.py`, which writes the file. A door that
knows of repositories alone reads the part that is here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from appliance.errors import VerificationFailed
from appliance.work import Noun, utcnow

SCOPES = ("infer", "route")
"""What a key opens unless something else is asked for: `infer` lists and calls models, `route` asks for the router's
decision alone."""

READ = "git"
"""The scope that reads mirrors."""


class Key(Noun):
    """One key, without its token. What a door does not know of is left out when it is read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the token")
    scopes: tuple[str, ...] = SCOPES
    repositories: tuple[str, ...] = Field((), description="those it may read, as patterns; none stands for every one")
    created: datetime = Field(default_factory=utcnow)
    expires: datetime | None = None
    revoked: datetime | None = None

    def dead(self, now: datetime) -> str:
        """Why the key opens nothing any more; empty while it does."""
        if self.revoked:
            return f"key {self.name!r} was revoked"
        return f"key {self.name!r} has expired" if self.expires and now >= self.expires else ""

    def reads(self, repository: str) -> bool:
        """May it read this repository?"""
        allowed = not self.repositories or any(fnmatchcase(repository, one) for one in self.repositories)
        return READ in self.scopes and allowed


AnyKey = TypeVar("AnyKey", bound=Key)


class KeyRing(Generic[AnyKey]):
    """Keys as they were read once; answers without touching the disk."""

    def __init__(self, keys: Iterable[AnyKey]) -> None:
        self._keys = tuple((bytes.fromhex(key.sha256), key) for key in keys)

    def find(self, token: str) -> AnyKey | None:
        """The key this token belongs to, dead or alive. Takes as long for every token."""
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        found = None
        for known, key in self._keys:
            if hmac.compare_digest(known, digest):
                found = key
        return found


class _KeyFile(Noun):
    keys: tuple[Key, ...] = ()


def ring(file: Path) -> KeyRing[Key]:
    """The keys in `secrets/keys.json` as they are now. Raises VerificationFailed when the file is damaged."""
    try:
        return KeyRing(_KeyFile.model_validate_json(file.read_bytes()).keys)
    except FileNotFoundError:
        return KeyRing(())
    except (OSError, ValidationError) as error:
        raise VerificationFailed(
            f"cannot use the keys in {file}: {error}", "restore it from a backup, or remove it and make new keys"
        ) from error
