"""From what a box trusts already, or a fingerprint typed by hand, to a medium's manifest: pure functions over bytes.

The order is that of The Update Framework's client (specification 1.0, section 5.3 to 5.6): each newer root is held to
the root before it and to itself, then timestamp, snapshot and targets to the newest root. Two things differ, since a
closed network has no other way to be told of a mistake:

- Nothing expires into refusal. The clock there may be wrong by years, so what `expires` says is a warning.
- Timestamp, snapshot and targets carry one version, the release's time. So parts of two media never fit together, and
  the one number that a box remembers cannot be run up by whoever has the lesser keys alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from installer.errors import Refused
from installer.trust import metadata
from installer.trust.manifest import Manifest, manifest_of
from installer.trust.metadata import TAMPERED, Envelope, Holds, Root, expiry, held, opened, refused, root_of

MOST_ROOTS = 1_000


@dataclass(frozen=True)
class Papers:
    """The metadata files of a medium: every root by its version, and the three that change with each release."""

    roots: Mapping[int, bytes]
    timestamp: bytes
    snapshot: bytes
    targets: bytes


@dataclass(frozen=True)
class Accepted:
    """What a box took last: the root it trusts (its file's text), which release, and the digest of its signed list.

    `imports` has, for each kind of thing that import media bring, when the newest one taken was made.
    """

    root: str
    built: int
    digest: str
    imports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Trusted:
    """A medium whose signatures held: what it is, the digest of its signed list, and the root in force with it."""

    manifest: Manifest
    digest: str
    root: str
    warnings: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the newest root."""
        return fingerprint(self.root.encode("ascii"))


@dataclass(frozen=True)
class Decision:
    """Whether the medium may be taken, and why."""

    kind: Literal["install", "upgrade", "same", "refused"]
    reason: str


def fingerprint(root: bytes) -> str:
    """What is told by another way than the medium: the SHA-256 of a root's file, as `sha256sum` prints it."""
    return hashlib.sha256(root).hexdigest()


def same(typed: str, found: str) -> bool:
    """Whether a fingerprint typed by hand, with any spaces, colons and capitals, is the one found."""
    return re.sub(r"[\s:]", "", typed).lower() == found


def follow(papers: Papers, typed: str, accepted: Accepted | None, now: float, holds: Holds) -> Trusted:
    """Judge a medium's metadata.

    Args:
        typed: the fingerprint of any root on the medium; may be empty where the box trusts a root already.
        accepted: what this box took last; None on a fresh machine.
        now: seconds since the epoch, for warnings.

    Raises:
        Refused: the fingerprint is another's, too few signed, a version is missing or another's, or a file was changed.
    """
    root, envelope = _newest_root(papers, typed, accepted, holds)
    timestamp = _opened(papers.timestamp, "timestamp", root, holds)
    snapshot = _opened(papers.snapshot, "snapshot", root, holds)
    targets = _opened(papers.targets, "targets", root, holds)
    version = timestamp.signed["version"]
    exact = {"hashes": {"sha256": fingerprint(papers.snapshot)}, "length": len(papers.snapshot), "version": version}
    _names(timestamp, "timestamp", {"snapshot.json": exact})
    _names(snapshot, "snapshot", {"targets.json": {"version": version}})
    if {snapshot.signed["version"], targets.signed["version"]} != {version}:
        raise Refused("the medium's metadata are of several releases", TAMPERED)
    parts = {"root": envelope, "timestamp": timestamp, "snapshot": snapshot, "targets": targets}
    return Trusted(manifest_of(targets.signed), targets.digest, _text(envelope), _warnings(parts, now))


def decide(medium: Trusted, accepted: Accepted | None) -> Decision:
    """Whether a box that last took `accepted` may take this release."""
    manifest = medium.manifest
    if manifest.kind != "release":
        return Decision("refused", "the medium brings no release but things to import: use `import`")
    if accepted is None:
        return Decision("install", "no release was installed here before")
    if manifest.built < accepted.built:
        return Decision("refused", "the medium is older than what this box runs or ran; to go back use `rollback`")
    if manifest.built > accepted.built:
        return Decision("upgrade", "the medium is newer than what this box runs")
    if medium.digest != accepted.digest:
        return Decision("refused", "the medium claims to be the release this box runs, with other content")
    return Decision("same", "the medium is the release this box runs; the same command mends an install")


def took(medium: Trusted, accepted: Accepted | None) -> Accepted:
    """The record after a release was taken; it is kept only once the release was healthy."""
    return Accepted(medium.root, medium.manifest.built, medium.digest, accepted.imports if accepted else {})


def _newest_root(papers: Papers, typed: str, accepted: Accepted | None, holds: Holds) -> tuple[Root, Envelope]:
    envelope = _first_root(papers, typed, accepted)
    root = root_of(envelope)
    while (raw := papers.roots.get(root.version + 1)) is not None:
        envelope = opened(raw, "root")
        newer = root_of(envelope)
        if newer.version != root.version + 1:
            raise Refused(f"{root.version + 1}.root.json says that it is version {newer.version}", TAMPERED)
        held(envelope, "root", (root, newer), "root", holds)
        root = newer
    if papers.roots and max(papers.roots) > root.version:
        raise Refused(f"the medium lacks {root.version + 1}.root.json", "have it made again with all roots")
    return root, envelope


def _first_root(papers: Papers, typed: str, accepted: Accepted | None) -> Envelope:
    """The root that is trusted before the medium is read: the box's own, or the one whose digest was typed.

    Its signatures are not judged: the digest is over them, too.
    """
    if not typed and accepted is None:
        raise Refused("no fingerprint was typed, and this box trusts nothing yet", "run install.sh --fingerprint HEX")
    prints = {fingerprint(raw): number for number, raw in papers.roots.items()}
    known = {**prints, fingerprint(accepted.root.encode()): 0} if accepted else prints
    if typed and not any(same(typed, one) for one in known):
        newest = fingerprint(papers.roots[max(papers.roots)]) if papers.roots else "no root"
        raise Refused(
            f"the medium's keys have the fingerprint {newest}, not the one you typed",
            "compare it with whoever sent the medium; after a rotation of keys there is a new one",
        )
    if accepted is None:
        number = next(prints[one] for one in prints if same(typed, one))
        envelope = opened(papers.roots[number], "root")
    else:
        envelope = opened(accepted.root.encode("ascii"), "root")
        number = envelope.signed["version"]
        other = papers.roots.get(number)
        if other is not None and opened(other, "root").digest != envelope.digest:
            raise Refused(f"the medium has other keys under {number}.root.json than this box trusts", TAMPERED)
    if envelope.signed["version"] != number:
        raise Refused(f"{number}.root.json says that it is version {envelope.signed['version']}", TAMPERED)
    return envelope


def _opened(raw: bytes, kind: str, root: Root, holds: Holds) -> Envelope:
    envelope = opened(raw, kind)
    held(envelope, kind, (root,), kind, holds)
    return envelope


def _names(envelope: Envelope, kind: str, meta: Mapping[str, Any]) -> None:
    if set(envelope.signed) != {"_type", "expires", "meta", "spec_version", "version"}:
        raise refused(kind, "has other fields than a build writes")
    if envelope.signed["meta"] != meta:
        raise Refused(f"the {kind} metadata belong to another release", TAMPERED)


def _text(envelope: Envelope) -> str:
    return metadata.sealed(envelope.signed, envelope.signatures).decode("ascii")


def _warnings(parts: Mapping[str, Envelope], now: float) -> tuple[str, ...]:
    said = []
    if now < parts["targets"].signed["version"]:
        said.append("this machine's clock is before the medium was made; set it, certificates are judged by it")
    for kind, envelope in parts.items():
        if now > expiry(envelope.signed, kind):
            until = envelope.signed["expires"]
            said.append(f"the {kind} metadata were good until {until}: the clock is wrong, or ask for a newer medium")
    return tuple(said)
