"""What git may be given: addresses, branches, commit ids. What could be read as an option or a command is refused."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from appliance.errors import UsageError

PROTOCOLS = ("file", "ssh", "http", "https")


@dataclass(frozen=True)
class Address:
    """Where a repository is. A name and password of an http address are held apart, so that they never reach git's
    command line, its configuration files, or a message."""

    url: str
    credentials: str = field(default="", repr=False)

    @classmethod
    def read(cls, url: str) -> Self:
        """Take an address apart. Raises UsageError for what is none, or could be read as an option or a command."""
        _check(url)
        found = re.fullmatch(r"(https?://)([^/@]*)@(.+)", url, re.IGNORECASE)
        if found is None:
            return cls(url)
        return cls(found.group(1) + found.group(3), unquote(found.group(2)))

    @property
    def authorization(self) -> str:
        """The credentials as http sends them; "" without any."""
        if not self.credentials:
            return ""
        name, _, password = self.credentials.partition(":")
        return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"

    def variables(self) -> dict[str, str]:
        """The credentials as git takes them from the environment: for this address and no other."""
        if not self.credentials:
            return {}
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{self.url}.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: {self.authorization}",
        }


def ca_file(secrets: Path, name: str) -> Path:
    """Where the private CA of a repository's https server lies, if it has one: for git and the forge's API alike."""
    return secrets / f"ca-{name}.pem"


def over_ssh(url: str) -> bool:
    """Does this address lead over ssh, as ssh://… or as host:path?"""
    return url.lower().startswith("ssh://") or ("://" not in url and not url.startswith("/"))


def _check(url: str) -> None:
    """Raises UsageError."""
    remedy = f"give an address of one of the kinds {', '.join(PROTOCOLS)}, or an absolute path"
    scheme = re.match(r"([\w+.-]+)://", url)
    host = url.split("/")[0]
    if not url or url.startswith("-") or "::" in host or re.search(r"[\x00-\x20\x7f-\xa0\u2028\u2029]", url):
        raise UsageError(f"{redact(url)!r} is not an address of a repository", remedy)
    if scheme and scheme.group(1) not in PROTOCOLS:
        raise UsageError(f"addresses of the kind {scheme.group(1)}:// are not allowed", remedy)
    if scheme is None and not url.startswith("/") and ":" not in host:
        raise UsageError(f"{url!r} depends on the folder one happens to be in", remedy)


def redact(text: str) -> str:
    """Hide user names and passwords in addresses.

    >>> redact("cannot read https://bot:secret@git.example/x.git")
    'cannot read https://***@git.example/x.git'
    """
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1***@", text)


def plain(text: str) -> str:
    """For one line of people's reading: no control characters, no turned direction of writing, not long."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", "?", text)[:200]


BRANCH = re.compile(
    r"(?!-)(?!.*(\.\.|@\{|//|/\.|\.lock(/|$)|/$|\.$))[^\x00-\x20\x7f~^:?*\[\\./][^\x00-\x20\x7f~^:?*\[\\]{0,199}"
)


def checked_branch(name: str) -> str:
    """A branch name git may be given. Raises UsageError."""
    if not BRANCH.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a branch", "use letters, digits, '-', '_', '.' and '/'")
    return name


def followed(default: str) -> str:
    """A server's default branch, as the one that changes go to. Raises UsageError for what cannot be one."""
    try:
        return checked_branch(default)
    except UsageError as error:
        raise UsageError(
            f"the server's default branch is {plain(default)!r}, which the box does not follow",
            "name another with --branch",
        ) from error


def checked_commit(commit: str) -> str:
    """A commit id, written out. Raises UsageError for anything else: a name could mean another commit tomorrow."""
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit):
        raise UsageError(f"{commit!r} is not a commit id", "give all 40 (or 64) hexadecimal digits")
    return commit
