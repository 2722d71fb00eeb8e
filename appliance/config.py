"""Typed settings: one TOML file in the home, overridden by `APPLIANCE_<SECTION>_<FIELD>`.

This module is the only reader of the environment. What can be set, with its documentation, is `appliance.settings`;
the help page `settings.md` and `appliance config schema` come from there. Unknown keys are refused with the nearest
known name, so a typing error can never switch a protection off.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError

from appliance.errors import ConfigError
from appliance.settings import ModelSettings, Settings


class Home:
    """Where one box keeps everything. Knows names only: nothing is created here (see `appliance.cli.init`)."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.settings_file = self.root / "appliance.toml"
        self.secrets = self.root / "secrets"
        self.ledger = self.root / "ledger.db"
        self.learning = self.root / "learning.duckdb"
        self.policy = self.root / "policy"
        self.routes_file = self.policy / "routes.toml"
        self.policy_file = self.policy / "policy.json"
        self.models = self.root / "models"
        self.mirrors = self.root / "mirrors"
        self.computers = self.root / "computers"
        self.spool = self.root / "spool"
        self.logs = self.root / "logs"
        self.run = self.root / "run"
        self.gateway_socket = self.run / "gateway.sock"  # the gateway for processes of the box itself
        self.certificate = self.secrets / "certificate.pem"  # with its key
        self.backups = self.root / "backups"
        self.media = self.root / "media"  # made when the first repository comes on media
        self.evidence = self.root / "evidence"  # a folder for each item, made when it has something to keep

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder a home has, `secrets` to be made 0700."""
        return (
            self.secrets, self.policy, self.models, self.mirrors, self.computers,
            self.spool, self.logs, self.run, self.backups,
        )  # fmt: skip

    @classmethod
    def from_environment(cls, option: str | None = None, environ: Mapping[str, str] = os.environ) -> Self:
        """The home named by `--home`, else by APPLIANCE_HOME, else `./var`."""
        return cls(Path(option or environ.get("APPLIANCE_HOME") or "var"))


def take_notify_socket(environ: MutableMapping[str, str] = os.environ) -> tuple[str, float]:
    """Where systemd listens ("" where nobody does), and after how many seconds without a word its watchdog acts (0
    means never). Taken out of the environment, so that what this process starts does not speak for it."""
    address, microseconds = environ.pop("NOTIFY_SOCKET", ""), environ.pop("WATCHDOG_USEC", "")
    environ.pop("WATCHDOG_PID", None)
    return address, int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0


def become(name: str, folder: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Tell what this process starts whose it is: programs look for their settings in HOME."""
    environ.update(HOME=folder, USER=name, LOGNAME=name)


ENVIRONMENT_PREFIX = "APPLIANCE_"
NOT_SETTINGS = frozenset({"APPLIANCE_HOME", "APPLIANCE_URL", "APPLIANCE_KEY", "APPLIANCE_CACHE"})
"""Variables with our prefix that are not a setting: the home, clients' address and key, and the build cache."""


def load(file: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read settings from `file` (a missing file means defaults) and the environment.

    Raises:
        ConfigError: the file is not TOML, or a name or value cannot be accepted; all problems are named.
    """
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}", "mend the line named, or move the file away") from error
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", "make it readable for this user") from error
    for section, fields in _from_environment(environ).items():
        raw.setdefault(section, {}).update(fields)
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(_in_words(problem) for problem in error.errors())
        raise ConfigError(
            f"settings are not valid: {problems}", f"mend {file}; `appliance config schema` lists all"
        ) from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, text in environ.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name in NOT_SETTINGS:
            continue
        section, _, field = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
        found.setdefault(section, {})[field] = toml_value(text)
    return found


def toml_value(text: str) -> Any:
    """A list, number or boolean written as TOML; anything else is the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _in_words(problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    if path[-1:] == ["recipients"]:
        return f"{'.'.join(path)}: {problem['msg']}"  # somebody may have put the private key there
    if problem["type"] != "extra_forbidden":
        return f"{'.'.join(path)}: {problem['msg']} (got {problem['input']!r})"
    known = Settings.model_fields if len(path) == 1 else _fields_of(path[0])
    near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.0)
    return f"{'.'.join(path)}: unknown; the nearest known name is {near[0]!r}" if near else f"{'.'.join(path)}: unknown"


def _fields_of(section: str) -> Mapping[str, Any]:
    field = Settings.model_fields.get(section)
    kind = ModelSettings if section == "models" else field.annotation if field else None
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}


def documented() -> list[dict[str, str]]:
    """Every setting as rows {name, default, description}, in the order of the file."""
    rows = []
    for section in Settings.model_fields:
        for name, field in _fields_of(section).items():
            default = field.get_default(call_default_factory=True)
            rows.append(
                {"name": f"{section}.{name}", "default": _toml(default), "description": field.description or ""}
            )
    return rows


def shown(settings: Settings) -> dict[str, str]:
    """Every setting's value in force as TOML writes it, by its name; a section for each model has none here."""
    found: dict[str, str] = {}
    for section in Settings.model_fields:
        own = getattr(settings, section)
        if not isinstance(own, dict):
            found |= {f"{section}.{name}": _toml(getattr(own, name)) for name in _fields_of(section)}
    return found


def render(settings: Settings) -> str:
    """The settings as a commented TOML file."""
    lines = ["# Settings of this box. Every line may be left out; `appliance config check` verifies the file.", ""]
    for section in Settings.model_fields:
        value = getattr(settings, section)
        lines += [f"[{section}]"]
        if isinstance(value, dict):
            lines += ["# One section for each that needs other settings than the rest, named by its id.", ""]
            tables = {f"{section}.{_toml(id)}": one for id, one in value.items()}
        else:
            tables = {"": value}
        for heading, table in tables.items():
            lines += [f"[{heading}]"] if heading else []
            for name, field in _fields_of(section).items():
                lines += [f"# {field.description}", f"{name} = {_toml(getattr(table, name))}"]
            lines += [""]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
