"""What bounds the box's work and may be changed while it runs: how far it goes alone, and what an item may cost.

They are settings like others. Those who work by them read them anew when the file has changed; a file that cannot be
accepted counts as the most restrictive reading, not as none.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from appliance.autonomy import ORDER
from appliance.config import documented, load, shown
from appliance.errors import ConfigError, UsageError
from appliance.settings import Settings
from appliance.work import Autonomy, Noun

log = logging.getLogger("limits")

NAMES = (
    "autonomy.cap", "autonomy.max_files", "autonomy.max_lines", "autonomy.protected_paths", "line.attempts",
    "repair.cpu_seconds", "repair.pair_seconds", "droid.seconds", "droid.total_tokens", "droid.steps",
    "computers.seconds", "computers.memory_mb",
)  # fmt: skip
MOST_PATHS = 500
LONGEST_PATH = 300
GONE = (0, 0, 0)


class Limit(Noun):
    """One of them as it is in force; values as TOML writes them."""

    name: str
    value: str
    default: str
    description: str


class LimitChange(Noun):
    """One that becomes another; `looser` when the box may do more than before."""

    name: str
    before: str
    after: str
    looser: bool


class Limits:
    """The settings of one process, whose limits are those of the file as it is now."""

    def __init__(self, file: Path, settings: Settings) -> None:
        self._file = file
        self._settings = settings
        self._seen = _mark(file)  # these settings were read from it a moment ago
        self._lock = threading.Lock()
        self.problem = ""
        """Why the file is not accepted."""

    def now(self) -> Settings:
        """The settings, with the limits in force. Nothing goes on without a person while the file is not valid."""
        with self._lock:
            seen = _mark(self._file)
            if seen != self._seen:
                self._settings, self.problem = self._read()
                self._seen = seen
            return self._settings

    def _read(self) -> tuple[Settings, str]:
        try:
            if not self._file.exists():
                raise ConfigError(f"{self._file} is gone", "put it back; `appliance config show` printed it")
            return _with(self._settings, load(self._file)), ""
        except ConfigError as error:
            log.error("no change lands without a person until this is mended: %s. %s", error.message, error.hint)
            capped = self._settings.autonomy.model_copy(update={"cap": ORDER[0]})
            return self._settings.model_copy(update={"autonomy": capped}), error.message


def in_force(settings: Settings) -> list[Limit]:
    """Every limit with its default and its meaning."""
    now, told = shown(settings), {row["name"]: row for row in documented()}
    return [Limit(value=now[name], **told[name]) for name in NAMES]


def wanted(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings with other limits. Raises UsageError for what is no limit, or no value for one; all are named."""
    if unknown := sorted(set(values) - set(NAMES)):
        raise UsageError(
            f"{', '.join(unknown)}: not to be changed here", f"edit the settings file; these are: {', '.join(NAMES)}"
        )
    raw = settings.model_dump()
    for name, value in values.items():
        section, _, field = name.partition(".")
        raw[section][field] = value
    try:
        made = Settings.model_validate(raw)
    except ValidationError as error:
        told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise UsageError("; ".join(told), "nothing was changed") from error
    paths = made.autonomy.protected_paths
    if len(paths) > MOST_PATHS or any(not _is_path(one) for one in paths):
        raise UsageError("autonomy.protected_paths: not a list of patterns", "one a line, like .ci/** or **/CODEOWNERS")
    return made


def changes(before: Settings, after: Settings) -> list[LimitChange]:
    """Which limits differ, in their order."""
    one, other = shown(before), shown(after)
    return [
        LimitChange(name=name, before=one[name], after=other[name], looser=_is_looser(name, before, after))
        for name in NAMES
        if one[name] != other[name]
    ]


def values(settings: Settings, names: Sequence[str] = NAMES) -> dict[str, Any]:
    """Limits by name, as plain numbers, texts and lists."""
    return {name: _plain(value_of(settings, name)) for name in names}


def value_of(settings: Settings, name: str) -> Any:
    """One setting's value."""
    section, _, field = name.partition(".")
    return getattr(getattr(settings, section), field)


def _is_looser(name: str, before: Settings, after: Settings) -> bool:
    was, now = value_of(before, name), value_of(after, name)
    if isinstance(was, Autonomy):
        return ORDER.index(now) > ORDER.index(was)
    if isinstance(was, list):
        return bool(set(was) - set(now))
    return bool(now > was)


def _with(settings: Settings, other: Settings) -> Settings:
    """The settings with the limits of others."""
    update: dict[str, Any] = {}
    for section in dict.fromkeys(name.partition(".")[0] for name in NAMES):
        own = {name.partition(".")[2]: value_of(other, name) for name in NAMES if name.startswith(section + ".")}
        update[section] = getattr(settings, section).model_copy(update=own)
    return settings.model_copy(update=update)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Autonomy) else value


def _is_path(pattern: str) -> bool:
    return 0 < len(pattern) <= LONGEST_PATH and pattern == pattern.strip() and pattern.isprintable()


def _mark(file: Path) -> tuple[int, int, int]:
    """Changes whenever the file does."""
    try:
        about = file.stat()
    except OSError:
        return GONE
    return (about.st_ino, about.st_size, about.st_mtime_ns)
