"""Tables of feedback: whatever a spreadsheet saves is read, and what is wrong with a row is told with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import FactoryError, UsageError
from appliance.intake import rows
from appliance.work import Signal

PLAIN = "ID,Title,Description,Version\n7,Totals are off,by a cent,2.1\n8,Slow,,\n"


def told(raw: bytes, **how: str) -> list[tuple[int, str, str, str]]:
    sheet = rows.read(raw, {}, **how)
    return [(row.line, row.report.key, row.report.title, row.report.body) for row in sheet.rows]


def test_columns_are_found_by_their_names_and_what_is_no_field_goes_below_the_text() -> None:
    assert told(PLAIN.encode()) == [
        (2, "csv:7", "Totals are off", "by a cent\n\nversion: 2.1"),
        (3, "csv:8", "Slow", ""),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_delimiters_and_line_ends_are_found(encoding: str, delimiter: str, newline: str) -> None:
    text = f'Title{delimiter}Text\nGr\u00f6\u00dfe{delimiter}"one{delimiter} two, three; four\nfive"\nB{delimiter}c\n'
    sheet = rows.read(text.replace("\n", newline).encode(encoding), {})
    assert (sheet.delimiter, sheet.columns) == (delimiter, ("title", "text"))
    assert sheet.encoding == ("utf-8" if encoding == "utf-8" else sheet.encoding)
    assert [(row.line, row.report.title) for row in sheet.rows] == [(2, "Gr\u00f6\u00dfe"), (4, "B")]
    assert sheet.rows[0].report.body.split() == f"one{delimiter} two, three; four five".split()


def test_what_is_not_utf8_is_read_as_the_code_page_of_old_spreadsheets_and_the_encoding_told() -> None:
    raw = "title,text\nGr\u00f6\u00dfe,5 \u20ac\n"
    assert rows.read(raw.encode("cp1252"), {}).encoding == "cp1252"
    assert rows.read(b"title\n\x81\n", {}).encoding == "latin-1"
    assert (
        rows.read("title\n\u30c6\u30b9\u30c8\n".encode("shift_jis"), {}, "shift_jis").rows[0].report.title
        == "\u30c6\u30b9\u30c8"
    )
    for encoding in ("utf-8", "no-such", "zip", "a\0b"):
        with pytest.raises(UsageError):
            rows.read(raw.encode("cp1252"), {}, encoding)


def test_a_first_line_that_names_the_delimiter_is_heeded_and_lines_count_from_it() -> None:
    assert told(b"sep=;\r\ntitle;text\r\na;b,c\r\n") == [(3, told(b"title;text\na;b,c")[0][1], "a", "b,c")]


def test_a_mapping_names_columns_or_words_whatever_their_case() -> None:
    raw = b"Kunde,Was,Sub/ject\nmira,It breaks,x\n"
    (row,) = rows.read(raw, {"title": ["was"], "by": ["/KUNDE"], "kind": ["=feedback"]}).rows
    assert (row.report.title, row.report.by, row.report.kind) == ("It breaks", "mira", "feedback")
    assert row.report.body == "sub/ject: x"
    (row,) = rows.read(raw, {"title": ["Sub/ject"], "body": ["was"]}).rows
    assert (row.report.title, row.report.body) == ("x", "It breaks\n\nkunde: mira")


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({}, "no column is the title; there are kunde, was"),
        ({"title": ["nope"]}, "there is no column 'nope'"),
        ({"titel": ["was"]}, "a report has no 'titel'"),
        ({"title": ["was"], "each": ["was"]}, "each"),
        ({"title": ["was"], "kind": ["=nonsense"]}, "there is no kind"),
    ],
)
def test_a_mapping_that_does_not_fit_is_told_before_any_row(mapping: dict[str, list[str]], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        rows.read(b"Kunde,Was\nmira,x\n", mapping)


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"\xff\xfe", b"a,a\n1,2\n", b'"title\n'])
def test_what_is_no_table_is_refused(raw: bytes) -> None:
    with pytest.raises(UsageError):
        rows.read(raw, {})


def test_bad_rows_are_told_by_their_lines_and_empty_ones_are_none() -> None:
    raw = b'id,title\n1,a\n\n2,b,c\n,,\n3,"d" e\n4,\n1,other\n1,a\n , \n5,"runs on\n6,f\n'
    sheet = rows.read(raw, {})
    assert [(one.line, one.why.partition(":")[0]) for one in sheet.bad] == [
        (4, "it has 3 cells, and there are 2 columns"), (6, "it cannot be read"), (7, "it has no title"),
        (8, "its key is that of line 2, which says something else"), (11, "it cannot be read"),
    ]  # fmt: skip
    assert (len(sheet.rows), sheet.repeated) == (1, 1)


def test_rows_that_are_over_are_counted_and_none_is_filed_for_them() -> None:
    sheet = rows.read(b"title,status\na,closed\nb,open\n", {})
    assert (sheet.over, [row.report.title for row in sheet.rows]) == (1, ["b"])


def test_too_many_rows_columns_and_too_large_cells_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "field" in rows.read(b"title\n" + b"x" * 200_000, {}).bad[0].why
    with pytest.raises(FactoryError, match="columns"):
        rows.read(b"title" + b",x" * 1000, {})
    monkeypatch.setattr(rows, "MOST_ROWS", 2)
    assert len(rows.read(b"title\na\nb\n", {}).rows) == 2
    with pytest.raises(FactoryError, match="rows"):
        rows.read(b"title\na\nb\nc\n", {})


def test_a_key_is_short_prefixed_and_the_content_s_where_there_is_none() -> None:
    assert told(b"id,title\n7,a\n", prefix="may-")[0][1] == "csv:may-7"
    assert told(b"title\na\n")[0][1].startswith("csv:sha256:")
    assert told(b"title,x\na,1\n")[0][1] != told(b"title,x\na,2\n")[0][1]
    assert len(told(b"id,title\n" + b"7" * 190 + b",a\n")[0][1]) < 200


def test_a_known_key_with_the_same_words_was_filed_before_and_with_others_is_bad() -> None:
    sheet = rows.read(b"id,title\n1,a\n2,b\n3,c\n", {})
    known = {f"csv:{id}": Signal(id=f"S-{id}", repo="shop", title=title) for id, title in (("1", "a"), ("2", "z"))}
    found = rows.compared(sheet, known)
    assert ([row.line for row in found.new], found.known) == ([4], ((2, "S-1"),))
    assert [(one.line, "S-2" in one.why) for one in found.bad] == [(3, True)]
    with pytest.raises(UsageError, match="line 3"):
        found.checked(skip_bad=False)
    found.checked(skip_bad=True)


@given(st.binary(max_size=400) | st.text('title,;"\n\r\t|=\x00\x85\u2028ab/~', max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused_in_words(raw: bytes) -> None:
    for start in (b"", b"title,text\n"):
        try:
            sheet = rows.read(start + raw, {})
        except FactoryError as error:
            assert error.message
            continue
        lines = [row.line for row in sheet.rows] + [one.line for one in sheet.bad]
        assert len(lines) == len(set(lines)) and all(line > 0 for line in lines)
        assert all("\x00" not in row.report.title + row.report.body for row in sheet.rows)
        sheet.model_dump_json()
