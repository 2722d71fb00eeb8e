"""The console's secrets on disk: the box's own token, the key that signs cookies, the key that seals one-time codes.

Each is made once, 0600, and never shown by a page. Whoever can read `secrets/console.token` is at home on this machine
and administrator of the box; everybody else has an account.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from appliance.config import Home
from appliance.errors import ConfigError

TOKEN_BYTES = 32
"""256 bits: cannot be guessed, however fast somebody asks."""

PLAYGROUND = "console-playground"
"""The key with which the playground asks the gateway: for answers in words, and nothing else."""

SHORTEST_SECRET = 32
"""Characters. A shorter file was cut off or written by hand; nothing may rest on it."""


def token_file(home: Home) -> Path:
    """Where the token is kept."""
    return home.secrets / "console.token"


def ensure_token(home: Home) -> str:
    """The console's token, made on first use.

    Raises:
        ConfigError: the file is unreadable, too short, or open to other users of the machine.
    """
    return _ensure(token_file(home))


def ensure_session_key(home: Home) -> str:
    """The key that signs session cookies, made on first use. Raises as `ensure_token`."""
    return _ensure(home.secrets / "console.session")


def ensure_code_key(home: Home) -> str:
    """The key that seals the secrets of one-time codes, made on first use. Raises as `ensure_token`."""
    return _ensure(home.secrets / "console.codes")


def _ensure(file: Path) -> str:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.exists():
            _create(file)
        if file.stat().st_mode & 0o077:
            raise ConfigError(f"{file} can be read by others", f"`chmod 600 {file}`, or remove it to get a new one")
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the secret {file}: {error}", "make it readable for this user alone") from error
    if len(text) < SHORTEST_SECRET:
        raise ConfigError(f"the secret {file} is too short to be one", "remove it; a new one is made at the next start")
    return text


def _create(file: Path) -> None:
    """Write a new secret so that no reader ever sees half of it and two makers agree on one."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as out:
            out.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(temporary, file)  # fails when another process was first: then its secret stands
        except FileExistsError:
            return
    finally:
        temporary.unlink()
