"""Deploy keys: one Ed25519 key for each repository, made on the box; its private half never leaves `secrets/`."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from appliance.errors import NotFound
from appliance.private import replace_private


def private_file(secrets: Path, name: str) -> Path:
    """Where a repository's private key lies."""
    return secrets / f"ssh-{name}"


def public_line(secrets: Path, name: str) -> str:
    """The line to add on the server. Raises NotFound when the repository has no key."""
    file = _public_file(secrets, name)
    if not file.exists():
        raise NotFound(f"{name} has no deploy key", f"`appliance repo key {name} --rotate` makes one")
    return file.read_text(encoding="ascii").strip()


def ensure(secrets: Path, name: str) -> str:
    """The line to add on the server; the key is made when there is none."""
    if private_file(secrets, name).exists() and _public_file(secrets, name).exists():
        return public_line(secrets, name)
    return make(secrets, name)


def make(secrets: Path, name: str) -> str:
    """Make a key, in place of the one there is; the line to add on the server."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    line = f"{public} appliance-{name}"
    replace_private(private_file(secrets, name), private)
    replace_private(_public_file(secrets, name), f"{line}\n".encode("ascii"))
    return line


def remove(secrets: Path, name: str) -> None:
    """Forget a repository's key, if it has one."""
    private_file(secrets, name).unlink(missing_ok=True)
    _public_file(secrets, name).unlink(missing_ok=True)


def _public_file(secrets: Path, name: str) -> Path:
    return secrets / f"ssh-{name}.pub"
