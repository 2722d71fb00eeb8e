"""Which lines of the repository ran: sys.monitoring where there is one (cheap), else sys.settrace."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Sequence
from typing import Any

TOOL = 3
"""The id we use with sys.monitoring; 0 to 2 and 5 are spoken for by debuggers, coverage, profilers and optimisers."""


class Lines:
    """Collects (file, line) between `start` and `stop`."""

    def __init__(self, root: str, skip: Sequence[str]) -> None:
        self.root = root
        self.skip = {root + path for path in skip}
        self.seen: set[tuple[str, int]] = set()

    def start(self) -> None:
        monitoring = getattr(sys, "monitoring", None)
        if monitoring is None:
            sys.settrace(self._called)
            return
        monitoring.use_tool_id(TOOL, "repair")
        monitoring.register_callback(TOOL, monitoring.events.LINE, self._line_of)
        monitoring.set_events(TOOL, monitoring.events.LINE)

    def stop(self) -> dict[str, list[int]]:
        """Lines by file, relative to the root."""
        monitoring = getattr(sys, "monitoring", None)
        if monitoring is None:
            sys.settrace(None)
        else:
            monitoring.set_events(TOOL, 0)
            monitoring.free_tool_id(TOOL)
        found: dict[str, list[int]] = {}
        for path, line in sorted(self.seen):
            found.setdefault(os.path.relpath(path, self.root), []).append(line)
        return found

    def _wanted(self, code: types.CodeType) -> bool:
        return code.co_filename.startswith(self.root) and code.co_filename not in self.skip

    def _line_of(self, code: types.CodeType, line: int) -> Any:
        if self._wanted(code):
            self.seen.add((code.co_filename, line))
        return sys.monitoring.DISABLE  # type: ignore[attr-defined,unused-ignore]

    def _called(self, frame: types.FrameType, event: str, arg: Any) -> Any:
        if not self._wanted(frame.f_code):
            return None
        seen, path = self.seen, frame.f_code.co_filename

        def line(frame: types.FrameType, event: str, arg: Any) -> Any:
            if event == "line":
                seen.add((path, frame.f_lineno))
            return line

        return line
