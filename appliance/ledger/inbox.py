"""The inbox of signals: what came, narrowed by anything that is known of it, each with the item that it became."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from pydantic import Field
from sqlalchemy import ColumnElement, func, literal_column, select

from appliance.ledger import schema
from appliance.ledger.store import Ledger
from appliance.work import Kind, Noun, Signal, State

UNOPENED = "unopened"
"""The state of a signal that the line has opened no item for yet."""
MOST_TWINS = 200
"""Duplicates told of one item."""
TWINS: ColumnElement[bool] = literal_column("items.twin <> ''")
"""What the index of duplicates holds, in its own words, so that it is used."""


class Narrowed(Noun):
    """What the list is narrowed to; all that is empty narrows nothing."""

    repo: str = ""
    kind: Kind | None = Field(None, description="of the item")
    severity: int = Field(0, ge=0, le=4)
    state: str = Field("", description="of the item, or `unopened`")
    source: str = Field("", description="as a signal has it, or what stands before its first colon: cli, hook, poll")
    words: str = Field("", max_length=200, description="somewhere in title or text; letters of ASCII large or small")
    since: date | None = Field(None, description="first day, UTC")
    until: date | None = Field(None, description="last day, UTC")


class Heard(Noun):
    """A signal as the inbox tells of it."""

    signal: Signal
    item: str = ""
    state: State | None = None
    kind: Kind | None = None
    severity: int = 0
    twin: str = Field("", description="the item that its own is a duplicate of")


def inbox(ledger: Ledger, wanted: Narrowed, limit: int, before: int = 0) -> list[Heard]:
    """Signals, newest first; `before`: only those with a smaller number. Numbers are found in indexes, bodies are read
    of those that are shown alone."""
    signals, items = schema.signals.c, schema.items.c
    of_items = _of_items(wanted)
    number = items.number if of_items else signals.number  # S-7 and W-7 have one number
    source = select(number).select_from(schema.items if of_items else schema.signals)
    of_signals = _of_signals(wanted)
    if of_items and of_signals:
        source = source.join(schema.signals, signals.number == items.number)
    found = source.where(number < (before or schema.NO_END), *of_items, *of_signals)
    return _read(ledger, found.order_by(number.desc()).limit(limit))


def same_as(ledger: Ledger, item: str) -> list[Heard]:
    """The signals of all duplicates of an item, and of their duplicates, oldest first."""
    items = schema.items.c
    numbers: dict[str, int] = {}
    near = [item]
    with ledger.database.reading() as connection:
        while near and len(numbers) < MOST_TWINS:
            query = select(items.id, items.number).where(items.twin.in_(near), TWINS).limit(MOST_TWINS - len(numbers))
            found = {row.id: row.number for row in connection.execute(query) if row.id not in numbers}
            numbers.update(found)
            near = list(found)
    return _read(ledger, list(numbers.values()))[::-1]


def twins_of(ledger: Ledger, among: Sequence[str]) -> dict[str, int]:
    """Item → how many others are duplicates of it, of some items."""
    items = schema.items.c
    query = select(items.twin, func.count()).where(items.twin.in_(among), TWINS).group_by(items.twin)
    with ledger.database.reading() as connection:
        return {twin: count for twin, count in connection.execute(query)}  # noqa: C416 - typed


def head_of(ledger: Ledger, item: str) -> str:
    """The item that carries on for a duplicate in the end; the item itself where it is none."""
    items, seen = schema.items.c, [item]
    with ledger.database.reading() as connection:
        while (twin := connection.scalar(select(items.twin).filter_by(id=seen[-1]))) and twin not in seen:
            seen.append(twin)
    return seen[-1]


def sources(ledger: Ledger) -> list[str]:
    """Where signals came from so far: what stands before the first colon, by name."""
    columns = schema.signals.c
    family = func.substr(columns.source, 1, func.instr(columns.source + ":", ":") - 1)
    with ledger.database.reading() as connection:
        return sorted(one for one in connection.scalars(select(family).distinct()) if one)


def _of_items(wanted: Narrowed) -> list[ColumnElement[bool]]:
    items = schema.items.c
    asked: list[ColumnElement[bool]] = []
    if wanted.state and wanted.state != UNOPENED:
        asked.append(items.state == wanted.state)
    if wanted.kind:
        asked.append(items.kind == str(wanted.kind))
    if wanted.severity:
        asked.append(items.severity == wanted.severity)
    if wanted.repo and asked:
        asked.append(items.repo == wanted.repo)
    return asked


def _of_signals(wanted: Narrowed) -> list[ColumnElement[bool]]:
    signals = schema.signals.c
    asked: list[ColumnElement[bool]] = []
    if wanted.repo:
        asked.append(signals.repo == wanted.repo)
    if wanted.state == UNOPENED:
        asked.append(signals.item == "")
    if wanted.source:
        asked.append(
            (signals.source == wanted.source) | signals.source.startswith(f"{wanted.source}:", autoescape=True)
        )
    if wanted.since:
        asked.append(signals.created >= wanted.since.isoformat())
    if wanted.until:
        asked.append(signals.created < (wanted.until + timedelta(days=1)).isoformat())
    if wanted.words:
        as_kept = json.dumps(wanted.words, ensure_ascii=False)[1:-1]
        asked.append(signals.body.contains(as_kept, autoescape=True))
    return asked


def _read(ledger: Ledger, numbers: Any) -> list[Heard]:
    signals, items = schema.signals.c, schema.items.c
    query = select(
        signals.body, signals.item, items.state, items.kind, items.severity, items.twin
    ).outerjoin(schema.items, items.number == signals.number)  # fmt: skip
    query = query.where(signals.number.in_(numbers)).order_by(signals.number.desc())
    with ledger.database.reading() as connection:
        return [
            Heard(
                signal=Signal.model_validate_json(row.body), item=row.item, state=row.state, kind=row.kind or None,
                severity=row.severity or 0, twin=row.twin or "",
            )
            for row in connection.execute(query)
        ]  # fmt: skip
