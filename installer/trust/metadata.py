"""Metadata by The Update Framework (specification 1.0), read without its library: who may sign what, and how many must.

Each file is `{"signatures":[…],"signed":{…}}` in one spelling only (sorted, compact, printable ASCII, no escapes). It
is also the canonical JSON that the framework signs: what is read and what was signed are the same bytes, and bytes that
say the same in another way are refused. Pure functions; `Holds` is where a signature is judged.

Stricter than the framework: a signature that does not hold makes a file refused even where enough others do, a key is
named by the SHA-256 of its public part in DER (so that one key cannot count twice), and nothing that no build writes is
let through.
Less strict: `expires` never refuses, it is told (`installer.trust.chain`).
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from installer.errors import Refused

SPECIFICATION = "1.0.31"
ROLES = ("root", "snapshot", "targets", "timestamp")
LONGEST = 16 << 20
"""Bytes of one metadata file."""
MOST_KEYS = 32
TAMPERED = "do not install from this medium; have it made and carried again"
ED25519_DER = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of a public key in DER (RFC 8410)."""

HEX_32, HEX_64 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{128}")
UTC = "%Y-%m-%dT%H:%M:%SZ"

Holds = Callable[[str, bytes, bytes], bool]
"""Whether, for a public key (PEM) and content, a signature (64 bytes) holds."""


@dataclass(frozen=True)
class Role:
    """Whose signatures count for a kind of metadata, and how many different ones it takes."""

    keyids: tuple[str, ...]
    threshold: int


@dataclass(frozen=True)
class Root:
    """The keys (key id → 32 bytes of public key in hexadecimal) and roles in force with this version."""

    version: int
    expires: str
    keys: Mapping[str, str]
    roles: Mapping[str, Role]


@dataclass(frozen=True)
class Envelope:
    """One metadata file: the bytes that were signed, what they say, and signatures by key id."""

    signed: dict[str, Any]
    content: bytes
    signatures: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """The SHA-256 of what was signed, in hexadecimal: the same whoever signed it later."""
        return hashlib.sha256(self.content).hexdigest()


def keyid(public: str) -> str:
    """The name of a public key: the SHA-256 of its DER, as `openssl pkey -pubin -outform DER` gives it."""
    return hashlib.sha256(ED25519_DER + bytes.fromhex(public)).hexdigest()


def pem(public: str) -> str:
    """A public key as OpenSSL reads it."""
    body = base64.b64encode(ED25519_DER + bytes.fromhex(public)).decode("ascii")
    return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"


def spelled(found: object) -> bytes:
    """The one spelling."""
    return json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def sealed(signed: Mapping[str, Any], signatures: Mapping[str, bytes]) -> bytes:
    """A metadata file of what was signed, and signatures by key id."""
    marks = [{"keyid": name, "sig": signatures[name].hex()} for name in sorted(signatures)]
    return spelled({"signatures": marks, "signed": signed})


def opened(raw: bytes, kind: str) -> Envelope:
    """Read a metadata file of one kind, `root`, `targets`, `snapshot` or `timestamp`; no signature is judged yet.

    Raises:
        Refused: it is too long, not spelled as a build spells it, or of another kind.
    """
    if len(raw) > LONGEST:
        raise refused(kind, f"is longer than {LONGEST >> 20} MiB")
    if b"\\" in raw:
        raise refused(kind, "is spelled in another way than a build spells it")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise refused(kind, "is not JSON") from error
    if not isinstance(found, dict) or set(found) != {"signatures", "signed"} or not isinstance(found["signed"], dict):
        raise refused(kind, "is no signed metadata")
    if spelled(found) != raw:
        raise refused(kind, "is spelled in another way than a build spells it")
    signed = found["signed"]
    if signed.get("_type") != kind or not str(signed.get("spec_version")).startswith("1."):
        raise refused(kind, "says that it is something else")
    whole(signed.get("version"), 1 << 40, kind, "version", least=1)
    expiry(signed, kind)
    return Envelope(signed, spelled(signed), _signatures(found["signatures"], kind))


def expiry(signed: Mapping[str, Any], kind: str) -> int:
    """Until when metadata says it is good, seconds since the epoch. Raises Refused."""
    try:
        return _seconds(text(signed.get("expires"), re.compile(r"[0-9TZ:-]{20}"), kind, "expires"))
    except ValueError as error:
        raise refused(kind, "has no usable `expires`") from error


def root_of(envelope: Envelope) -> Root:
    """The keys and roles of root metadata. Raises Refused."""
    signed = envelope.signed
    if set(signed) != {"_type", "consistent_snapshot", "expires", "keys", "roles", "spec_version", "version"}:
        raise refused("root", "has other fields than a build writes")
    found, roles = signed["keys"], signed["roles"]
    if signed["consistent_snapshot"] is not False or not isinstance(found, dict) or len(found) > MOST_KEYS:
        raise refused("root", "has no usable keys")
    keys = {name: _public(name, key) for name, key in found.items()}
    if not isinstance(roles, dict) or set(roles) != set(ROLES):
        raise refused("root", "has other roles than a build writes")
    return Root(signed["version"], signed["expires"], keys, {name: _role(roles[name], keys) for name in ROLES})


def held(envelope: Envelope, kind: str, by: Sequence[Root], role: str, holds: Holds) -> None:
    """See that enough of the role's keys signed, by each of the roots `by`; every signature there must hold.

    A new root is held to the root before it and to itself; everything else to one root.

    Raises:
        Refused: too few signed, one does not hold, or it is by a key that no root names for this.
    """
    known = {name: root.keys[name] for root in by for name in root.roles[role].keyids}
    for name, mark in envelope.signatures.items():
        if name not in known:
            raise refused(kind, f"is signed with a key that may not sign it ({name[:16]}…)")
        if not holds(pem(known[name]), envelope.content, mark):
            raise refused(kind, "has a signature that does not hold")
    for root in by:
        wanted = root.roles[role]
        count = len(set(envelope.signatures) & set(wanted.keyids))
        if count < wanted.threshold:
            raise Refused(
                f"the {kind} metadata is signed by {count} of the {wanted.threshold} people it takes",
                "on the connected machine another holder of a key runs: make sign",
            )


def text(found: object, pattern: re.Pattern[str], kind: str, field: str) -> str:
    """A text that matches as a whole. Raises Refused."""
    if not isinstance(found, str) or not pattern.fullmatch(found):
        raise refused(kind, f"has no usable `{field}`")
    return found


def whole(found: object, most: int, kind: str, field: str, least: int = 0) -> int:
    """A whole number within bounds. Raises Refused."""
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
        raise refused(kind, f"has no usable `{field}`")
    return found


def listed(found: object, most: int, kind: str) -> Sequence[Any]:
    """A list of at most so many. Raises Refused."""
    if not isinstance(found, list) or len(found) > most:
        raise refused(kind, f"has a list that is none, or longer than {most}")
    return found


def refused(kind: str, what: str) -> Refused:
    """The refusal of one metadata file."""
    return Refused(f"the {kind} metadata {what}", TAMPERED)


def stamp(seconds: float) -> str:
    """A time as metadata writes it."""
    return time.strftime(UTC, time.gmtime(seconds))


def _seconds(written: str) -> int:
    return calendar.timegm(time.strptime(written, UTC))


def _signatures(found: object, kind: str) -> dict[str, bytes]:
    marks: dict[str, bytes] = {}
    for one in listed(found, MOST_KEYS, kind):
        if not isinstance(one, dict) or set(one) != {"keyid", "sig"}:
            raise refused(kind, "has a signature that no build writes")
        name = text(one["keyid"], HEX_32, kind, "keyid")
        marks[name] = bytes.fromhex(text(one["sig"], HEX_64, kind, "sig"))
    if len(marks) != len(listed(found, MOST_KEYS, kind)) or list(marks) != sorted(marks):
        raise refused(kind, "has a signature twice, or out of order")
    return marks


def _public(name: str, key: object) -> str:
    if not isinstance(key, dict) or set(key) != {"keytype", "keyval", "scheme"} or key["keytype"] != key["scheme"]:
        raise refused("root", "has a key that no build writes")
    value = key["keyval"]
    if key["scheme"] != "ed25519" or not isinstance(value, dict) or set(value) != {"public"}:
        raise refused("root", "has a key that no build writes")
    public = text(value["public"], HEX_32, "root", "public")
    if keyid(public) != name:
        raise refused("root", "names a key by another name than its own")
    return public


def _role(found: object, keys: Mapping[str, str]) -> Role:
    if not isinstance(found, dict) or set(found) != {"keyids", "threshold"}:
        raise refused("root", "has a role that no build writes")
    names = tuple(text(name, HEX_32, "root", "keyids") for name in listed(found["keyids"], MOST_KEYS, "root"))
    if list(names) != sorted(set(names)) or not set(names) <= set(keys):
        raise refused("root", "gives a role a key twice, or one it does not have")
    return Role(names, whole(found["threshold"], len(names), "root", "threshold", least=1))
