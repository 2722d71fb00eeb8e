"""The Sandbox port: runs and sessions, the same for both tiers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from appliance.computers.pythons import Interpreter
from appliance.computers.running import Prepared, Running
from appliance.computers.session import PipeSession
from appliance.errors import NotFound, UsageError
from appliance.ports import Completed, Limits

LARGEST_FETCH = 64
"""Files one run may hand back."""


class Box(Protocol):
    """One tier's way of preparing a run."""

    @property
    def tier(self) -> str: ...

    @property
    def python(self) -> Interpreter: ...

    def describe(self) -> str: ...

    def prepare(
        self,
        argv: Sequence[str],
        tree: Path,
        limits: Limits,
        env: Mapping[str, str],
        tools: Sequence[Path],
        fetch: Sequence[str],
        pipes: tuple[int, int],
    ) -> Prepared: ...


class BoxedSandbox:
    """A place without network where untrusted code runs on a disposable copy of a folder (see `ports.Sandbox`)."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self.tier: str = box.tier
        self.python = box.python.executable
        """The Python that runs the repositories' tests; it is always visible inside."""

    def describe(self, limits: Limits) -> str:
        return (
            f"{self._box.describe()}; {limits.seconds:g} s, {limits.cpu_seconds:g} s CPU, "
            f"{limits.memory_mb} MiB memory, "
            f"{limits.processes} processes, {limits.disk_mb} MiB disk, {limits.output_kb} KiB output"
        )

    def run(
        self,
        argv: Sequence[str],
        *,
        tree: Path,
        limits: Limits,
        env: Mapping[str, str] | None = None,
        tools: Sequence[Path] = (),
        stdin: bytes = b"",
        fetch: Sequence[str] = (),
    ) -> Completed:
        running = self._launch(argv, tree, limits, env, tools, fetch)
        running.keep(stdin, ("stdout", "stderr"))
        return running.completed()

    def open(
        self,
        argv: Sequence[str],
        *,
        tree: Path,
        limits: Limits,
        env: Mapping[str, str] | None = None,
        tools: Sequence[Path] = (),
    ) -> PipeSession:
        return PipeSession(lambda: self._launch(argv, tree, limits, env, tools, ()))

    def _launch(
        self,
        argv: Sequence[str],
        tree: Path,
        limits: Limits,
        env: Mapping[str, str] | None,
        tools: Sequence[Path],
        fetch: Sequence[str],
    ) -> Running:
        """Start the watcher in this thread, which must live until it has ended (see `running.Running.keep`)."""
        _check(argv, tree, env or {}, fetch)
        reports, report_end = os.pipe()
        order_end, orders = os.pipe()
        try:
            inside = environment(self._box.python, env or {})
            prepared = self._box.prepare(argv, tree, limits, inside, tools, fetch, (report_end, order_end))
        except BaseException:
            for descriptor in (reports, report_end, order_end, orders):
                os.close(descriptor)
            raise
        prepared.orders, prepared.reports = orders, reports
        running = Running(prepared, limits)
        running.start((report_end, order_end))
        return running


def environment(python: Interpreter, given: Mapping[str, str]) -> dict[str, str]:
    """Everything a sandboxed command finds in its environment: nothing comes from ours."""
    return {
        "PATH": f"{python.bin}:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",  # noqa: S108  the sandbox's own
        "TMPDIR": "/tmp",  # noqa: S108
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        **given,
    }


def _check(argv: Sequence[str], tree: Path, env: Mapping[str, str], fetch: Sequence[str]) -> None:
    if not argv:
        raise UsageError("an empty command cannot be run", "give a command")
    for text in (*argv, *env, *env.values(), *fetch):
        if "\0" in text:
            raise UsageError("a command, variable or file name holds a NUL character", "leave it out")
    if len(fetch) > LARGEST_FETCH:
        raise UsageError(f"{len(fetch)} files asked for, at most {LARGEST_FETCH} come back", "ask for fewer")
    if not tree.is_dir():
        raise NotFound(f"{tree} is not a folder", "give the folder the command shall run in a copy of")
