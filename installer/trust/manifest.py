"""What a medium holds: the files that its targets metadata lists, and which of them are parts of larger ones.

Pure: reads no file and no clock. Paths are such that none leads outside, whatever file system the medium has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from installer.trust.metadata import HEX_32, SPECIFICATION, listed, refused, stamp, text, whole

FORMAT = 2
KINDS = ("release", "import")
MOST_FILES = 20_000
MOST_BYTES = 2 << 40
"""Of one medium, 2 TiB: what a manifest may ask this machine to read."""
CHUNK = 64 << 20
"""Bytes, 64 MiB: what is held to a digest of its own, so that a copy cut short goes on where it was."""
PART = 63 * CHUNK
"""Bytes of a part of a larger file, a little less than 4 GiB: FAT32 holds no file of 4 GiB."""
GOOD_FOR = 10 * 365 * 86_400
"""Seconds that a release says it is good for. Long, since nobody in a closed network can fetch another tomorrow."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_VERSION = re.compile(r"\d{1,6}\.\d{1,6}\.\d{1,6}(?:[a-z0-9.+-]{0,40})")
_PYTHON = re.compile(r"3\.\d{1,2}|any")


@dataclass(frozen=True)
class Entry:
    """One file: its path below the medium's folder (`a/b`), its bytes, its SHA-256 in hexadecimal.

    A file of more than CHUNK bytes has the digest of each CHUNK as well, the last one shorter.
    """

    path: str
    sha256: str
    size: int
    chunks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Joined:
    """A file that lies on the medium in parts (paths, in order), and what it is once they are joined."""

    path: str
    sha256: str
    size: int
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Base:
    """The release that the target has already, which brings what this medium leaves out."""

    release: str
    digest: str


@dataclass(frozen=True)
class Manifest:
    """What a medium is. `built` (seconds since the epoch; of a release its commit's time) orders media.

    `kind` is `release`, or `import` for what a box takes in while it runs (models, mirrors, …). Of the `files` those in
    `absent` are not on the medium: it is a delta to `base`.
    """

    version: str
    built: int
    arch: str
    python: str
    processor: tuple[str, ...]
    files: tuple[Entry, ...]
    kind: str = "release"
    joined: tuple[Joined, ...] = ()
    base: Base | None = None
    absent: frozenset[str] = frozenset()

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


def targets_of(manifest: Manifest) -> dict[str, Any]:
    """The targets metadata of a manifest, to be signed."""
    base = manifest.base
    return {
        "_type": "targets",
        "spec_version": SPECIFICATION,
        "version": manifest.built,
        "expires": stamp(manifest.built + GOOD_FOR),
        "targets": {entry.path: _target(entry) for entry in manifest.files},
        "appliance": {
            "format": FORMAT,
            "kind": manifest.kind,
            "version": manifest.version,
            "arch": manifest.arch,
            "python": manifest.python,
            "processor": list(manifest.processor),
            "joined": [
                {"path": one.path, "sha256": one.sha256, "size": one.size, "parts": list(one.parts)}
                for one in manifest.joined
            ],
            "base": {"release": base.release, "digest": base.digest} if base else {},
            "absent": sorted(manifest.absent),
        },
    }


def manifest_of(signed: Mapping[str, Any]) -> Manifest:
    """Read targets metadata whose signatures held.

    Raises:
        Refused: it holds a value or path that no build writes.
    """
    if set(signed) != {"_type", "appliance", "expires", "spec_version", "targets", "version"}:
        raise refused("targets", "has other fields than a build writes")
    told, targets = signed["appliance"], signed["targets"]
    wanted = {"format", "kind", "version", "arch", "python", "processor", "joined", "base", "absent"}
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise refused("targets", f"has no format {FORMAT}: use the installer that came with this medium")
    if set(told) != wanted or told["kind"] not in KINDS or not isinstance(targets, dict) or len(targets) > MOST_FILES:
        raise refused("targets", "has other fields than a build writes")
    files = _entries(targets)
    return Manifest(
        version=_text(told["version"], _VERSION, "version"),
        built=signed["version"],
        arch=_text(told["arch"], NAME, "arch"),
        python=_text(told["python"], _PYTHON, "python"),
        processor=tuple(_text(word, NAME, "processor") for word in listed(told["processor"], 100, "targets")),
        files=files,
        kind=told["kind"],
        joined=_joined(told["joined"], {entry.path: entry for entry in files}),
        base=_base(told["base"]),
        absent=_absent(told, {entry.path for entry in files}),
    )


def _target(entry: Entry) -> dict[str, Any]:
    custom = {"custom": {"chunks": list(entry.chunks)}} if entry.chunks else {}
    return {"length": entry.size, "hashes": {"sha256": entry.sha256}, **custom}


def _entries(targets: Mapping[str, Any]) -> tuple[Entry, ...]:
    entries = []
    for path in sorted(targets):
        found = targets[path]
        if not isinstance(found, dict) or set(found) - {"custom"} != {"hashes", "length"}:
            raise refused("targets", "lists a file in another way than a build does")
        if not isinstance(found["hashes"], dict) or set(found["hashes"]) != {"sha256"}:
            raise refused("targets", "lists a file in another way than a build does")
        size = whole(found["length"], PART, "targets", "length")
        digest = _text(found["hashes"]["sha256"], HEX_32, "sha256")
        entries.append(Entry(_path(path), digest, size, _chunks(found, size)))
    if len({entry.path.casefold() for entry in entries}) != len(entries):
        raise refused("targets", "has names that differ by capital letters alone")
    if sum(entry.size for entry in entries) > MOST_BYTES:
        raise refused("targets", f"asks for more than {MOST_BYTES >> 40} TiB")
    return tuple(entries)


def _chunks(found: Mapping[str, Any], size: int) -> tuple[str, ...]:
    if size <= CHUNK and "custom" not in found:
        return ()
    custom = found.get("custom")
    if not isinstance(custom, dict) or set(custom) != {"chunks"} or size <= CHUNK:
        raise refused("targets", "lists a file in another way than a build does")
    chunks = tuple(_text(one, HEX_32, "chunks") for one in listed(custom["chunks"], PART // CHUNK, "targets"))
    if len(chunks) != -(-size // CHUNK):
        raise refused("targets", "has another number of digests than a file has chunks")
    return chunks


def _joined(found: object, files: Mapping[str, Entry]) -> tuple[Joined, ...]:
    made: list[Joined] = []
    used: set[str] = set()
    for one in listed(found, MOST_FILES, "targets"):
        if not isinstance(one, dict) or set(one) != {"parts", "path", "sha256", "size"}:
            raise refused("targets", "joins a file in another way than a build does")
        parts = tuple(_path(part) for part in listed(one["parts"], MOST_FILES, "targets"))
        if not parts or not set(parts) <= set(files) or used & set(parts) or len(set(parts)) != len(parts):
            raise refused("targets", "joins parts that are not there, or the same twice")
        used |= set(parts)
        size = whole(one["size"], MOST_BYTES, "targets", "size")
        if size != sum(files[part].size for part in parts):
            raise refused("targets", "joins parts to another size than they have")
        made.append(Joined(_path(one["path"]), _text(one["sha256"], HEX_32, "sha256"), size, parts))
    names = {name.casefold() for name in files} | {one.path.casefold() for one in made}
    if len(names) != len(files) + len(made):
        raise refused("targets", "joins a file to a name that is taken")
    return tuple(made)


def _base(found: object) -> Base | None:
    if found == {}:
        return None
    if not isinstance(found, dict) or set(found) != {"digest", "release"}:
        raise refused("targets", "names no usable release as its base")
    return Base(_text(found["release"], NAME, "base"), _text(found["digest"], HEX_32, "base"))


def _absent(told: Mapping[str, Any], files: set[str]) -> frozenset[str]:
    names = listed(told["absent"], MOST_FILES, "targets")
    if not all(isinstance(name, str) and name in files for name in names) or list(names) != sorted(set(names)):
        raise refused("targets", "leaves out files that it does not list")
    if names and not told["base"]:
        raise refused("targets", "leaves out files without a release that has them")
    return frozenset(names)


def _path(found: object) -> str:
    if not isinstance(found, str) or not all(NAME.fullmatch(part) for part in found.split("/")):
        raise refused("targets", f"names the path {str(found)[:80]!r}, which a build never does")
    return found


def _text(found: object, pattern: re.Pattern[str], field: str) -> str:
    return text(found, pattern, "targets", field)
