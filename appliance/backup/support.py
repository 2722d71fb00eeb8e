"""The support bundle: what others need to help, as texts in a tar file, with every secret taken out.

Two things take secrets out of each text: whatever stands in the home's `secrets/` is replaced wherever it occurs, and
what looks like a secret is marked by `appliance.secrets`. Before a bundle gets its name, all of it is searched again
for the former; one that is found means no bundle.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import secrets
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from pydantic import ValidationError

from appliance.config import Home
from appliance.errors import Conflict, NotFound, VerificationFailed
from appliance.secrets import redact
from appliance.work import Noun

MANIFEST = "manifest.json"
MASK = "[secret]"
SHORTEST = 8
"""Characters. What is shorter occurs by chance, and is no secret that should be one."""
LARGEST = 64 * 1024
"""Bytes of a file in `secrets/` that is looked into."""
MOST_BYTES = 256 * 1024 * 1024
"""Of a bundle's entry that is read."""
_NO_SECRET = re.compile(r"\d{4}-\d\d-\d\d[T ].*|-----.*|[a-z]+-?[a-z]*|ssh-ed25519|ecdsa-sha2-\S+")
"""Times, the lines around keys, plain words."""
_PUBLIC = ("known_hosts", "*.pub", "*.lock", "keys.json", "ca-*.pem", "root.pem", "*.anchor")
"""Files that hold no secret: `keys.json` has hashes of tokens alone."""


class Text(NamedTuple):
    """What goes in: the name, what it is, and the text as it was found."""

    name: str
    what: str
    text: str


class Entry(Noun):
    """What is in: the text's name, bytes, SHA-256, and what it is."""

    name: str
    size: int
    sha256: str
    what: str


class Contents(Noun):
    """The first file of a bundle."""

    created: datetime
    version: str
    masked: int
    """Texts from which something was taken out."""
    entries: tuple[Entry, ...]


class Mask:
    """Takes the secrets of a home out of texts."""

    def __init__(self, known: Iterable[str]) -> None:
        self.known = tuple(sorted(set(known), key=len, reverse=True))  # the longer first: one may hold another
        self._pattern = re.compile("|".join(map(re.escape, self.known))) if self.known else None

    def __call__(self, text: str) -> str:
        hidden = self._pattern.sub(MASK, text) if self._pattern else text
        return redact(hidden)[0]

    def left(self, content: bytes) -> bool:
        """Is one of the known secrets still in it?"""
        return any(one.encode() in content for one in self.known)


def secrets_of(home: Home) -> set[str]:
    """Every text in `secrets/` that must be seen nowhere, in the spellings in which it may occur."""
    found: set[str] = set()
    for file in home.secrets.rglob("*"):
        if file.is_file() and not any(file.match(one) for one in _PUBLIC) and file.stat().st_size <= LARGEST:
            found |= set(_spellings(file.read_bytes()))
    return found


def _spellings(content: bytes) -> Iterator[str]:
    texts: list[str] = []
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        texts += [content.hex(), base64.b64encode(content).decode(), base64.urlsafe_b64encode(content).decode()]
    else:
        with suppress(ValueError):
            texts += _leaves(json.loads(text))
        texts += [text.strip(), *(line.strip() for line in text.splitlines())]
        texts += [part for line in text.splitlines() for part in line.strip().partition(":")[::2]]
    for one in texts:
        if len(one) >= SHORTEST and not _NO_SECRET.fullmatch(one):
            yield from {one, quote(one, safe=""), json.dumps(one)[1:-1], base64.b64encode(one.encode()).decode()}


def _leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in _leaves(one)]
    if isinstance(value, list):
        return [leaf for one in value for leaf in _leaves(one)]
    return [value] if isinstance(value, str) else []


def write(file: Path, texts: Sequence[Text], mask: Mask, created: datetime, version: str) -> Contents:
    """Write a bundle, whole or not at all.

    Raises:
        Conflict: there is a file of that name.
        VerificationFailed: a secret would have been in it; nothing is written.
    """
    if file.exists():
        raise Conflict(f"{file} is there already", "name another file, or remove that one")
    hidden = [(one, mask(one.text).encode("utf-8", "replace")) for one in texts]
    masked = sum(content != one.text.encode("utf-8", "replace") for one, content in hidden)
    entries = tuple(
        Entry(name=one.name, size=len(content), sha256=hashlib.sha256(content).hexdigest(), what=one.what)
        for one, content in hidden
    )
    contents = Contents(created=created, version=version, masked=masked, entries=entries)
    listed = contents.model_dump_json(indent=1).encode()
    for name, content in [(MANIFEST, listed), *((one.name, content) for one, content in hidden)]:
        if mask.left(content) or mask.left(name.encode()):
            raise VerificationFailed(f"a secret would be in {name}", "report this; no bundle was written")
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as out, tarfile.open(fileobj=out, mode="w:gz") as tar:
            for name, content in [(MANIFEST, listed), *((one.name, content) for one, content in hidden)]:
                about = tarfile.TarInfo(name)
                about.size, about.mode, about.mtime = len(content), 0o644, int(created.timestamp())
                tar.addfile(about, io.BytesIO(content))
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return contents


def contents_of(file: Path) -> Contents:
    """What a bundle holds. Raises NotFound, VerificationFailed when it is none."""
    try:
        return Contents.model_validate_json(_read(file, MANIFEST))
    except ValidationError as error:
        raise VerificationFailed(f"{file} is no support bundle", "`appliance support create FILE.tar.gz`") from error


def text_in(file: Path, name: str) -> str:
    """One text of a bundle. Raises NotFound, VerificationFailed when it is not what the list says."""
    entry = next((one for one in contents_of(file).entries if one.name == name), None)
    if entry is None:
        raise NotFound(f"there is no {name!r} in {file}", f"`appliance support show {file}` lists what there is")
    content = _read(file, name)
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise VerificationFailed(f"{name} in {file} was altered", "take the file from the box again")
    return content.decode("utf-8", "replace")


def _read(file: Path, name: str) -> bytes:
    try:
        with tarfile.open(file, "r:gz") as tar:
            member = tar.getmember(name)
            opened = tar.extractfile(member) if member.isfile() and member.size <= MOST_BYTES else None
            if opened is None:
                raise VerificationFailed(f"{name} in {file} is no text", "take the file from the box again")
            return opened.read()
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {file}", "`appliance support create FILE.tar.gz` makes one") from error
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise VerificationFailed(f"{file} is no support bundle: {error}", "take it from the box again") from error
