"""Keys to the gateway. A token is shown once, when it is made; the box keeps only its SHA-256.

`secrets/keys.json` is replaced atomically under a file lock, so that a command and a running gateway never see half a
file. The gateway looks at the file's identity before every request: a revoked key is refused at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from pydantic import ConfigDict, Field, ValidationError

from appliance import keys
from appliance.errors import Conflict, NotFound, UsageError, VerificationFailed
from appliance.keys import READ, SCOPES, KeyRing
from appliance.private import replace_private
from appliance.work import Noun, utcnow
from inference.limits import Limits, Priority

PREFIX = "apl_"
ALL_SCOPES = (*SCOPES, READ)


class Terms(Noun):
    """What a key may be used for, and how much. Empty lists stand for everything."""

    models: tuple[str, ...] = Field((), description="model ids it may call, as patterns like coder-*")
    tasks: tuple[str, ...] = Field((), description="tasks its calls may have")
    routes: tuple[str, ...] = Field((), description="rules its calls may go by, as patterns of their names")
    team: str = ""
    priority: Priority = Priority.INTERACTIVE
    limits: Limits = Limits()


class Key(keys.Key):
    """One key, without its token, with its terms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    terms: Terms = Terms()


class KeyFile(Noun):
    """The file's whole content."""

    keys: tuple[Key, ...] = ()


class KeyStore:
    """The keys in a home's `secrets/keys.json`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.folder = file.parent

    def list(self) -> tuple[Key, ...]:
        """All keys, the revoked ones too. Raises VerificationFailed when the file is damaged."""
        try:
            return KeyFile.model_validate_json(self.file.read_bytes()).keys
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            raise VerificationFailed(
                f"cannot use the keys in {self.file}: {error}",
                "restore it from a backup, or remove it and make new keys",
            ) from error

    def create(
        self,
        name: str,
        expires_days: float | None = None,
        scopes: tuple[str, ...] = SCOPES,
        terms: Terms | None = None,
        repositories: tuple[str, ...] = (),
    ) -> tuple[Key, str]:
        """Make a key; returns it with its token, which nobody can show again.

        Raises:
            UsageError: an empty name, an unknown scope, or an expiry that is not in the future.
            Conflict: a living key has this name.
        """
        token = PREFIX + secrets.token_urlsafe(32)
        made = _made(name, token, expires_days, scopes, terms or Terms()).with_(repositories=repositories)
        return self._add(made, expires_days), token

    def find(self, name_or_id: str) -> Key:
        """The key that is not revoked with this name or id. Raises NotFound."""
        living = [key for key in self.list() if name_or_id in (key.id, key.name) and not key.revoked]
        if not living:
            raise NotFound(f"no living key is named {name_or_id!r}", "`appliance key list` shows all keys")
        return living[0]

    def revoke(self, name_or_id: str) -> Key:
        """Make a key useless from now on. Raises NotFound when no living key has this name or id."""
        return self.change(name_or_id, lambda key: key.with_(revoked=utcnow()))

    def change(self, name_or_id: str, new: Callable[[Key], Key]) -> Key:
        """Replace a key by what `new` makes of it; the gateway goes by it from its next call on. Raises NotFound."""
        with self._locked():
            changed = new(self.find(name_or_id))
            self._write(tuple(changed if key.id == changed.id else key for key in self.list()))
            return changed

    def ensure(
        self, name: str, file: Path | None = None, scopes: tuple[str, ...] = SCOPES, terms: Terms | None = None
    ) -> str:
        """The token of the box's own key `name`, kept in `secrets/NAME.key` (0600); made when missing or dead.

        `terms` are those of the first; a later one keeps what a person has made of them.
        """
        file = file or self.folder / f"{name}.key"
        with self._locked():
            token = file.read_text(encoding="ascii").strip() if file.exists() else ""
            key = KeyRing(self.list()).find(token) if token else None
            if key and not key.dead(utcnow()):
                return token
            token = PREFIX + secrets.token_urlsafe(32)
            replace_private(file, (token + "\n").encode("ascii"))
            keys = self.list()
            terms = next((key.terms for key in reversed(keys) if key.name == name), terms or Terms())
            self._write((*(_retired(key, name) for key in keys), _made(name, token, None, scopes, terms)))
            return token

    def _add(self, made: Key, expires_days: float | None) -> Key:
        if not made.name.strip():
            raise UsageError("a key needs a name", "`appliance key create NAME`")
        unknown = [scope for scope in made.scopes if scope not in ALL_SCOPES]
        if unknown or not made.scopes:
            raise UsageError(f"unknown scope {', '.join(unknown) or '(none)'}", f"scopes are {', '.join(ALL_SCOPES)}")
        if expires_days is not None and expires_days <= 0:
            raise UsageError("a key must expire in the future", "give --expires a number of days above zero")
        with self._locked():
            known = self.list()
            if any(key.name == made.name and not key.dead(utcnow()) for key in known):
                raise Conflict(f"a key named {made.name!r} exists", "revoke it first, or choose another name")
            self._write((*known, made))
        return made

    def _write(self, keys: tuple[Key, ...]) -> None:
        body = {"keys": [key.model_dump(mode="json") for key in keys]}
        replace_private(self.file, json.dumps(body, indent=1).encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, across processes; the lock goes with the process that holds it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.folder / "keys.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _made(name: str, token: str, expires_days: float | None, scopes: tuple[str, ...], terms: Terms) -> Key:
    now = utcnow()
    return Key(
        id=secrets.token_hex(4),
        name=name,
        sha256=hashlib.sha256(token.encode()).hexdigest(),
        scopes=scopes,
        created=now,
        expires=now + timedelta(days=expires_days) if expires_days is not None else None,
        terms=terms,
    )


def _retired(key: Key, name: str) -> Key:
    """The key, revoked if it bears the name that a new one takes over."""
    return key.with_(revoked=utcnow()) if key.name == name and not key.revoked else key
