"""What a key may use, and the decision whether one more call may begin. Pure.

Rates look back over the last sixty seconds, not over minutes of the clock: in no sixty seconds are more calls let in
than the limit says. Budgets follow the calendar in UTC: they open again at midnight, or with the month.
"""

from __future__ import annotations

import calendar
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from pydantic import Field

from appliance.work import Noun
from inference.counts import WINDOW_SECONDS, KeyCount, Tally, day_of, month_of

UNSTATED_TOKENS = 1024
"""Longest answer reserved for a call that states none; less when less is left."""


PROMISED_SECONDS = 5.0
"""When to come back if only reservations of calls under way are in the way: most of them end using less."""


class Priority(StrEnum):
    """Who goes first when the gateway is full."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Limits(Noun):
    """What a key may use; None where it may use as much as it likes."""

    requests_per_minute: int | None = Field(None, ge=1, description="calls in any 60 seconds")
    tokens_per_minute: int | None = Field(None, ge=1, description="prompt and answer tokens in any 60 seconds")
    parallel: int | None = Field(None, ge=1, description="calls at the same time")
    tokens_per_day: int | None = Field(None, ge=1, description="prompt and answer tokens of one day (UTC)")
    tokens_per_month: int | None = Field(None, ge=1, description="prompt and answer tokens of one month (UTC)")
    seconds_per_day: float | None = Field(None, gt=0, description="model-seconds of one day (UTC)")
    seconds_per_month: float | None = Field(None, gt=0, description="model-seconds of one month (UTC)")

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return any(value is not None for _, value in self)


UNITS: Mapping[str, str] = {
    "requests_per_minute": "requests/minute", "tokens_per_minute": "tokens/minute", "parallel": "calls at once",
    "tokens_per_day": "tokens/day", "tokens_per_month": "tokens/month",
    "seconds_per_day": "model-seconds/day", "seconds_per_month": "model-seconds/month",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Need:
    """What a call may use, as far as that is known before it begins."""

    prompt: int
    completion: int | None
    """The longest answer it allows; None when it does not say."""

    @property
    def least(self) -> int:
        """Tokens without which it cannot begin."""
        return self.prompt + (1 if self.completion is None else self.completion)


@dataclass(frozen=True, slots=True)
class Grant:
    """The call may begin; this much is reserved for it."""

    prompt: int
    completion: int
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """The call may not begin now."""

    limit: str
    """The field of Limits that says no."""
    why: str
    wait: float | None
    """Seconds until it may; None when it never will as it is."""
    closed: bool = False
    """A budget is used up: nothing helps but its next day or month, or the operator."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a limit per minute."""

    unit: str
    """requests or tokens."""
    limit: int
    left: int
    wait: float
    """Seconds until all of it is there again, if nobody calls."""


def decide(count: KeyCount, limits: Limits, need: Need, now: float) -> Grant | Refusal:
    """Whether a call may begin now. Budgets are asked first: their answer holds longest."""
    count.forget(now)
    refusal = _budgets(count, limits, need, now) or _rates(count, limits, need, now)
    if refusal is not None:
        return refusal
    completion = need.completion
    if completion is None:
        room = _room(count, limits, now)
        completion = UNSTATED_TOKENS if room is None else max(1, min(UNSTATED_TOKENS, room - need.prompt))
    return Grant(need.prompt, completion, count.usual_milliseconds)


def _rates(count: KeyCount, limits: Limits, need: Need, now: float) -> Refusal | None:
    parallel, requests, tokens = limits.parallel, limits.requests_per_minute, limits.tokens_per_minute
    if parallel is not None and count.open >= parallel:
        return Refusal("parallel", f"{count.open} of {parallel} calls at once are under way", 1.0)
    if requests is not None and len(count.window) >= requests:
        # As many of the oldest must leave the window as leave room for one more.
        leaver = next(islice(count.window, len(count.window) - requests, None))
        why = f"{len(count.window)} of {requests} requests were made in the last 60 seconds"
        return Refusal("requests_per_minute", why, leaver.at + WINDOW_SECONDS - now)
    if tokens is not None and count.window_tokens + need.least > tokens:
        return _tokens_refused(count, tokens, need.least, now)
    return None


def _tokens_refused(count: KeyCount, limit: int, least: int, now: float) -> Refusal:
    if least > limit:
        why = f"the call alone may use {least} tokens and a minute has {limit}; ask for a shorter answer"
        return Refusal("tokens_per_minute", why, None)
    used = f"{count.window_tokens} of {limit} tokens were used or promised in the last 60 seconds"
    why = f"{used}, this call may use {least}"
    if count.window_tokens - count.open_tokens + least <= limit:
        return Refusal("tokens_per_minute", why, PROMISED_SECONDS)
    freed, wait = 0, 1.0
    for entry in count.window:
        freed += entry.tokens
        wait = entry.at + WINDOW_SECONDS - now
        if count.window_tokens - freed + least <= limit:
            break
    return Refusal("tokens_per_minute", why, wait)


def _budgets(count: KeyCount, limits: Limits, need: Need, now: float) -> Refusal | None:
    for limit, is_tokens, daily in (
        (limits.tokens_per_day, True, True), (limits.tokens_per_month, True, False),
        (limits.seconds_per_day, False, True), (limits.seconds_per_month, False, False),
    ):  # fmt: skip
        if limit is None:
            continue
        tally = count.tally(day_of(now) if daily else month_of(now))
        period = "day" if daily else "month"
        if is_tokens:
            if tally.tokens + count.open_tokens + need.least <= limit:
                continue
            why = f"{tally.tokens:,} of {limit:,} tokens of this {period} are used"
            if tally.tokens + need.least > limit:
                this = f" and this call may use {need.least:,}" if need.prompt else ""
                return _closed("tokens", period, why + this, now)
            return _promised("tokens", period, f"{why}, {count.open_tokens:,} are promised to calls under way")
        seconds, promised = tally.milliseconds / 1000, count.open_milliseconds / 1000
        if seconds + promised < limit:
            continue
        why = f"{seconds:,.1f} of {limit:,.10g} model-seconds of this {period} are used"
        if seconds >= limit:
            return _closed("seconds", period, why, now)
        return _promised("seconds", period, f"{why}, {promised:,.1f} are promised to calls under way")
    return None


def paused(count: KeyCount, limits: Limits, now: float) -> str:
    """Which budget is used up, and when it opens again; empty while there is something left of all."""
    refusal = _budgets(count, limits, Need(0, None), now)
    return refusal.why if refusal is not None and refusal.closed else ""


def _closed(unit: str, period: str, why: str, now: float) -> Refusal:
    opens = next_day(now) if period == "day" else next_month(now)
    again = f"it opens again at {time.strftime('%Y-%m-%dT%H:%MZ', time.gmtime(opens))}"
    return Refusal(f"{unit}_per_{period}", f"{why}; {again}", opens - now, closed=True)


def _promised(unit: str, period: str, why: str) -> Refusal:
    return Refusal(f"{unit}_per_{period}", f"{why}; try again when they have ended", PROMISED_SECONDS)


def _room(count: KeyCount, limits: Limits, now: float) -> int | None:
    """Tokens that every limit still allows; None when none of them speaks of tokens."""
    rooms = []
    if limits.tokens_per_minute is not None:
        rooms.append(limits.tokens_per_minute - count.window_tokens)
    if limits.tokens_per_day is not None:
        rooms.append(limits.tokens_per_day - count.tally(day_of(now)).tokens - count.open_tokens)
    if limits.tokens_per_month is not None:
        rooms.append(limits.tokens_per_month - count.tally(month_of(now)).tokens - count.open_tokens)
    return min(rooms, default=None)


def next_day(now: float) -> float:
    """The next midnight in UTC, as a time stamp."""
    return (now // 86400 + 1) * 86400.0


def next_month(now: float) -> float:
    """The beginning of the next month in UTC, as a time stamp."""
    today = time.gmtime(now)
    years, month = divmod(today.tm_mon, 12)
    return float(calendar.timegm((today.tm_year + years, month + 1, 1, 0, 0, 0)))


def rates_left(count: KeyCount, limits: Limits, now: float) -> tuple[Left, ...]:
    """What is left of each limit per minute; nothing of those there are not."""
    if limits.requests_per_minute is None and limits.tokens_per_minute is None:
        return ()
    count.forget(now)
    wait = max(0.0, count.window[-1].at + WINDOW_SECONDS - now) if count.window else 0.0
    return tuple(
        Left(unit, limit, max(0, limit - used), wait)
        for unit, limit, used in (
            ("requests", limits.requests_per_minute, len(count.window)),
            ("tokens", limits.tokens_per_minute, count.window_tokens),
        )
        if limit is not None
    )


def usage(count: KeyCount, limits: Limits, now: float) -> dict[str, dict[str, float | int | None]]:
    """What is used of each limit now; calls under way count with what is reserved for them."""
    count.forget(now)
    day, month = count.tally(day_of(now)), count.tally(month_of(now))
    used: dict[str, float | int] = {
        "requests_per_minute": len(count.window), "tokens_per_minute": count.window_tokens, "parallel": count.open,
        "tokens_per_day": day.tokens + count.open_tokens, "tokens_per_month": month.tokens + count.open_tokens,
        "seconds_per_day": _seconds(day, count), "seconds_per_month": _seconds(month, count),
    }  # fmt: skip
    return {name: {"used": used[name], "limit": getattr(limits, name)} for name in UNITS}


def _seconds(tally: Tally, count: KeyCount) -> float:
    return (tally.milliseconds + count.open_milliseconds) / 1000


def whole_seconds(wait: float) -> int:
    """A `Retry-After` that is never too early.

    >>> whole_seconds(0.2), whole_seconds(59.0)
    (1, 59)
    """
    return max(1, math.ceil(wait))
