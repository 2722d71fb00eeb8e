"""Files dropped for a repository: JSON and tables as reports, a text as one whose first line is the title. Pure."""

from __future__ import annotations

import hashlib

from appliance.errors import UsageError
from appliance.intake import generic, rows
from appliance.intake.fields import LONGEST_TEXT, LONGEST_TITLE
from appliance.news import Delivery, ReportNews

TABLE = "table"
KINDS = {".json": "json", ".csv": TABLE, ".tsv": TABLE, ".md": "text", ".markdown": "text", ".txt": "text"}
"""Ending → event."""


def receive(repo: str, name: str, raw: bytes) -> Delivery:
    """The delivery that a file is. Raises UsageError when its name has no ending that the box reads."""
    ending = "." + name.rpartition(".")[2].lower() if "." in name else ""
    if ending not in KINDS:
        raise UsageError(f"{ending or 'no ending'!r} is none that the box reads", f"known: {', '.join(KINDS)}")
    sha256 = hashlib.sha256(raw).hexdigest()
    shown = name.encode("utf-8", "replace").decode()[:200]
    return Delivery(
        source="folder", repo=repo, id=sha256, event=KINDS[ending], size=len(raw), sha256=sha256,
        headers={"file": shown},
    )  # fmt: skip


def table(raw: bytes, mapping: generic.Places) -> rows.Sheet:
    """A dropped table. The repository's mapping, which is for JSON too, counts as far as it names columns of it."""
    return rows.read(raw, mapping, strict=False)


def read(delivery: Delivery, raw: bytes, mapping: generic.Places) -> tuple[ReportNews, ...]:
    """The reports in a file. Raises UsageError."""
    if delivery.event == TABLE:
        sheet = table(raw, mapping)
        rows.compared(sheet, {}).checked(skip_bad=False)
        return tuple(row.report for row in sheet.rows)
    if delivery.event == "json":
        return generic.read_any(raw, mapping)
    try:
        text = raw.decode("utf-8-sig").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    except UnicodeDecodeError as error:
        raise UsageError(f"it is not UTF-8 text: byte {error.start}", "save it as UTF-8") from error
    lines = text.strip().splitlines()
    title = " ".join(lines[0].lstrip("#").split())[:LONGEST_TITLE] if lines else ""
    if not title:
        raise UsageError("it has no first line to be the title", "write what is wrong in the first line")
    body = "\n".join(lines[1:]).strip()[:LONGEST_TEXT]
    return (ReportNews(key=f"file:{hashlib.sha256(raw).hexdigest()}", title=title, body=body),)
