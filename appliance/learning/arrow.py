"""Rows as a stream of Apache Arrow's IPC format, for programs that read it without parsing numbers out of text.

DuckDB hands its columns over through Arrow's C interface; nanoarrow writes them. It is a wheel of 1.2 MB, where
pyarrow, which DuckDB's own export to Arrow wants, has 45.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import duckdb
import nanoarrow
from nanoarrow.ipc import StreamWriter

from appliance.errors import LimitExceeded, UsageError

MOST_BYTES = 60 * 1024 * 1024
"""Of a stream: it goes over the socket in one piece."""


class Stream(NamedTuple):
    """The first rows of an answer."""

    content: bytes
    rows: int
    more: bool
    """There are more rows than were asked for."""


def stream_of(relation: duckdb.DuckDBPyRelation, most: int) -> Stream:
    """The first `most` rows of a relation.

    Raises duckdb.Error as asking does, LimitExceeded for a stream that is too long, UsageError for a type that the
    format's writer does not know.
    """
    capsule, out, rows = relation.limit(most + 1), io.BytesIO(), 0
    with nanoarrow.ArrayStream(capsule) as source:  # the question is asked here, so DuckDB's own errors come from here
        try:
            with StreamWriter.from_writable(out) as writer:
                writer.write_stream(nanoarrow.c_array_stream([], source.schema))
                for array in source:
                    kept = max(0, min(len(array), most - rows))
                    rows += len(array)
                    if kept:
                        writer.write_array(nanoarrow.c_array(array)[:kept])
                    if out.tell() > MOST_BYTES:
                        raise LimitExceeded(
                            f"the answer is longer than {MOST_BYTES // 2**20} MiB", "ask for fewer rows or columns"
                        )
        except (RuntimeError, NotImplementedError) as error:
            said = str(error).partition("\n")[0]
            raise UsageError(f"this cannot be written as Arrow: {said}", "cast the column to VARCHAR") from error
    return Stream(out.getvalue(), min(rows, most), rows > most)
