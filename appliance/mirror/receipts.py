"""What goes along with a medium: a list of what it holds, signed with the box's own Ed25519 key.

A receipt proves who made a file and that it is whole. Whose receipts count is pinned for each repository, as the key of
an ssh server is: after somebody compared its fingerprint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from appliance.errors import NotFound, VerificationFailed
from appliance.private import replace_private
from appliance.work import Noun, utcnow

LONGEST = 64 * 1024 * 1024
"""Bytes of a receipt: a line for each of a million branches and tags."""
PIECE = 1024 * 1024


class Receipt(Noun):
    """What a file holds. `taken` is the answer of the box that imported it: its refs are those it has now."""

    format: Literal[1] = 1
    kind: Literal["bundle", "patches", "taken"]
    repository: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    file: str = Field(description="its name when it was made; it may be called otherwise today")
    size: int
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    head: str = Field("", description="the default branch")
    refs: Mapping[str, str] = Field(default_factory=dict, description="all branches and tags → where they stand")
    needs: tuple[str, ...] = Field((), description="commits that must be there already; of `taken`: that came")
    made: datetime = Field(default_factory=utcnow)
    key: str = Field("", description="public key of the box that made it, base64")
    signature: str = ""

    @property
    def fingerprint(self) -> str:
        """Of the key, as people compare it."""
        return fingerprint(base64.b64decode(self.key))

    @property
    def commits(self) -> set[str]:
        """What whoever has the file, or wrote the answer, has."""
        return {*self.refs.values(), *self.needs}

    @property
    def content(self) -> bytes:
        """What is signed."""
        said = self.model_dump(mode="json", exclude={"signature"})
        return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def fingerprint(public: bytes) -> str:
    """SHA256 and unpadded base64, like those of ssh."""
    return f"SHA256:{base64.b64encode(hashlib.sha256(public).digest()).decode('ascii').rstrip('=')}"


def own_key(secrets: Path) -> Ed25519PrivateKey:
    """The box's key for receipts, made on first use. Raises VerificationFailed for a file that holds none."""
    file = secrets / "media.key"
    if not file.exists():
        replace_private(file, Ed25519PrivateKey.generate().private_bytes_raw())
    try:
        return Ed25519PrivateKey.from_private_bytes(file.read_bytes())
    except ValueError as error:
        raise VerificationFailed(
            f"secrets/{file.name} holds no key", "remove it; a new one is made, and pinned anew on the other side"
        ) from error


def signed(receipt: Receipt, secrets: Path) -> Receipt:
    """The receipt with the box's key and signature."""
    key = own_key(secrets)
    named = receipt.with_(key=base64.b64encode(key.public_key().public_bytes_raw()).decode("ascii"))
    return named.with_(signature=base64.b64encode(key.sign(named.content)).decode("ascii"))


def read(file: Path) -> Receipt:
    """A receipt whose signature is that of the key it names. Raises NotFound, VerificationFailed."""
    try:
        if file.stat().st_size > LONGEST:
            raise VerificationFailed(f"{file.name} is too large for a receipt", "give the receipt, not the bundle")
        receipt = Receipt.model_validate_json(file.read_bytes())
        public = base64.b64decode(receipt.key, validate=True)
        signature = base64.b64decode(receipt.signature, validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, receipt.content)
    except FileNotFoundError as error:
        raise NotFound(f"there is no receipt {file}", "bring it along with the file, or say --unsigned") from error
    except InvalidSignature as error:
        raise VerificationFailed(
            f"the signature of {file.name} is wrong", "it was changed on its way: bring it anew; nothing was changed"
        ) from error
    except (OSError, ValidationError, ValueError, binascii.Error) as error:
        raise VerificationFailed(f"{file.name} is no receipt", "bring it anew; nothing was changed") from error
    return receipt


def check(receipt: Receipt, file: Path) -> None:
    """Is this the file, whole? Raises VerificationFailed."""
    if receipt.kind == "taken":
        raise VerificationFailed(
            "this is the answer of a box that took the file, not its receipt", "give it to `repo export --since`"
        )
    size = file.stat().st_size
    if size != receipt.size:
        raise VerificationFailed(
            f"{file.name} has {size:,} bytes, its receipt says {receipt.size:,}", "copy it again; nothing was changed"
        )
    if digest(file) != receipt.sha256:
        raise VerificationFailed(f"{file.name} is not what its receipt says", "copy it again; nothing was changed")


def digest(file: Path) -> str:
    """SHA-256 of a file of any size."""
    sum_ = hashlib.sha256()
    with file.open("rb") as content:
        while piece := content.read(PIECE):
            sum_.update(piece)
    return sum_.hexdigest()


def trust(secrets: Path, name: str, receipt: Receipt, vouched: str) -> None:
    """Does the receipt's key count for this repository? `vouched` is a fingerprint that somebody compared, "" for none.
    The box's own key always counts. Raises VerificationFailed."""
    shown = receipt.fingerprint
    if shown == vouched or base64.b64decode(receipt.key) == own_key(secrets).public_key().public_bytes_raw():
        return
    file = _pinned(secrets, name)
    known = file.read_text(encoding="ascii").strip() if file.exists() else ""
    if vouched or not known:
        raise VerificationFailed(
            f"the receipt is signed by {shown}, for which nobody vouches",
            "compare it with `appliance repo signer` on the box that made it, then repeat with --signer " + shown,
        )
    if known != receipt.key:
        raise VerificationFailed(
            f"the receipt is signed by {shown}, and not by {fingerprint(base64.b64decode(known))} as before",
            "ask whoever made it; if the key did change, repeat with --signer and its new fingerprint",
        )


def pin(secrets: Path, name: str, receipt: Receipt) -> None:
    """From now on this key counts for the repository."""
    replace_private(_pinned(secrets, name), f"{receipt.key}\n".encode("ascii"))


def forget(secrets: Path, name: str) -> None:
    """Forget whose receipts counted."""
    _pinned(secrets, name).unlink(missing_ok=True)


def _pinned(secrets: Path, name: str) -> Path:
    return secrets / f"signer-{name}.pub"
