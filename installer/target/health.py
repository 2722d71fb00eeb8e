"""Whether the box does what it is for: it is asked to prove it, by the release's own `appliance prove`.

The commands of a release know its doors, keys and certificates; the installer asks once and judges the rows. A row that
could not be tried is a warning that says so, never a pass, and what is not said at all is a failure.
"""

from __future__ import annotations

import json
from pathlib import Path

from installer.errors import InstallError
from installer.preflight import Row
from installer.target import running
from installer.target.places import Places

SECONDS = 300.0
"""A large model may have to come into memory first."""
WANTED = ("engines", "gateway", "line", "learning", "console", "embedding", "answer", "git fetch", "audit")
"""What must be among the rows."""


def look(places: Places, release: Path) -> list[Row]:
    """Every check."""
    if not running.ready(places):
        return [Row("processes", "fail", "not all are ready", "appliance status")]
    try:
        said = running.command(places, release, ["prove"], seconds=SECONDS)
    except InstallError as error:
        return [Row("prove", "fail", error.message, error.hint)]
    return judged(said.stdout, said.stderr)


def judged(printed: str, complaint: str) -> list[Row]:
    """The rows that were printed as JSON, and a failure for each that should be there and is not."""
    try:
        rows = [
            Row(str(one["name"]), one["verdict"], str(one["found"]), str(one["fix"])) for one in json.loads(printed)
        ]
    except (ValueError, KeyError, TypeError):
        lines = complaint.strip().splitlines()
        return [Row("prove", "fail", lines[-1] if lines else "nothing was said", "`appliance prove` says more")]
    known = {row.name for row in rows if row.verdict in {"pass", "warn", "fail"}}
    lacking = [Row(name, "fail", "not tried", "`appliance prove` says more") for name in WANTED if name not in known]
    return [row for row in rows if row.name in known] + lacking
