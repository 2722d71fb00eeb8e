"""What has been used: a state that follows from a list of records. Pure.

The same records give the same state in every process that reads them; `journal.py` keeps them. A call is reserved,
may report how far it has come, and ends once. Times are seconds since 1970, work is counted in whole tokens and
milliseconds, so that sums are exact. A call counts in the day and month in which it ends; until then what is reserved
for it counts in all of them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

WINDOW_SECONDS = 60.0
DAY_SECONDS = 86400
PERIODS_KEPT = 3
"""Days, and months, whose sums are kept for each key: clocks may step back over midnight."""
RESERVED, PROGRESS, ENDED, GONE, SNAPSHOT = "r", "p", "e", "x", "s"
"""Kinds of records: a call begins, goes on, ends; a worker died; all that was before."""

Record = Sequence[Any]


@dataclass(slots=True)
class Entry:
    """One call in the window."""

    at: float
    tokens: int
    inside: bool = True
    """Still in the window."""


@dataclass(slots=True)
class Tally:
    """What a day or month has used."""

    calls: int = 0
    prompt: int = 0
    completion: int = 0
    milliseconds: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion


@dataclass(slots=True)
class OpenCall:
    """A call under way."""

    key: str
    model: str
    worker: str
    entry: Entry
    tokens: int
    milliseconds: int
    reached: tuple[int, int, int] = (0, 0, 0)
    """Prompt tokens, answer tokens and milliseconds used so far, as last reported."""


@dataclass(slots=True)
class KeyCount:
    """One key's use."""

    window: deque[Entry] = field(default_factory=deque)
    window_tokens: int = 0
    open: int = 0
    open_tokens: int = 0
    open_milliseconds: int = 0
    periods: dict[str, Tally] = field(default_factory=dict)
    total: Tally = field(default_factory=Tally)

    def tally(self, period: str) -> Tally:
        """What a day or month has used; nothing when nobody called."""
        return self.periods.get(period) or Tally()

    @property
    def usual_milliseconds(self) -> int:
        """The average call of this key."""
        return self.total.milliseconds // self.total.calls if self.total.calls else 0

    @property
    def pace(self) -> float:
        """Answer tokens a model-second, as this key has had them; 0 when it never called."""
        return self.total.completion * 1000 / self.total.milliseconds if self.total.milliseconds else 0.0

    def forget(self, now: float) -> None:
        """Drop what has left the window. A clock that was set back must not keep calls in it for longer."""
        window = self.window
        if window and window[-1].at > now:
            for entry in window:
                entry.at = min(entry.at, now)
        while window and window[0].at + WINDOW_SECONDS <= now:
            left = window.popleft()
            left.inside = False
            self.window_tokens -= left.tokens


class Counts:
    """All keys' use."""

    def __init__(self) -> None:
        self.keys: dict[str, KeyCount] = {}
        self.open: dict[str, OpenCall] = {}
        self.models: dict[str, int] = {}
        """Calls under way for each model."""

    def key(self, key: str) -> KeyCount:
        """A key's use, to be read and to be changed by records alone."""
        found = self.keys.get(key)
        if found is None:
            found = self.keys[key] = KeyCount()
        return found

    def apply(self, record: Record) -> None:
        """Take one record over. Raises ValueError, TypeError, IndexError or KeyError for one that makes no sense."""
        kind = record[0]
        if kind == RESERVED:
            _, at, call, key, model, worker, tokens, milliseconds = record
            self._reserve(at, call, OpenCall(key, model, worker, Entry(at, tokens), tokens, milliseconds))
        elif kind == PROGRESS:
            _, call, prompt, completion, milliseconds = record
            if call in self.open:
                self._go_on(self.open[call], (prompt, completion, milliseconds))
        elif kind == ENDED:
            _, at, call, prompt, completion, milliseconds = record
            self._end(at, call, (prompt, completion, milliseconds))
        elif kind == GONE:
            _, at, worker = record
            for call in [call for call, found in self.open.items() if found.worker == worker]:
                self._end(at, call, self.open[call].reached)
        elif kind == SNAPSHOT:
            self._restore(record[1])
        else:
            raise ValueError(f"unknown record {kind!r}")

    def _reserve(self, at: float, id: str, call: OpenCall) -> None:
        self.open[id] = call
        self.models[call.model] = self.models.get(call.model, 0) + 1
        count = self.key(call.key)
        count.forget(at)
        count.window.append(call.entry)
        count.window_tokens += call.tokens
        count.open += 1
        count.open_tokens += call.tokens
        count.open_milliseconds += call.milliseconds

    def _go_on(self, call: OpenCall, reached: tuple[int, int, int]) -> None:
        """A call that outgrows what was reserved for it takes more: a long one must not hide from its budget."""
        call.reached = reached
        prompt, completion, milliseconds = reached
        count = self.key(call.key)
        if (more := prompt + completion - call.tokens) > 0:
            call.tokens += more
            call.entry.tokens += more
            count.open_tokens += more
            count.window_tokens += more if call.entry.inside else 0
        if (longer := milliseconds - call.milliseconds) > 0:
            call.milliseconds += longer
            count.open_milliseconds += longer

    def _end(self, at: float, id: str, used: tuple[int, int, int]) -> None:
        call = self.open.pop(id, None)
        if call is None:
            return  # it ended before: a record that came late
        self.models[call.model] -= 1
        if not self.models[call.model]:
            del self.models[call.model]
        count = self.key(call.key)
        count.open -= 1
        count.open_tokens -= call.tokens
        count.open_milliseconds -= call.milliseconds
        prompt, completion, milliseconds = used
        count.forget(at)
        if call.entry.inside:
            count.window_tokens += prompt + completion - call.entry.tokens
        call.entry.tokens = prompt + completion
        for tally in (count.total, self._period(count, day_of(at)), self._period(count, month_of(at))):
            tally.calls += 1
            tally.prompt += prompt
            tally.completion += completion
            tally.milliseconds += milliseconds

    @staticmethod
    def _period(count: KeyCount, period: str) -> Tally:
        if period not in count.periods:
            count.periods[period] = Tally()
            alike = sorted(name for name in count.periods if len(name) == len(period))
            for old in alike[:-PERIODS_KEPT]:
                del count.periods[old]
        return count.periods.get(period) or Tally()  # older than all that are kept: counted in the total alone

    def snapshot(self) -> Record:
        """One record that gives this state."""
        keys = {
            key: {
                "periods": {name: _row(tally) for name, tally in count.periods.items()},
                "total": _row(count.total),
                "window": [[entry.at, entry.tokens] for entry in count.window],
            }
            for key, count in self.keys.items()
        }
        places = {id(entry): n for count in self.keys.values() for n, entry in enumerate(count.window)}
        calls = {
            name: [call.key, call.model, call.worker, places.get(id(call.entry)), call.tokens, call.milliseconds,
                   list(call.reached)]
            for name, call in self.open.items()
        }  # fmt: skip
        return [SNAPSHOT, {"keys": keys, "open": calls}]

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.keys, self.open, self.models = {}, {}, {}
        for key, row in state["keys"].items():
            window = deque(Entry(at, tokens) for at, tokens in row["window"])
            self.keys[key] = KeyCount(
                window, sum(entry.tokens for entry in window), total=Tally(*row["total"]),
                periods={name: Tally(*tally) for name, tally in row["periods"].items()},
            )  # fmt: skip
        for name, (key, model, worker, place, tokens, milliseconds, reached) in state["open"].items():
            count = self.key(key)
            # An entry that has left the window is no longer anybody's concern.
            entry = count.window[place] if place is not None else Entry(0.0, tokens, False)
            self.open[name] = OpenCall(key, model, worker, entry, tokens, milliseconds, tuple(reached))
            self.models[model] = self.models.get(model, 0) + 1
            count.open += 1
            count.open_tokens += tokens
            count.open_milliseconds += milliseconds


def _row(tally: Tally) -> list[int]:
    return [tally.calls, tally.prompt, tally.completion, tally.milliseconds]


def day_of(at: float) -> str:
    """The day in UTC.

    >>> day_of(0.0), month_of(0.0)
    ('1970-01-01', '1970-01')
    """
    return _day(int(at // DAY_SECONDS))


def month_of(at: float) -> str:
    """The month in UTC."""
    return _day(int(at // DAY_SECONDS))[:7]


@lru_cache(maxsize=8)
def _day(number: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(number * DAY_SECONDS))
