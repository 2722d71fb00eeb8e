"""Tables of reports (CSV, TSV, what spreadsheets save): each row is one, its columns are found by their names. Pure.

Columns are mapped as any JSON is (`generic.py`), a place being a column's name or `=words`; large and small letters are
the same. Columns that are no field of a report go below its text, so that nothing a person wrote is lost.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from appliance.errors import LimitExceeded, UsageError
from appliance.intake import generic
from appliance.intake.fields import LONGEST_TEXT
from appliance.news import ReportNews
from appliance.work import Noun, Signal

DELIMITERS = ",;\t|"
"""Tried in this order; the one that divides most rows as it divides the first counts."""
LOOKED_AT = 100
"""Rows looked at to find it."""
MOST_ROWS = 10_000
MOST_COLUMNS = 500
LONGEST_PREFIX = 40
LONGEST_KEY = 150
"""Characters of a row's key; a longer one counts by its SHA-256."""
NAMED = "sep="
"""How the first line of some spreadsheets names the delimiter."""
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
SHOWN = 20
"""Columns named in an error."""


class Row(Noun):
    """A row that makes sense, and the line where it begins."""

    line: int
    report: ReportNews


class Bad(Noun):
    """A row that makes none."""

    line: int
    why: str


class Sheet(Noun):
    """A table as it was read."""

    encoding: str
    delimiter: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    bad: tuple[Bad, ...]
    over: int = 0
    """Rows that say of themselves that they are done with."""
    repeated: int = 0
    """Rows that say the same as an earlier one."""


def read(
    raw: bytes, mapping: generic.Places, encoding: str = "", delimiter: str = "", prefix: str = "", strict: bool = True
) -> Sheet:
    """The reports in a table. Encoding and delimiter are found when they are not given; `prefix` goes before each key.
    Unless it is `strict`, what the mapping says of other columns than there are is left out.

    Raises:
        UsageError: it is no table, or a column that is asked for is not there.
        LimitExceeded: it has too many rows or columns.
    """
    if len(prefix) > LONGEST_PREFIX:
        raise UsageError(f"the keys' prefix has more than {LONGEST_PREFIX} characters", "take a shorter one")
    text, encoding = decoded(raw, encoding)
    text, skipped, delimiter = _without_naming(text, delimiter)
    delimiter = delimiter or delimiter_of(text)
    records = _records(text, delimiter, skipped)
    columns = _columns(next(records, None))
    places = _places(mapping if strict else _fitting(mapping, columns), columns)
    rows: dict[str, Row] = {}
    bad: list[Bad] = []
    over = repeated = 0
    for number, (line, cells) in enumerate(records):
        if number >= MOST_ROWS:
            raise LimitExceeded(f"the table has more than {MOST_ROWS} rows", "split it")
        report = _report(cells, columns, places, prefix)
        if isinstance(report, str):
            bad.append(Bad(line=line, why=report))
        elif report.resolved:
            over += 1
        elif report.key not in rows:
            rows[report.key] = Row(line=line, report=report)
        elif same_words(report, rows[report.key].report):
            repeated += 1
        else:
            bad.append(
                Bad(line=line, why=f"its key is that of line {rows[report.key].line}, which says something else")
            )
    return Sheet(
        encoding=encoding, delimiter=delimiter, columns=columns, rows=tuple(rows.values()), bad=tuple(bad), over=over,
        repeated=repeated,
    )  # fmt: skip


class Import(Noun):
    """What a table comes to in a repository that knows some of its keys."""

    sheet: Sheet
    new: tuple[Row, ...] = ()
    known: tuple[tuple[int, str], ...] = ()
    """Line and signal of rows that were filed before."""
    bad: tuple[Bad, ...] = ()

    def checked(self, skip_bad: bool) -> None:
        """Raises UsageError when some rows make no sense and are not to be skipped."""
        if self.bad and not skip_bad:
            told = "; ".join(f"line {one.line}: {one.why}" for one in self.bad[:SHOWN])
            more = f" and {len(self.bad) - SHOWN} more" if len(self.bad) > SHOWN else ""
            raise UsageError(
                f"{len(self.bad)} rows make no sense, so nothing was filed: {told}{more}",
                "mend them, or have them skipped; a dry run lists all",
            )

    def as_data(self, filed: Sequence[tuple[int, str]]) -> dict[str, Any]:
        """For programs; `filed` are line and signal of those that are filed now."""
        return {
            "encoding": self.sheet.encoding, "delimiter": self.sheet.delimiter, "columns": self.sheet.columns,
            "new": len(self.new), "filed": [{"line": line, "signal": id} for line, id in filed],
            "known": [{"line": line, "signal": id} for line, id in self.known],
            "bad": [one.model_dump() for one in self.bad], "over": self.sheet.over, "repeated": self.sheet.repeated,
        }  # fmt: skip


def compared(sheet: Sheet, known: Mapping[str, Signal]) -> Import:
    """A table beside the signals that its repository has under the same keys."""
    new: list[Row] = []
    before: list[tuple[int, str]] = []
    bad = list(sheet.bad)
    for row in sheet.rows:
        signal = known.get(row.report.key)
        if signal is None:
            new.append(row)
        elif (signal.title, signal.body) == (row.report.title, row.report.body):
            before.append((row.line, signal.id))
        else:
            bad.append(Bad(line=row.line, why=f"its key is that of {signal.id}, which says something else"))
    bad.sort(key=lambda one: one.line)
    return Import(sheet=sheet, new=tuple(new), known=tuple(before), bad=tuple(bad))


def same_words(one: ReportNews, other: ReportNews) -> bool:
    """Do two reports say the same?"""
    return (one.title, one.body) == (other.title, other.body)


def decoded(raw: bytes, encoding: str = "") -> tuple[str, str]:
    """A table's text and the name of its encoding. Raises UsageError.

    >>> decoded("a;ä".encode("utf-16-be")), decoded("ä".encode("latin-1"))
    (('a;ä', 'utf-16-be'), ('ä', 'cp1252'))
    """
    if encoding:
        return _strictly(raw, encoding)
    for mark, name in BOMS:
        if raw.startswith(mark):
            return _strictly(raw, name)
    start = raw[:200]
    if b"\x00" in start:  # letters of most alphabets leave every second byte empty
        return _strictly(raw, "utf-16-be" if start[::2].count(0) > start[1::2].count(0) else "utf-16-le")
    for name in ("utf-8", "cp1252"):
        try:
            return raw.decode(name), name
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1"), "latin-1"


def _strictly(raw: bytes, encoding: str) -> tuple[str, str]:
    try:
        return raw.decode(encoding), encoding
    except (ValueError, LookupError) as error:
        raise UsageError(f"it is not {encoding} text: {error}", "name its encoding, or save it as UTF-8") from error


def _without_naming(text: str, delimiter: str) -> tuple[str, int, str]:
    """The text below a first line that names the delimiter, how many lines that is, and the delimiter."""
    first, _, rest = text.partition("\n")
    named = first.rstrip("\r").removeprefix(NAMED)
    if not first.startswith(NAMED) or len(named) != 1:
        return text, 0, delimiter
    return rest, 1, delimiter or named


def delimiter_of(text: str) -> str:
    """The delimiter that divides most of the first rows as it divides the very first one.

    >>> delimiter_of("title;text\\na;b, c\\n"), delimiter_of("title\\na, b\\n")
    (';', ',')
    """

    def alike(delimiter: str) -> tuple[float, int]:
        records = islice(_records(text, delimiter, 0), LOOKED_AT)
        counts = [len(cells) if isinstance(cells, list) else 0 for _, cells in records]
        if not counts or counts[0] < 2:
            return 0.0, 0
        return counts.count(counts[0]) / len(counts), counts[0]

    return max(DELIMITERS, key=alike)


def _records(text: str, delimiter: str, skipped: int) -> Iterator[tuple[int, list[str] | str]]:
    """The line where each row begins, and its cells, or what is wrong with it; empty rows are left out."""
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UsageError(f"{delimiter!r} cannot be a delimiter", "name one character")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1 + skipped
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"it cannot be read: {error}"
            continue
        if any(cell.strip() for cell in cells):
            yield line, cells


def _columns(header: tuple[int, list[str] | str] | None) -> tuple[str, ...]:
    """The columns by name, as they are compared. Raises UsageError, LimitExceeded."""
    if header is None:
        raise UsageError("the table is empty", "its first row names the columns")
    line, cells = header
    if isinstance(cells, str):
        raise UsageError(f"line {line}, which names the columns: {cells}", "mend it, or name the delimiter")
    if len(cells) > MOST_COLUMNS:
        raise LimitExceeded(f"the table has more than {MOST_COLUMNS} columns", "leave some out")
    names = [_plain(cell) or f"column {number}" for number, cell in enumerate(cells, 1)]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise UsageError(f"two columns are called {twice!r}", "rename one")
    return tuple(names)


def _plain(name: str) -> str:
    return " ".join(name.replace("\x00", "").split()).casefold()


def _places(mapping: generic.Places, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Where each field is in a row: what was asked for, else the usual names that there are. Raises UsageError."""
    usual = {
        field: [place for place in found if place[1:] in columns]
        for field, found in generic.USUAL.items()
        if field not in generic.OF_THE_WHOLE
    }
    asked = {field: [_place(place, columns) for place in found] for field, found in mapping.items()}
    if useless := sorted(generic.OF_THE_WHOLE & set(asked)):
        raise UsageError(f"each row is a report of one repository: `{useless[0]}` says nothing here", "leave it out")
    generic.check(asked)
    places = {field: tuple(found) for field, found in {**usual, **asked}.items()}
    if not places["title"]:
        raise UsageError(
            f"no column is the title; there are {', '.join(columns[:SHOWN])}", "map one: --mapping title=COLUMN"
        )
    return places


def _fitting(mapping: generic.Places, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What a mapping says of these columns."""
    found = {
        field: tuple(place for place in places if place.startswith("=") or _plain(_column(place)) in columns)
        for field, places in mapping.items()
        if field not in generic.OF_THE_WHOLE
    }
    return {field: places for field, places in found.items() if places}


def _column(place: str) -> str:
    """The name of the column that a place names."""
    return place[1:].replace("~1", "/").replace("~0", "~") if place.startswith("/") else place


def _place(place: str, columns: Sequence[str]) -> str:
    """A column's name, or a JSON pointer to it, as the pointer that finds it in a row."""
    if place.startswith("="):
        return place
    name = _column(place)
    if _plain(name) not in columns:
        raise UsageError(f"there is no column {name!r}", f"there are {', '.join(columns[:SHOWN])}")
    return _pointer(_plain(name))


def _pointer(name: str) -> str:
    return f"/{name.replace('~', '~0').replace('/', '~1')}"


def _report(
    cells: list[str] | str, columns: Sequence[str], places: Mapping[str, tuple[str, ...]], prefix: str
) -> ReportNews | str:
    """The report that a row is, or why it is none."""
    if isinstance(cells, str):
        return cells
    if len(cells) != len(columns):
        return f"it has {len(cells)} cells, and there are {len(columns)} columns"
    content = {name: cell.strip() for name, cell in zip(columns, cells, strict=True) if cell.strip()}
    places = {**places, "body": (*places["body"], "=")}
    try:
        (report,) = generic.reports(content, places)
    except UsageError:
        return "it has no title"
    used = {_first(content, found) for found in places.values()}
    rest = [f"{name}: {cell}" for name, cell in content.items() if _pointer(name) not in used]
    body = "\n\n".join(part for part in (report.body.strip(), "\n".join(rest)) if part)
    return report.with_(
        key=_key(prefix + report.key), body=body.replace("\x00", "\N{REPLACEMENT CHARACTER}")[:LONGEST_TEXT]
    )


def _first(content: Mapping[str, str], places: Sequence[str]) -> str:
    """The place that a field is taken from."""
    return next((place for place in places if place.startswith("=") or generic.at(content, place)), "")


def _key(name: str) -> str:
    return f"csv:{name if len(name) <= LONGEST_KEY else hashlib.sha256(name.encode(errors='replace')).hexdigest()}"
