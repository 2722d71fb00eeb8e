"""What is known of an item as a whole, and what came of objections to it. Its row, and those of open objections, change
while it goes down the line; so each move is folded into them in the ledger's order, in the transaction of the batch,
and questions about years need not put histories together again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import duckdb

from appliance.learning.derive import Batch
from appliance.learning.rows import insert
from appliance.learning.said import Row
from appliance.learning.tables import TABLES

KNOWN = """SELECT * FROM items WHERE item IN (SELECT unnest(from_json_strict(?, '["VARCHAR"]')))"""
FORGET = """DELETE FROM items WHERE item IN (SELECT unnest(from_json_strict(?, '["VARCHAR"]')))"""
SIGNALS = """
SELECT signal, repo, title, source, happened AS signalled, seq FROM signals
WHERE signal IN (SELECT unnest(from_json_strict(?, '["VARCHAR"]')))
"""
SETTLE = """
UPDATE objections SET fate = told.fate
FROM (SELECT unnest(from_json_strict(?, '[{"item": "VARCHAR", "fate": "VARCHAR"}]'), recursive := true)) AS told
WHERE objections.fate = 'open' AND objections.item = told.item
"""

BLANK: Row = {**dict.fromkeys(TABLES["items"]), "repo": "", "title": "", "source": "", "wall_seconds": 0.0,
              "by_hand": False, "taken_back": False}  # fmt: skip

Fates = dict[str, str]
"""item → what came of its open objections."""


def take_in(connection: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    """Fold a batch's moves into the rows of its items, and settle and add objections, in the caller's transaction."""
    moves = batch.moves
    before = _rows(connection, KNOWN, {move["item"] for move in moves})
    signals = {**_rows(connection, SIGNALS, {move["signal"] for move in moves if move.get("signal")}), **batch.signals}
    items = folded(moves, before, signals, batch.objections)
    objections, fates = settled(moves, batch.objections)
    if before:
        connection.execute(FORGET, [json.dumps(list(before))])
    insert(connection, "items", list(items.values()))
    if fates:
        connection.execute(SETTLE, [json.dumps([{"item": item, "fate": fate} for item, fate in fates.items()])])
    insert(connection, "objections", objections)


def _rows(connection: duckdb.DuckDBPyConnection, statement: str, names: set[str]) -> dict[str, Row]:
    """Rows by their first column."""
    if not names:
        return {}
    answer = connection.execute(statement, [json.dumps(sorted(names))])
    columns = [column[0] for column in answer.description or ()]
    return {row[0]: dict(zip(columns, row, strict=True)) for row in answer.fetchall()}


def folded(
    moves: Iterable[Row], before: Mapping[str, Row], signals: Mapping[str, Row], objections: Sequence[Row]
) -> dict[str, Row]:
    """The row of each item moved, as it is after all moves. Objections are told whose change they are against."""
    against: dict[int, list[Row]] = {}
    for objection in objections:
        against.setdefault(objection["seq"], []).append(objection)
    now: dict[str, Row] = dict(before)
    for move in moves:
        was = now.get(move["item"])
        if "verb" in move:
            if was is not None:  # what was never opened has no row
                was["by_hand"] = True
            continue
        row = now[move["item"]] = fold(was or BLANK, move, signals)
        for objection in against.get(move["seq"], ()):
            objection |= {"repo": row["repo"], "maker": row["maker"]}
    return now


def fold(before: Row, move: Row, signals: Mapping[str, Row]) -> Row:
    """An item's row after one more move: what the move does not say stays, durations add up, the first release counts.

    >>> row = fold({**BLANK, "state": "built", "wall_seconds": 0.1}, {"stage": None, "wall_seconds": 0.2}, {})
    >>> row["state"], row["wall_seconds"]
    ('built', 0.3)
    """
    row = {**before, **{name: value for name, value in move.items() if value is not None and name in BLANK}}
    # rounded to the ledger's own digits, so that the sum is the same however the events were cut into batches
    row["wall_seconds"] = round(before["wall_seconds"] + move["wall_seconds"], 3)
    signal = signals.get(move.get("signal") or "")
    if signal and signal["seq"] < move["seq"]:
        row |= {name: signal[name] for name in ("repo", "title", "source", "signalled")}
    if before["shipped"] is not None:
        row["shipped"] = before["shipped"]
    elif row["shipped"] is not None:
        row["alone"] = not before["by_hand"]
    if before["shipped"] is None:
        row["taken_back"] = False
    return row


def settled(moves: Iterable[Row], objections: Sequence[Row]) -> tuple[Sequence[Row], Fates]:
    """Objections of a batch with what came of them in it, and what came of older ones that are open still.

    >>> moves = [{"seq": 2, "item": "W-1", "verb": "reject"}, {"seq": 3, "item": "W-1", "verb": "approve"}]
    >>> settled(moves, [{"seq": 1, "item": "W-1", "fate": "open"}])
    ([{'seq': 1, 'item': 'W-1', 'fate': 'accepted'}], {'W-1': 'accepted'})
    """
    made: dict[str, list[Row]] = {}
    for objection in objections:
        made.setdefault(objection["item"], []).append(objection)
    fates: Fates = {}
    for move in moves:
        fate = fate_by(move)
        if not fate:
            continue
        fates.setdefault(move["item"], fate)
        for objection in made.get(move["item"], ()):
            if objection["seq"] < move["seq"] and objection["fate"] == "open":
                objection["fate"] = fate
    return objections, fates


def fate_by(move: Row) -> str:
    """What a move makes of the objections before it; "" for nothing.

    >>> [fate_by(move) for move in ({"verb": "approve"}, {"verb": "retry"}, {"built": True}, {"built": None})]
    ['overruled', 'accepted', 'acted_on', '']
    """
    if verb := move.get("verb"):
        return "overruled" if verb == "approve" else "accepted"
    return "acted_on" if move.get("built") else ""
