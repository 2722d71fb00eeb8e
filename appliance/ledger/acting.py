"""Who acts now, and from where. What is set here goes into every event of the thread: no action can forget it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

ACTOR: ContextVar[Mapping[str, str] | None] = ContextVar("actor", default=None)
"""Set by the console for each request; nothing where a process of the box acts by itself."""


@contextmanager
def acting(**actor: str) -> Iterator[None]:
    """Events appended within carry who acts (`name`, `address`, `session` or `token`; empty ones are left out)."""
    mark = ACTOR.set({key: value for key, value in actor.items() if value})
    try:
        yield
    finally:
        ACTOR.reset(mark)
