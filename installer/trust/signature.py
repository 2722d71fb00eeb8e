"""Ed25519 by stock OpenSSL 3."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from installer.errors import InstallError, Refused
from installer.trust.metadata import ED25519_DER

RAW = 32
"""Bytes of a public key without the DER around it."""


def holds(pem: str, content: bytes, mark: bytes) -> bool:
    """Whether `mark` is the signature over `content` by the private part of a public key (PEM)."""
    with tempfile.TemporaryDirectory(prefix="appliance-verify-") as folder:
        key, signed, sign_ = Path(folder) / "key", Path(folder) / "signed", Path(folder) / "mark"
        key.write_text(pem, "ascii")
        signed.write_bytes(content)
        sign_.write_bytes(mark)
        words = ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(key), "-in", str(signed)]
        return _openssl([*words, "-sigfile", str(sign_)]).returncode == 0


def public(private: Path) -> str:
    """The public part of a private key: 32 bytes in hexadecimal. Raises InstallError when it is no Ed25519 key."""
    said = _openssl(["pkey", "-in", str(private), "-pubout", "-outform", "DER"])
    if said.returncode != 0 or said.stdout[:-RAW] != ED25519_DER:
        raise InstallError(f"{private} is no private Ed25519 key", "name the folder `make keys` filled")
    return said.stdout[-RAW:].hex()


def fingerprint(key: Path) -> str:
    """The SHA-256 of a public key's DER, in hexadecimal. Raises Refused when it is no Ed25519 key."""
    said = _openssl(["pkey", "-pubin", "-in", str(key), "-outform", "DER"])
    if said.returncode != 0 or said.stdout[:-RAW] != ED25519_DER:
        raise Refused(f"{key.name} is no Ed25519 public key", "the file is damaged: take it from a backup")
    return hashlib.sha256(said.stdout).hexdigest()


def sign(file: Path, private: Path) -> bytes:
    """The signature of a file's bytes. Raises InstallError."""
    said = _openssl(["pkeyutl", "-sign", "-rawin", "-inkey", str(private), "-in", str(file)])
    if said.returncode != 0:
        raise InstallError(f"cannot sign with {private}: {_last(said.stderr)}", "name the folder `make keys` filled")
    return said.stdout


def signed(content: bytes, private: Path) -> bytes:
    """The signature of some bytes. Raises InstallError."""
    with tempfile.NamedTemporaryFile(prefix="appliance-sign-") as file:
        file.write(content)
        file.flush()
        return sign(Path(file.name), private)


def make_key(private: Path, public: Path | None = None) -> None:
    """Make a key for its owner alone, and write its public part where that is asked for. Nothing is replaced.

    Raises:
        InstallError: there is one, or OpenSSL made none.
    """
    if private.exists():
        raise InstallError(f"{private} is there already", "a key is never replaced; name another folder")
    private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    private.touch(mode=0o600)
    said = _openssl(["genpkey", "-algorithm", "ed25519", "-out", str(private)])
    private.chmod(0o600)
    if said.returncode == 0 and public is not None:
        said = _openssl(["pkey", "-in", str(private), "-pubout", "-out", str(public)])
    if said.returncode != 0:
        private.unlink()
        raise InstallError(f"OpenSSL made no key: {_last(said.stderr)}", "it needs OpenSSL 3")


def _openssl(words: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["openssl", *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"openssl does not answer: {error}", "install OpenSSL 3 (Debian: openssl)") from error


def _last(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"
