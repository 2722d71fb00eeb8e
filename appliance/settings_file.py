"""The settings file, changed by a program: people's comments and order stay. `appliance.config` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from appliance.errors import ConfigError
from appliance.private import replace_private


def edited(text: str, values: Mapping[str, Any]) -> str:
    """The text with other values, by their names like `autonomy.max_files`. Raises ConfigError when it is not TOML."""
    try:
        document = tomlkit.parse(text)
        for name, value in values.items():
            section, _, field = name.partition(".")
            if section not in document:
                document[section] = tomlkit.table()
            document[section][field] = value
    except (TOMLKitError, TypeError) as error:  # TypeError: a section's name stands for something else
        raise ConfigError(f"the settings file cannot be changed: {error}", "mend it by hand") from error
    return tomlkit.dumps(document)


def write(file: Path, text: str) -> None:
    """Put a text in the file's place, all at once; whoever may read it may read it still."""
    real = file.resolve()
    mode = real.stat().st_mode & 0o777 if real.exists() else 0o600
    replace_private(real, text.encode())
    real.chmod(mode)
