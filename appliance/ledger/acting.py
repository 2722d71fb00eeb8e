"""Who acts now, and from where. What is set here goes into every event of the thread: no action can forget it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

ACTOR: ContextVar[Mapping[str, str] | None] = ContextVar("actor", default=None)
"""`name`, `address`, `session` or `token` of who acts; set by the console for each request, and nothing where a process
of the box acts by itself."""
