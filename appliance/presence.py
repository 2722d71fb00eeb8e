"""Where each process says how it is when systemd runs the box and there is no `appliance up` that says it for all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from appliance.config import Home


def unit_file(home: Home, name: str) -> Path:
    """The file of one process: an object like a row of run/up.json. Missing means that it does not run."""
    return home.run / "units" / f"{name}.json"


def units(home: Home) -> list[dict[str, Any]]:
    """What every process last said, by name; one that was killed still says what it said before."""
    found = []
    for file in sorted((home.run / "units").glob("*.json")):
        try:
            row = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            row = {"state": "failed", "reason": f"{file.name} cannot be read: {error}", "pid": None, "started": None}
        if isinstance(row, dict):
            found.append({**row, "name": file.stem})
    return found
