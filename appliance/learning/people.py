"""People who asked to be forgotten. The ledger is append-only and hash-chained, so their names stay in it; the store's
view of it has a pseudonym in their place, in this file and in every one that is built anew.

The ledger remembers whom by a salted SHA-256 of the name (`PersonForgotten`), not by the name itself. What a name is
compared with are words, so it is found in free text too, wherever it stands as a word of its own, in any case.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from appliance.errors import UsageError
from appliance.events import STAGE_FACTS, Event, Fact
from appliance.learning.said import text, whole
from appliance.ledger import Ledger
from appliance.ledger.chain import Recorded
from appliance.work import Kind, Noun, Result, State

SUBJECT = "people"
"""What these events are about: all of them are found by it."""

WORD = re.compile(r"\w+(?:[.@+-]\w+)*")
"""A word of a name: `ada`, `ada.l`, `ada@site.example`. `person:ada` is two."""

OURS = frozenset(
    word.casefold() for word in ("rule", "search", "person", "someone", *STAGE_FACTS, *State, *Result, *Kind)
)
"""Words that the box itself writes everywhere: no name."""

MOST_WORDS = 6


class Forgotten(Noun):
    """One person, as the ledger remembers them."""

    pseudonym: str
    salt: str
    digest: str
    words: int

    def is_named(self, words: Sequence[str]) -> bool:
        return len(words) == self.words and digest_of(self.salt, words) == self.digest


def digest_of(salt: str, words: Sequence[str]) -> str:
    """SHA-256 (hex) of a name, however it is written."""
    return hashlib.sha256(f"{salt} {' '.join(words).casefold()}".encode()).hexdigest()


def known(ledger: Ledger) -> tuple[Forgotten, ...]:
    """Everybody who was forgotten."""
    return tuple(
        Forgotten(pseudonym=text(said.get("pseudonym")), salt=text(said.get("salt")), digest=text(said.get("digest")),
                  words=whole(said.get("words")))
        for said in (event.payload for event in ledger.history(SUBJECT) if event.kind == Fact.PERSON_FORGOTTEN)
    )  # fmt: skip


def forget(ledger: Ledger, name: str) -> str:
    """Note in the ledger that a person is to be forgotten; their pseudonym. Safe to repeat.

    Raises UsageError for what is no name.
    """
    words = WORD.findall(name)
    if not 0 < len(words) <= MOST_WORDS or len(name.strip()) < 2:
        raise UsageError(f"{name!r} is no name", f"a name has 1 to {MOST_WORDS} words")
    if name.strip().casefold() in OURS:
        raise UsageError(f"{name!r} is a word of the box itself", "forget the person by another name they go by")
    for one in known(ledger):
        if one.is_named(words):
            return one.pseudonym
    salt, pseudonym = secrets.token_hex(16), f"someone-{secrets.token_hex(4)}"
    payload = {"pseudonym": pseudonym, "salt": salt, "digest": digest_of(salt, words), "words": len(words)}
    ledger.append(Event(kind=Fact.PERSON_FORGOTTEN, subject=SUBJECT, payload=payload))
    return pseudonym


def veil(people: Sequence[Forgotten]) -> Callable[[Recorded], Recorded]:
    """What shows an event without the names of these people."""
    veiled = _veil_of(people)

    def show(event: Recorded) -> Recorded:
        if event.kind == Fact.PERSON_FORGOTTEN:
            return event
        return event.model_copy(update={"subject": veiled(event.subject), "payload": veiled(event.payload)})

    return show if people else lambda event: event


def veil_of_lines(people: Sequence[Forgotten]) -> Callable[[str], str]:
    """What shows lines of JSON without the names of these people: callers put what they like into tasks and teams.

    A line that is no JSON becomes an empty one, which is none either.
    """
    veiled = _veil_of(people)

    def show(line: str) -> str:
        try:
            return json.dumps(veiled(json.loads(line)))  # in ASCII: half a surrogate pair can be no text for DuckDB
        except (ValueError, RecursionError):
            return ""

    return (lambda text: "\n".join(map(show, text.split("\n")))) if people else lambda text: text


def _veil_of(people: Sequence[Forgotten]) -> Callable[[Any], Any]:
    """What replaces the names in each text of a JSON value."""
    lengths = sorted({one.words for one in people}, reverse=True)

    @lru_cache(maxsize=100_000)
    def pseudonym(words: tuple[str, ...]) -> str:
        return next((one.pseudonym for one in people if one.is_named(words)), "")

    def veiled(value: Any) -> Any:
        if isinstance(value, str):
            return _replaced(value, lengths, pseudonym)
        if isinstance(value, Mapping):
            return {key: veiled(inner) for key, inner in value.items()}
        return [veiled(inner) for inner in value] if isinstance(value, list | tuple) else value

    return veiled


def _replaced(value: str, lengths: Sequence[int], pseudonym: Callable[[tuple[str, ...]], str]) -> str:
    """A text with every name in it replaced, longer names first.

    >>> _replaced("Ada, or ada's", [1], lambda words: "X" if words[0].casefold() == "ada" else "")
    "X, or X's"
    """
    for length in lengths:
        found = list(WORD.finditer(value))
        n, end, parts = 0, 0, list[str]()
        while n + length <= len(found):
            run = found[n : n + length]
            together = all(value[one.end() : two.start()].isspace() for one, two in pairwise(run))
            name = pseudonym(tuple(one.group() for one in run)) if together else ""
            if name:
                parts += [value[end : run[0].start()], name]
                end = run[-1].end()
            n += length if name else 1
        value = "".join(parts) + value[end:]
    return value
