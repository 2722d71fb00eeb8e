"""The support bundle for pages and API: made by the command, kept in `run/` until the next, read before it leaves."""

from __future__ import annotations

import secrets
from pathlib import Path

from appliance.backup.support import Contents, contents_of, text_in
from appliance.errors import NotFound
from control.desk import Desk
from control.own_command import asked

SECONDS = 180.0
"""The doctor asks every repository's server."""
SHOWN = 20_000
"""Characters of a text on the page; the file has all."""


def file_of(desk: Desk) -> Path:
    """Where the newest lies."""
    return desk.home.run / "support.tar.gz"


def make(desk: Desk) -> Path:
    """Make one in the place of the one before. Raises as the command does."""
    draft = desk.home.run / f"support-{secrets.token_hex(4)}.tar.gz"
    try:
        asked(desk, "support", "create", str(draft), seconds=SECONDS)
        draft.replace(file_of(desk))
    finally:
        draft.unlink(missing_ok=True)
    return file_of(desk)


def made(desk: Desk) -> tuple[Contents, dict[str, str]]:
    """What is in the newest: the list, and each text from its beginning. Raises NotFound before the first."""
    file = file_of(desk)
    if not file.exists():
        raise NotFound("no support bundle was made yet", "make one on the page System")
    contents = contents_of(file)
    return contents, {one.name: text_in(file, one.name)[:SHOWN] for one in contents.entries}
