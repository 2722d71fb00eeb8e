"""Ed25519 by stock OpenSSL 3: a key is named by the SHA-256 of its public part, which travels by another channel."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from installer.errors import InstallError, Refused

ED25519_DER = 44
"""Bytes of a public key of this kind in DER (RFC 8410)."""


def fingerprint(key: Path) -> str:
    """The SHA-256 of a public key's DER, in hexadecimal. Raises Refused when it is no Ed25519 key."""
    said = _openssl(["pkey", "-pubin", "-in", str(key), "-outform", "DER"])
    if said.returncode != 0 or len(said.stdout) != ED25519_DER:
        raise Refused(f"{key.name} is no Ed25519 public key", "the medium is damaged: have it made and carried again")
    return hashlib.sha256(said.stdout).hexdigest()


def same(typed: str, found: str) -> bool:
    """Whether a fingerprint typed by hand, with any spaces, colons and capitals, is the one found."""
    return re.sub(r"[\s:]", "", typed).lower() == found


def verify(content: bytes, signature: bytes, key: Path, what: str) -> None:
    """See that `signature` over `content` was made with the private part of `key`.

    Raises:
        Refused: it was not.
    """
    with tempfile.TemporaryDirectory(prefix="appliance-verify-") as folder:
        signed, mark = Path(folder) / "signed", Path(folder) / "mark"
        signed.write_bytes(content)
        mark.write_bytes(signature)
        words = ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(key), "-in", str(signed)]
        said = _openssl([*words, "-sigfile", str(mark)])
    if said.returncode != 0:
        raise Refused(
            f"the signature of {what} does not hold", "do not install from this; have it made and carried again"
        )


def sign(file: Path, private: Path) -> bytes:
    """The signature of a file's bytes. Raises InstallError."""
    said = _openssl(["pkeyutl", "-sign", "-rawin", "-inkey", str(private), "-in", str(file)])
    if said.returncode != 0:
        raise InstallError(f"cannot sign with {private}: {_last(said.stderr)}", "name the folder `make keys` filled")
    return said.stdout


def make_key(private: Path, public: Path) -> None:
    """Make a pair of keys; the private one is for its owner alone. Nothing is replaced. Raises InstallError."""
    if private.exists():
        raise InstallError(f"{private} is there already", "a key is never replaced; name another folder")
    private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    private.touch(mode=0o600)
    made = _openssl(["genpkey", "-algorithm", "ed25519", "-out", str(private)])
    private.chmod(0o600)
    shown = _openssl(["pkey", "-in", str(private), "-pubout", "-out", str(public)])
    if made.returncode != 0 or shown.returncode != 0:
        private.unlink()
        raise InstallError(f"OpenSSL made no key: {_last(made.stderr or shown.stderr)}", "it needs OpenSSL 3")


def _openssl(words: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["openssl", *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"openssl does not answer: {error}", "install OpenSSL 3 (Debian: openssl)") from error


def _last(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"
