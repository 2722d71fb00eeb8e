"""The secrets that senders sign with: `secrets/hook-NAME.json`, for this user alone; the one thing here on disk."""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from appliance.config import Home
from appliance.errors import ConfigError
from appliance.private import replace_private
from appliance.work import Noun

SECRET_BYTES = 32


class HookSecrets(Noun):
    """What a repository's senders may sign with."""

    current: str
    before: str = ""
    before_until: datetime | None = None

    def valid(self, now: datetime) -> tuple[str, ...]:
        """Those that count now."""
        old = self.before_until is not None and now < self.before_until
        return (self.current, self.before) if old else (self.current,)

    def rotated(self, secret: str, now: datetime, hours: float) -> HookSecrets:
        """Another one, with today's valid for some hours more."""
        return HookSecrets(current=secret, before=self.current, before_until=now + timedelta(hours=hours))


def new() -> str:
    """A secret nobody can guess."""
    return secrets.token_urlsafe(SECRET_BYTES)


def load(home: Home, repo: str) -> HookSecrets | None:
    """A repository's secrets; None when it has no hook. Raises ConfigError."""
    file = _file(home, repo)
    try:
        return HookSecrets.model_validate_json(file.read_bytes()) if file and file.exists() else None
    except (OSError, ValidationError) as error:
        raise ConfigError(f"the hook secrets {file} cannot be read", "remove the file and make a new hook") from error


def save(home: Home, repo: str, kept: HookSecrets) -> None:
    """Keep a repository's secrets; a reader sees the old ones or the new ones. Raises ConfigError."""
    file = _file(home, repo)
    if file is None:
        raise ConfigError(f"{repo!r} cannot be the name of a file", "name the repository with letters, digits, - and _")
    replace_private(file, kept.model_dump_json().encode())


def forget(home: Home, repo: str) -> None:
    """Forget a repository's secrets, if it has any."""
    file = _file(home, repo)
    if file:
        file.unlink(missing_ok=True)


def _file(home: Home, repo: str) -> Path | None:
    return home.secrets / f"hook-{repo}.json" if re.fullmatch(r"\w[\w.-]*", repo) else None
