"""Adds a recipient to the settings file, and leaves every other line of it as it is."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from appliance.config import load
from appliance.errors import ConfigError, UsageError
from appliance.private import replace_private


def add_recipient(file: Path, public: str) -> None:
    """Name one more public key in `backup.recipients`.

    Raises:
        ConfigError: the file is not valid; it stays as it is.
        UsageError: its list is written in a way that this cannot change; the line to write is told.
    """
    load(file)  # a file that is wrong already is told of by itself
    text = file.read_text(encoding="utf-8")
    present = tomllib.loads(text).get("backup", {}).get("recipients", [])
    line = f"recipients = {json.dumps([*present, public])}"
    changed = _with(text, line)
    try:
        good = tomllib.loads(changed)["backup"]["recipients"] == [*present, public]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise _by_hand(file, line) from error
    if not good:
        raise _by_hand(file, line)
    mode = file.stat().st_mode & 0o777
    replace_private(file, changed.encode())
    file.chmod(mode)


def _with(text: str, line: str) -> str:
    """The text with this line in its section [backup]."""
    section = re.search(r"^\[backup\][^\n]*\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None:
        return f"{text.rstrip()}\n\n[backup]\n{line}\n"
    inner = section.group(1)
    named = re.compile(r"^recipients\s*=\s*\[.*?\]", re.MULTILINE | re.DOTALL)
    replaced = named.sub(lambda _: line, inner, count=1) if named.search(inner) else f"{line}\n{inner}"
    return text[: section.start(1)] + replaced + text[section.end(1) :]


def _by_hand(file: Path, line: str) -> ConfigError | UsageError:
    return UsageError(f"{file} could not be changed by itself", f"write in its section [backup]: {line}")
