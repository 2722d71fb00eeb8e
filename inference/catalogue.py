"""What the router and the gateway know of the box's models: plain frozen data, made from the registry's cards."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Protocol

from appliance.work import Noun

SEARCH = "search"
"""The candidate that stands for repair without a model. Only the line can take it, and only for repair."""

WILDCARD = "*"
"""The candidate that stands for every model admitted for the task."""


class Measured(Protocol):
    """The part of a scorecard that routing needs (`models.score.Score` has it)."""

    @property
    def tokens_per_second(self) -> float | None: ...


class Carded(Protocol):
    """The part of a model card that routing needs (`models.card.Card` has it)."""

    @property
    def id(self) -> str: ...
    @property
    def aliases(self) -> tuple[str, ...]: ...
    @property
    def tasks(self) -> tuple[str, ...]: ...
    @property
    def context_tokens(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def quantisation(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def added(self) -> datetime: ...
    @property
    def able(self) -> tuple[str, ...]: ...
    @property
    def score(self) -> Measured | None: ...


class Entry(Noun):
    """One model, as far as routing is concerned."""

    id: str
    aliases: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    context_tokens: int = 0
    sha256: str = ""
    quantisation: str = ""
    size_bytes: int = 0
    created: int = 0
    able: tuple[str, ...] | None = None
    """What admission saw it do beside its tasks (tools, json_schema, stream); None when it was not admitted."""
    tokens_per_second: float | None = None
    """Written by one request alone, as admission measured it."""

    @classmethod
    def of(cls, card: Carded, context_cap: int) -> Entry:
        """From a card; `context_cap` is what the engines are started with at most, in tokens."""
        return cls(
            id=card.id,
            aliases=tuple(card.aliases),
            tasks=tuple(card.tasks),
            context_tokens=min(card.context_tokens, context_cap) if card.context_tokens else context_cap,
            sha256=card.sha256,
            quantisation=card.quantisation,
            size_bytes=card.size_bytes,
            created=int(card.added.timestamp()),
            able=tuple(card.able) if card.score is not None else None,
            tokens_per_second=card.score.tokens_per_second if card.score is not None else None,
        )


class Catalogue:
    """All models of the box, found by id or alias. Ids come before aliases; a doubled alias means the first by id."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = tuple(sorted(entries, key=lambda entry: entry.id))
        self._by_name: dict[str, Entry] = {}
        for entry in self._entries:
            for alias in entry.aliases:
                self._by_name.setdefault(alias, entry)
        self._by_name.update({entry.id: entry for entry in self._entries})

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: str) -> Entry | None:
        """The model with this id or alias."""
        return self._by_name.get(name)

    def near(self, name: str) -> str:
        """Words that help after a wrong name: the nearest ones, else what there is."""
        if not self._by_name:
            return "this box has no models; `appliance model import PATH` adds one"
        close = difflib.get_close_matches(name, self._by_name, n=3, cutoff=0.5)
        if close:
            return "did you mean " + " or ".join(repr(match) for match in close) + "?"
        return "this box has " + ", ".join(entry.id for entry in self._entries)
