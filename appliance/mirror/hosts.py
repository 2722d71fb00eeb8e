"""Which ssh servers the box trusts: their keys are pinned in `secrets/known_hosts`, after somebody compared them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Unavailable, UsageError, VerificationFailed
from appliance.mirror.git import PATH
from appliance.private import replace_private

SCAN_SECONDS = 10
HOST = re.compile(r"(?!-)[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")


@dataclass(frozen=True)
class HostKey:
    """One public key that a server showed."""

    host: str
    """As known_hosts names it: `git.example`, or `[git.example]:2222` for another port than 22."""
    kind: str
    key: str

    @property
    def fingerprint(self) -> str:
        """As ssh and the forges show it: SHA256 and unpadded base64."""
        digest = hashlib.sha256(base64.b64decode(self.key)).digest()
        return f"SHA256:{base64.b64encode(digest).decode('ascii').rstrip('=')}"

    @property
    def line(self) -> str:
        """The line of known_hosts."""
        return f"{self.host} {self.kind} {self.key}"


def known_as(host: str, port: int) -> str:
    """A server's name in known_hosts. Raises UsageError for what cannot be a host."""
    if not HOST.fullmatch(host):
        raise UsageError(f"{host!r} is not the name of a host", "give a name or an address, and the port with --port")
    return host if port == 22 else f"[{host}]:{port}"


def scan(host: str, port: int) -> tuple[HostKey, ...]:
    """The keys a server shows now; nothing vouches for them yet. Raises Unavailable, UsageError."""
    name = known_as(host, port)
    command = ["ssh-keyscan", "-T", str(SCAN_SECONDS), "-p", str(port), "--", host]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=3 * SCAN_SECONDS, env={"PATH": PATH}
        )
    except FileNotFoundError as error:
        raise Unavailable("ssh is not installed", "apt-get install openssh-client") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{name} shows no host key in time", "is it up, and reachable from this box?") from error
    found = tuple(key for line in done.stdout.splitlines() if (key := _read(name, line)))
    if not found:
        raise Unavailable(f"{name} shows no host key", "is an ssh server there, and reachable from this box?")
    return found


def confirmed(keys: Sequence[HostKey], fingerprint: str) -> tuple[HostKey, ...]:
    """The keys that a fingerprint vouches for. Raises VerificationFailed when it is none of theirs."""
    chosen = tuple(key for key in keys if key.fingerprint == fingerprint)
    if not chosen:
        shown = ", ".join(f"{key.kind} {key.fingerprint}" for key in keys)
        raise VerificationFailed(
            f"{keys[0].host} does not show that key; it shows {shown}",
            "compare with the fingerprint that its administrator gives; nothing was pinned",
        )
    return chosen


def pinned(secrets: Path, name: str) -> tuple[HostKey, ...]:
    """The keys pinned for a server."""
    file = secrets / "known_hosts"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return tuple(key for line in lines if line.split(" ")[0] == name and (key := _read(name, line)))


def pin(secrets: Path, keys: Sequence[HostKey]) -> None:
    """Trust these keys of one server, in place of those pinned for it before."""
    file = secrets / "known_hosts"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    kept = [line for line in lines if line.split(" ")[0] != keys[0].host]
    replace_private(file, "".join(f"{line}\n" for line in [*kept, *(key.line for key in keys)]).encode())


def _read(name: str, line: str) -> HostKey | None:
    """A key from a line of ssh-keyscan or known_hosts; None for comments and what is no key."""
    words = line.split()
    if line.startswith("#") or len(words) < 3 or not re.fullmatch(r"[a-z0-9@.-]+", words[1]):
        return None
    try:
        base64.b64decode(words[2], validate=True)
    except binascii.Error:
        return None
    return HostKey(name, words[1], words[2])
