"""Adds a recipient to the settings file, and leaves every other line of it as it is."""

from __future__ import annotations

import tomllib
from pathlib import Path

from appliance import settings_file
from appliance.config import load


def add_recipient(file: Path, public: str) -> None:
    """Name one more public key in `backup.recipients`. Raises ConfigError when the file is not valid: it stays as it
    is."""
    load(file)
    text = file.read_text(encoding="utf-8")
    present = tomllib.loads(text).get("backup", {}).get("recipients", [])
    settings_file.write(file, settings_file.edited(text, {"backup.recipients": [*present, public]}))
