"""The inbox of signals for pages and API: what an address narrows it to, what says the same, what was asked back. Pure,
but for the looks at what was received."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import Field, ValidationError

from appliance.errors import UsageError
from appliance.events import Fact
from appliance.intake.shown import LONGEST
from appliance.ledger import Ledger
from appliance.ledger.chain import Recorded
from appliance.ledger.inbox import UNOPENED, Heard, Narrowed
from appliance.secrets import redact
from appliance.work import Kind, Noun, Signal, State
from control.intake import delivery_shown
from control.story import words_of

STATES = (UNOPENED, *map(str, State))
SAYS = {
    "kind": f"one of: {', '.join(Kind)}", "severity": "1 (worst) to 4", "since": "a day like 2026-11-27",
    "until": "a day like 2026-11-27", "words": "at most 200 characters",
}  # fmt: skip


class Row(Noun):
    """A signal in the list, with those on the same page that say the same."""

    heard: Heard
    under: tuple[Heard, ...] = ()


class Question(Noun):
    """What an item asked people, and what was said to it."""

    at: str
    stage: str
    words: str
    verb: str = Field("", description="what a person then said: answer, retry, approve …; empty: nothing yet")
    text: str = ""
    by: str = ""
    answered: str = ""


class Received(Noun):
    """What came in as it came, as text without secrets."""

    text: str
    size: int = Field(description="bytes that came")
    delivery: int = Field(0, description="number of the message; 0: filed by hand on the box")
    cut: bool = False
    kept: bool = True


def narrowed(given: Mapping[str, str]) -> Narrowed:
    """From an address or options: `repo`, `kind`, `severity`, `state`, `source`, `q`, `since`, `until`.

    Raises UsageError, which names what cannot be and what can.
    """
    state = given.get("state", "")
    if state and state not in STATES:
        raise UsageError(f"there is no state {state!r}", f"one of: {', '.join(STATES)}")
    names = {"q": "words"}
    asked = {
        names.get(name, name): given[name].strip()
        for name in ("repo", "kind", "severity", "source", "q", "since", "until")
        if given.get(name, "").strip()
    }
    try:
        return Narrowed.model_validate({**asked, "state": state})
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        raise UsageError(f"{field} cannot be {asked.get(field, '')[:80]!r}", SAYS.get(field, "")) from error


def together(found: Sequence[Heard]) -> list[Row]:
    """Those whose item is a duplicate of another on the same page stand under it; all else keeps its place."""
    by_item = {one.item: one for one in found if one.item}

    def head(one: Heard) -> Heard:
        seen = {one.item}
        while one.twin in by_item and one.twin not in seen:
            seen.add(one.twin)
            one = by_item[one.twin]
        return one

    under: dict[str, list[Heard]] = {}
    for one in found:
        if (top := head(one)) is not one:
            under.setdefault(top.item, []).append(one)
    return [Row(heard=one, under=tuple(under.get(one.item, ()))) for one in found if head(one) is one]


def questions(history: Sequence[Recorded]) -> list[Question]:
    """Each time an item stopped for people, oldest first, with what was said next."""
    asked: list[Question] = []
    for event in history:
        said = event.payload
        if event.kind != Fact.COMMAND_APPLIED and said.get("to") == State.NEEDS_HUMAN:
            words = str(said.get("reason", ""))
            asked.append(Question(at=event.at, stage=str(said.get("stage", "")), words=words))
        elif event.kind == Fact.COMMAND_GIVEN and asked and not asked[-1].verb:
            told = {"verb": str(said.get("verb", "")), "text": words_of(said), "by": str(said.get("by", ""))}
            asked[-1] = asked[-1].with_(**told, answered=event.at)
    return asked


def received(ledger: Ledger, signal: Signal) -> Received:
    """What a signal was filed from, to be shown: at most 128 KiB of it."""
    delivery = ledger.deliveries.of_signal(signal.id)
    if delivery is None:
        text = redact(_as_filed(signal))[0]
        return Received(text=text[:LONGEST], size=len(_as_filed(signal).encode()), cut=len(text) > LONGEST)
    _, seen = delivery_shown(ledger, delivery.number)
    return Received(text=seen.text, size=delivery.size, delivery=delivery.number, cut=seen.cut, kept=seen.kept)


def whole(ledger: Ledger, signal: Signal) -> bytes:
    """The same from beginning to end, for a file. Empty when its bytes are not kept."""
    delivery = ledger.deliveries.of_signal(signal.id)
    came = ledger.deliveries.raw(delivery.number).decode("utf-8", "replace") if delivery else _as_filed(signal)
    return redact(came)[0].encode()


def _as_filed(signal: Signal) -> str:
    return json.dumps(signal.model_dump(mode="json", exclude_defaults=True), indent=2, ensure_ascii=False)
