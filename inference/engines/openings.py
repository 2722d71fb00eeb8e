"""What an engine gets of the machine before it starts: a port nobody has, and files only its owner can read."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path


def write_private(file: Path, text: str) -> Path:
    """Write a file only its owner can read, whole or not at all."""
    new = file.with_name(f".{file.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    new.replace(file)
    return file


def write_key(folder: Path, id: str, key: str) -> Path:
    """Write the key of an engine to where its readers look for it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return write_private(folder / f"{id}.key", key + "\n")


def free_port() -> int:
    """A TCP port of the loopback that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
