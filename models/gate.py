"""Asks the format gate about files: in a child process without network, with limits, that can only read."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from appliance.errors import FactoryError, LimitExceeded, UsageError, VerificationFailed
from models.facts import Facts

ROOT = Path(__file__).resolve().parent.parent
START = "import sys; sys.path.append(sys.argv[1]); from models.examine import main; main()"
"""Isolated and without site packages, so that nothing but our own files and the standard library is loaded."""
ANSWER_BYTES = 4 * 1024 * 1024
WALL_SECONDS = 300.0
"""A slow medium takes its time even for headers; CPU time has a shorter limit of its own."""


@dataclass(frozen=True)
class Passed:
    """Files that passed the gate."""

    facts: Facts
    missing: tuple[str, ...] = ()
    """Means of confinement that this machine did not offer; see models.confined.MEANS."""


def examined(folder: Path, names: Sequence[str]) -> Passed:
    """What the files `names` in `folder` are.

    Raises:
        VerificationFailed: they are unsound, dangerous, or made the gate's process fail.
        UsageError: they are no model, or more than one.
        LimitExceeded: looking at them took too long.
    """
    raw, status, late = _asked({"folder": str(folder), "names": list(names)})
    if late:
        raise LimitExceeded(f"looking at {folder.name} took longer than {WALL_SECONDS:g} s", "copy it to a faster disk")
    try:
        answer = json.loads(raw)
        if "error" in answer:
            raise _error(answer["error"])
        facts = TypeAdapter(Facts).validate_python(answer["facts"])
        return Passed(facts, tuple(str(name) for name in answer["missing"]))
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        # Out of memory or of CPU time, or worse: whatever did that has no business in the box.
        raise VerificationFailed(
            f"{folder.name if len(names) != 1 else names[0]} made the process that looks at formats end"
            f" (status {status})",
            "do not trust this file; take the model from its authors",
        ) from error


def _asked(question: dict[str, Any]) -> tuple[bytes, int, bool]:
    """The child's answer, its exit status, and whether it had to be stopped."""
    late = threading.Event()
    argv = [sys.executable, "-I", "-S", "-c", START, str(ROOT)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin"}
    ) as child:

        def stop() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(WALL_SECONDS, stop)
        timer.start()
        try:
            assert child.stdin is not None and child.stdout is not None
            try:
                child.stdin.write(json.dumps(question).encode())
                child.stdin.close()
            except BrokenPipeError:
                pass  # it ended before it listened; its status tells
            raw = child.stdout.read(ANSWER_BYTES)
        finally:
            child.kill()
            timer.cancel()
    return raw, child.returncode, late.is_set()


def _error(shape: dict[str, str]) -> FactoryError:
    kinds = {kind.code: kind for kind in (VerificationFailed, UsageError)}
    return kinds.get(shape["code"], VerificationFailed)(shape["message"], shape["hint"])
