"""The signed list of a medium's files, and whether this box may take that medium: pure functions over bytes.

The text has one spelling only (sorted, compact JSON), so equal content is equal bytes, and bytes that say the same in
another way are refused. Nothing here reads a clock or a file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from installer.errors import Refused

FORMAT = 1
MOST_FILES = 20_000
MOST_BYTES = 2 << 40
"""Of one medium, 2 TiB: what a manifest may ask this machine to read."""
LONGEST = 16 << 20
"""Bytes of a manifest."""
LARGEST_FILE = (4 << 30) - 1
"""Bytes; FAT32 holds no larger file."""
TAMPERED = "do not install from this medium; have it made and carried again"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_VERSION = re.compile(r"\d{1,6}\.\d{1,6}\.\d{1,6}(?:[a-z0-9.+-]{0,40})")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """One file: its path below the medium's folder (`a/b`), its bytes, its SHA-256 in hexadecimal."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """What a medium is. `built` is the commit's time (seconds since the epoch) and orders releases."""

    version: str
    built: int
    arch: str
    python: str
    processor: tuple[str, ...]
    files: tuple[Entry, ...]

    @property
    def release(self) -> str:
        """The name of the release's folder."""
        return f"{self.version}-{self.built}"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)

    def below(self, folder: str) -> tuple[Entry, ...]:
        """The files in one folder of the medium."""
        return tuple(entry for entry in self.files if entry.path.startswith(folder + "/"))


@dataclass(frozen=True)
class Accepted:
    """What a box took last: whose signature, which release, and the digest of its manifest."""

    fingerprint: str
    built: int
    digest: str


@dataclass(frozen=True)
class Decision:
    """Whether the medium may be taken, why, and what to tell the person all the same."""

    kind: Literal["install", "upgrade", "same", "refused"]
    reason: str
    warning: str = ""


def digest(raw: bytes) -> str:
    """The SHA-256 of a manifest's bytes, in hexadecimal."""
    return hashlib.sha256(raw).hexdigest()


def encoded(manifest: Manifest) -> bytes:
    """The one spelling of a manifest."""
    return _spelled({"format": FORMAT, **asdict(manifest)})


def parse(raw: bytes) -> Manifest:
    """Read a manifest whose signature held.

    Raises:
        Refused: it is too long, not spelled as `encoded` does, or holds a value or path that no build writes.
    """
    if len(raw) > LONGEST:
        raise _refused(f"is longer than {LONGEST >> 20} MiB")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _refused("is not JSON") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise Refused(f"the manifest has no format {FORMAT}", "use the installer that came with this medium")
    if _spelled(found) != raw:
        raise _refused("is spelled in another way than a build spells it")
    if set(found) != {"format", "version", "built", "arch", "python", "processor", "files"}:
        raise _refused("has other fields than a build writes")
    return Manifest(
        version=_text(found["version"], _VERSION, "version"),
        built=_whole(found["built"], 1 << 40, "built"),
        arch=_text(found["arch"], _NAME, "arch"),
        python=_text(found["python"], re.compile(r"3\.\d{1,2}"), "python"),
        processor=tuple(_text(word, _NAME, "processor") for word in _list(found["processor"], 100)),
        files=_entries(_list(found["files"], MOST_FILES)),
    )


def decide(manifest: Manifest, raw: bytes, fingerprint: str, accepted: Accepted | None, now: float) -> Decision:
    """Whether a box that last took `accepted` may take this manifest (whose signature by `fingerprint` held).

    The clock decides nothing, since it may be wrong by years in a closed network: it only warns.

    Args:
        now: seconds since the epoch.
    """
    warning = ""
    if now < manifest.built:
        warning = "this machine's clock is before the release was made; set it, certificates are judged by it"
    if accepted is None:
        return Decision("install", "no release was installed here before", warning)
    if accepted.fingerprint != fingerprint:
        return Decision("refused", "this box took releases of another key before; keys are changed by a new install")
    if manifest.built < accepted.built:
        return Decision("refused", "the medium is older than what this box runs or ran; to go back use `rollback`")
    if manifest.built > accepted.built:
        return Decision("upgrade", "the medium is newer than what this box runs", warning)
    if digest(raw) != accepted.digest:
        return Decision("refused", "the medium claims to be the release this box runs, with other content")
    return Decision("same", "the medium is the release this box runs; the same command mends an install", warning)


def _spelled(found: dict[str, Any]) -> bytes:
    return (json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=True) + "\n").encode("ascii")


def _entries(found: Sequence[Any]) -> tuple[Entry, ...]:
    entries = []
    for one in found:
        if not isinstance(one, dict) or set(one) != {"path", "sha256", "size"}:
            raise _refused("lists a file in another way than a build does")
        path = one["path"]
        if not isinstance(path, str) or not all(_NAME.fullmatch(part) for part in path.split("/")):
            raise _refused(f"names the path {str(path)[:80]!r}, which a build never does")
        size = _whole(one["size"], LARGEST_FILE, "size")
        entries.append(Entry(path, _text(one["sha256"], _DIGEST, "sha256"), size))
    names = [entry.path for entry in entries]
    if names != sorted(set(names)):
        raise _refused("names a file twice, or its files are out of order")
    if len({name.casefold() for name in names}) != len(names):
        raise _refused("has names that differ by capital letters alone")
    if sum(entry.size for entry in entries) > MOST_BYTES:
        raise _refused(f"asks for more than {MOST_BYTES >> 40} TiB")
    return tuple(entries)


def _text(found: object, pattern: re.Pattern[str], field: str) -> str:
    if not isinstance(found, str) or not pattern.fullmatch(found):
        raise _refused(f"has no usable `{field}`")
    return found


def _whole(found: object, most: int, field: str) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= most:
        raise _refused(f"has no usable `{field}`")
    return found


def _list(found: object, most: int) -> Sequence[Any]:
    if not isinstance(found, list) or len(found) > most:
        raise _refused(f"has a list that is none, or longer than {most}")
    return found


def _refused(what: str) -> Refused:
    return Refused(f"the manifest {what}", TAMPERED)
